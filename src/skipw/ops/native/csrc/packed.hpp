// Weights in the form that products read: packed in panels.
#pragma once

#include <vector>

#include "kernels.hpp"
#include "memory.hpp"

namespace skipw {

// A [depth x columns] matrix in panels: panel p holds columns [p * panel, (p + 1) * panel) of every row, together.
template <class Real>
class Packed {
 public:
  // Row k, column j is `from[rows[k] + columns[j]]`, and 0 where either place is negative. Columns are padded to whole
  // vectors with zeros.
  void fill(const Real* from, const std::vector<int64_t>& rows, const std::vector<int64_t>& columns) {
    const int64_t width = kernels<Real>().panel, depth = static_cast<int64_t>(rows.size());
    panels_.depth = depth;
    panels_.columns = padded<Real>(static_cast<int64_t>(columns.size()));
    const int64_t panels = (panels_.columns + width - 1) / width;
    values_.resize(panels * depth * width);
    panels_.values = values_.data();
    for (int64_t j = 0; j < panels * width; ++j) {
      const int64_t column = j < static_cast<int64_t>(columns.size()) ? columns[static_cast<size_t>(j)] : -1;
      Real* to = values_.data() + j / width * depth * width + j % width;
      const int64_t* row = rows.data();
      if (column < 0)
        for (int64_t k = 0; k < depth; ++k, to += width) *to = Real(0);
      else
        for (int64_t k = 0; k < depth; ++k, to += width) *to = row[k] < 0 ? Real(0) : from[row[k] + column];
    }
  }

  // C[rows x columns] from A[rows x depth]; bias, of `columns` padded values, with Start::kBias.
  void product(int64_t rows, const Real* a, int64_t a_stride, Real* c, int64_t c_stride, Start start,
               const Real* bias = nullptr) const {
    kernels<Real>().product(panels_, rows, a, a_stride, c, c_stride, start, bias);
  }

 private:
  Panels<Real> panels_;
  Buffer<Real> values_;
};

}  // namespace skipw
