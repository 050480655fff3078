// Matrix products for few rows: packed weights in panels of two vectors, a register tile of rows by two vectors.
#pragma once

#include "kernels.hpp"
#include "vector.hpp"

namespace skipw {

#if SKIPW_VECTOR_BYTES == 64 || defined(__aarch64__)
constexpr int kTileRows = 12;  // 24 of 32 registers hold sums
#else
constexpr int kTileRows = 6;  // 12 of 16
#endif

template <class Real>
constexpr int kPanel = 2 * kLanes<Real>;

// Rows x (C vectors) of the result. kAcross: A is read down its columns (the rows of the result are A's columns).
template <class Real, int kRows, int C, bool kAcross>
SKIPW_INLINE void tile(int64_t depth, const Real* a, int64_t a_stride, const Real* panel, Real* c, int64_t c_stride,
                       const Real* bias, Start start) {
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

template <class Real>
void product(const Panels<Real>& w, int64_t rows, const Real* a, int64_t a_stride, Real* c, int64_t c_stride,
             Start start, const Real* bias) {
  for (int64_t j = 0; j < w.columns; j += kPanel<Real>) {
    const int width = w.columns - j < kPanel<Real> ? 1 : 2;
    column_of_tiles<Real, false>(rows, width, w.depth, a, a_stride, w.values + j * w.depth, c + j, c_stride,
                                 start == Start::kBias ? bias + j : nullptr, start);
  }
}

template <class Real>
void outer(int64_t rows, int64_t i_size, int64_t j_size, const Real* a, int64_t a_stride, const Real* const* b, Real* c,
           int64_t c_stride, Real* scratch) {
  constexpr int n = kLanes<Real>;
  for (int64_t j = 0; j < j_size; j += kPanel<Real>) {
    const int width = j_size - j < kPanel<Real> ? 1 : 2;
    for (int64_t p = 0; p < rows; ++p)
      for (int v = 0; v < width; ++v)
        store<Real>(scratch + p * kPanel<Real> + v * n, load<Real>(b[p] + j + v * n));
    column_of_tiles<Real, true>(i_size, width, rows, a, a_stride, scratch, c + j, c_stride, nullptr,
                                Start::kAccumulate);
  }
}

}  // namespace skipw
