// Matrix products for few rows: packed weights in panels of two vectors, a register tile of rows by two vectors.
//
//   product:  C[M x N] (+)= A[M x K] W        W packed once for each call
//   outer:    C[I x J] += A[P x I]^T B[P x J]  the weight gradients
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "memory.hpp"
#include "vector.hpp"

namespace skipw {

#if SKIPW_VECTOR_BYTES == 64 || defined(__aarch64__)
constexpr int kTileRows = 12;  // 24 of 32 registers hold sums
#else
constexpr int kTileRows = 6;  // 12 of 16
#endif

template <class Real>
constexpr int kPanel = 2 * kLanes<Real>;

// What a product starts from.
enum class Start { kBias, kZero, kAccumulate };

// Rows x (C vectors) of the result. kAcross: A is read down its columns (the rows of the result are A's columns).
template <class Real, int kRows, int C, bool kAcross>
SKIPW_INLINE void tile(int64_t depth, const Real* a, int64_t a_stride, const Real* panel,
                                                Real* c, int64_t c_stride, const Real* bias, Start start) {
  constexpr int n = kLanes<Real>;
  Vec<Real> sums[kRows][C];
  for (int r = 0; r < kRows; ++r)
    for (int j = 0; j < C; ++j) {
      if (start == Start::kAccumulate)
        sums[r][j] = load<Real>(c + r * c_stride + j * n);
      else
        sums[r][j] = bias == nullptr ? broadcast<Real>(0) : load<Real>(bias + j * n);
    }
  for (int64_t k = 0; k < depth; ++k) {
    Vec<Real> b[C];
    for (int j = 0; j < C; ++j) b[j] = load<Real>(panel + k * kPanel<Real> + j * n);
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      const Vec<Real> value = broadcast<Real>(kAcross ? a[k * a_stride + r] : a[r * a_stride + k]);
#pragma GCC unroll 2
      for (int j = 0; j < C; ++j) sums[r][j] += value * b[j];
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int j = 0; j < C; ++j) store<Real>(c + r * c_stride + j * n, sums[r][j]);
}

template <class Real, int kRows, bool kAcross>
inline __attribute__((noinline)) void tile_of(int width, int64_t depth, const Real* a, int64_t a_stride,
                                              const Real* panel, Real* c, int64_t c_stride, const Real* bias,
                                              Start start) {
  if (width == 2)
    tile<Real, kRows, 2, kAcross>(depth, a, a_stride, panel, c, c_stride, bias, start);
  else
    tile<Real, kRows, 1, kAcross>(depth, a, a_stride, panel, c, c_stride, bias, start);
}

// Tiles of kRows rows as often as they fit, then smaller ones.
template <class Real, bool kAcross, int kRows = kTileRows>
inline void column_of_tiles(int64_t rows, int width, int64_t depth, const Real* a, int64_t a_stride,
                            const Real* panel, Real* c, int64_t c_stride, const Real* bias, Start start) {
  for (; rows >= kRows; rows -= kRows) {
    tile_of<Real, kRows, kAcross>(width, depth, a, a_stride, panel, c, c_stride, bias, start);
    a += kAcross ? kRows : kRows * a_stride;
    c += kRows * c_stride;
  }
  constexpr int kNext = kRows > 8 ? 8 : kRows > 4 ? 4 : kRows > 2 ? 2 : 1;
  if constexpr (kRows > 1) {
    if (rows > 0)
      column_of_tiles<Real, kAcross, kNext>(rows, width, depth, a, a_stride, panel, c, c_stride, bias, start);
  }
}

// A [depth x columns] matrix in panels: panel p holds columns [p * kPanel, (p + 1) * kPanel) of every row, together.
template <class Real>
class Packed {
 public:
  Packed() = default;

  // Row k, column j is `from[rows[k] + columns[j]]`, and 0 where either place is negative. Columns are padded to whole
  // vectors with zeros.
  void fill(const Real* from, const std::vector<int64_t>& rows, const std::vector<int64_t>& columns) {
    depth_ = static_cast<int64_t>(rows.size());
    columns_ = padded<Real>(static_cast<int64_t>(columns.size()));
    const int64_t panels = (columns_ + kPanel<Real> - 1) / kPanel<Real>;
    data_.resize(panels * depth_ * kPanel<Real>);
    std::vector<int64_t> padded_columns(columns);
    padded_columns.resize(static_cast<size_t>(panels * kPanel<Real>), -1);
    Real* to = data_.data();
    for (int64_t p = 0; p < panels; ++p) {
      const int64_t* places = padded_columns.data() + p * kPanel<Real>;
      for (const int64_t row : rows)
        for (int64_t j = 0; j < kPanel<Real>; ++j, ++to)
          *to = row < 0 || places[j] < 0 ? Real(0) : from[row + places[j]];
    }
  }

  bool empty() const { return columns_ == 0; }
  int64_t columns() const { return columns_; }

  // C[rows x columns] from A[rows x depth]; bias, of `columns` padded values, with Start::kBias.
  void product(int64_t rows, const Real* a, int64_t a_stride, Real* c, int64_t c_stride, Start start,
               const Real* bias = nullptr) const {
    for (int64_t j = 0; j < columns_; j += kPanel<Real>) {
      const int width = static_cast<int>(std::min<int64_t>(2, (columns_ - j) / kLanes<Real>));
      const Real* panel = data_.data() + j * depth_;
      column_of_tiles<Real, false>(rows, width, depth_, a, a_stride, panel, c + j, c_stride,
                                   start == Start::kBias ? bias + j : nullptr, start);
    }
  }

 private:
  int64_t depth_ = 0, columns_ = 0;
  Buffer<Real> data_;
};

// C[I x J] += A[P x I]^T B[P x J]. J is a whole number of vectors. `scratch` holds P * kPanel values.
template <class Real>
inline void outer(int64_t rows, int64_t i_size, int64_t j_size, const Real* a, int64_t a_stride, const Real* b,
                  int64_t b_stride, Real* c, int64_t c_stride, Real* scratch) {
  constexpr int n = kLanes<Real>;
  for (int64_t j = 0; j < j_size; j += kPanel<Real>) {
    const int width = static_cast<int>(std::min<int64_t>(2, (j_size - j) / n));
    for (int64_t p = 0; p < rows; ++p)
      for (int v = 0; v < width; ++v) store<Real>(scratch + p * kPanel<Real> + v * n, load<Real>(b + p * b_stride + j + v * n));
    column_of_tiles<Real, true>(i_size, width, rows, a, a_stride, scratch, c + j, c_stride, nullptr,
                                Start::kAccumulate);
  }
}

}  // namespace skipw
