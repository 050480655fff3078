// The inner loops, compiled once for each kind of vector unit; everything else calls them by pointer and is compiled once.
//
// All rows of N units are padded to hp(N) values, whole vectors; lanes that pad hold zeros and never enter a product.
#pragma once

#include <cstdint>

namespace skipw {

constexpr int64_t kInlineInputs = 2;  // inputs up to this width are multiplied on the fly

// What a product starts from.
enum class Start { kBias, kZero, kAccumulate };

// Where the input product of one row comes from. Biases that can be are part of the recurrent product already.
template <class Real>
struct InputProduct {
  const Real* row;      // made before, gate by gate; or NULL, then it is made on the fly of
  const Real* weights;  // bias, then one column for each of the inputs, `stride` values each
  const Real* x;
  int64_t inputs, stride;
};

// A matrix in panels of kernels().panel columns, each panel with all its rows; padded with zeros to whole vectors.
template <class Real>
struct Panels {
  int64_t depth = 0, columns = 0;
  const Real* values = nullptr;
};

// One kind of cell. A layer's record starts with [state | gh]: `parts` rows of the state, then one row for each gate.
template <class Real>
struct CellKernels {
  int gates, parts;
  // A row of gradients has this many pieces; the recurrent and the input product read kGates of them from here on.
  int gradient_rows, recurrent_at, projected_at;
  int recurrent_gate[4];  // which of the weight's gates stands at place i of the recurrent piece
  int separate;           // the one gate whose two biases must not be added up, -1 if there is none
  int tensors;            // weights of a layer: W, U, and two biases unless the cell has values of its own
  int own;                // rows of N values that the cell reads beside its two products; their biases are among them

  // to = the candidate, part after part; `to` may be `state`.
  void (*candidate)(const Real* state, const InputProduct<Real>& gx, const Real* own, int64_t n, Real* to);
  // answer = {<d, candidate - state> over all parts, <w, last part of the candidate>}; the latter if w is not NULL.
  void (*inner)(const Real* state, const InputProduct<Real>& gx, const Real* own, int64_t n, const Real* d, const Real* w,
                Real* answer);
  // `flow`, the gradient of the state after, is added to what the layer above asks of h (`below`, may be NULL) and becomes
  // what goes straight to the state before; `gradients` the row of gradients; the gradients of `own` are added to `own_sums`.
  // Returns <flow, candidate - state> of the `flow` that came in.
  Real (*backward)(const Real* state, const Real* after, const InputProduct<Real>& gx, const Real* own, int64_t n,
                   const Real* below, Real* flow, Real* gradients, Real* own_sums);
};

template <class Real>
struct Kernels {
  int lanes, panel;
  CellKernels<Real> cells[3];  // by skipw_cell

  // C[rows x columns] from A[rows x depth] and the panels; `bias` of whole vectors with Start::kBias.
  void (*product)(const Panels<Real>& w, int64_t rows, const Real* a, int64_t a_stride, Real* c, int64_t c_stride,
                  Start start, const Real* bias);
  // C[I x J] += A[P x I]^T B[P x J], the rows of B wherever they stand. J is a whole number of vectors. `scratch` holds
  // P * panel values.
  void (*outer)(int64_t rows, int64_t i_size, int64_t j_size, const Real* a, int64_t a_stride, const Real* const* b,
                Real* c, int64_t c_stride, Real* scratch);
  // sums[size] += the rows of A, each times its factor. Whole vectors.
  void (*add_rows)(int64_t rows, int64_t size, const Real* a, int64_t a_stride, const Real* factors, Real* sums);
  // sums[0] += the rows of A, and sums[1 + d] += those times factors[row][d] for each d < D; `size` values each.
  void (*add_columns)(int64_t rows, int64_t size, const Real* a, int64_t a_stride, const Real* factors, int64_t d,
                      Real* sums);
  // to += from, and the inner products <a, b> and <d, a - b>; whole vectors.
  void (*add)(Real* to, const Real* from, int64_t size);
  Real (*dot)(const Real* a, const Real* b, int64_t size);
  Real (*weighted_difference)(const Real* d, const Real* a, const Real* b, int64_t size);
  // Of any size: to += from, and whether no value is infinite or NaN (0 times those is NaN).
  void (*add_loose)(Real* to, const Real* from, int64_t size);
  bool (*all_finite)(const Real* row, int64_t size);
};

// Each is defined in one object file, which is made for one kind of vector unit.
template <class Real>
const Kernels<Real>& kernels();
template <>
const Kernels<float>& kernels<float>();
template <>
const Kernels<double>& kernels<double>();

const char* variant();  // the name of the vector unit

// `n` rounded up to whole vectors.
template <class Real>
inline int64_t padded(int64_t n) {
  const int64_t lanes = kernels<Real>().lanes;
  return (n + lanes - 1) / lanes * lanes;
}

}  // namespace skipw
