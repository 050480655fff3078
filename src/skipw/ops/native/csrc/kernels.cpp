// The inner loops for one number type and one kind of vector unit: SKIPW_REAL and SKIPW_VECTOR_BYTES choose.
#include "kernels.hpp"

#include "fastgrnn.hpp"
#include "gru.hpp"
#include "lstm.hpp"
#include "tiles.hpp"

#ifndef SKIPW_REAL
#define SKIPW_REAL float
#endif

namespace skipw {
namespace {

template <class Cell, class Real>
void candidate(const Real* state, const InputProduct<Real>& gx, const Real* own, int64_t n, Real* to) {
  const int64_t hp = whole_vectors<Real>(n);
  StoreSink<Real, Cell::kParts> sink{to, hp, Tail<Real>(n)};
  with_inputs<Real>(gx, hp, [&](const auto& inputs) { Cell::candidate(state, inputs, own, hp, sink); });
}

template <class Cell, class Real>
void inner(const Real* state, const InputProduct<Real>& gx, const Real* own, int64_t n, const Real* d, const Real* w,
           Real* answer) {
  const int64_t hp = whole_vectors<Real>(n);
  InnerSink<Real, Cell::kParts> sink(d, w, hp);
  with_inputs<Real>(gx, hp, [&](const auto& inputs) { Cell::candidate(state, inputs, own, hp, sink); });
  answer[0] = sum<Real>(sink.inner);
  if (w != nullptr) answer[1] = sum<Real>(sink.view);
}

template <class Cell, class Real>
Real backward(const Real* state, const Real* after, const InputProduct<Real>& gx, const Real* own, int64_t n,
              const Real* below, Real* flow, Real* gradients, Real* own_sums) {
  const int64_t hp = whole_vectors<Real>(n);
  const Tail<Real> tail(n);
  Vec<Real> inner = broadcast<Real>(0);
  with_inputs<Real>(gx, hp, [&](const auto& inputs) {
    if (below == nullptr)
      Cell::template backward<false>(state, after, inputs, own, hp, tail, below, flow, gradients, own_sums, inner);
    else
      Cell::template backward<true>(state, after, inputs, own, hp, tail, below, flow, gradients, own_sums, inner);
  });
  return sum<Real>(inner);
}

template <class Real>
void add_rows(int64_t rows, int64_t size, const Real* a, int64_t a_stride, const Real* factors, Real* sums) {
  for (int64_t at = 0; at < size; at += kLanes<Real>) {
    Vec<Real> all = load<Real>(sums + at);
    for (int64_t i = 0; i < rows; ++i) all += load<Real>(a + i * a_stride + at) * broadcast<Real>(factors[i]);
    store<Real>(sums + at, all);
  }
}

template <class Real, int D>
SKIPW_INLINE void add_columns_of(int64_t rows, int64_t size, const Real* a, int64_t a_stride, const Real* factors,
                                 Real* sums) {
  for (int64_t at = 0; at < size; at += kLanes<Real>) {
    Vec<Real> all[D + 1];
    for (int d = 0; d <= D; ++d) all[d] = load<Real>(sums + d * size + at);
    for (int64_t i = 0; i < rows; ++i) {
      const Vec<Real> v = load<Real>(a + i * a_stride + at);
      all[0] += v;
      for (int d = 0; d < D; ++d) all[d + 1] += v * broadcast<Real>(factors[i * D + d]);
    }
    for (int d = 0; d <= D; ++d) store<Real>(sums + d * size + at, all[d]);
  }
}

template <class Real>
void add_columns(int64_t rows, int64_t size, const Real* a, int64_t a_stride, const Real* factors, int64_t d,
                 Real* sums) {
  static_assert(kInlineInputs == 2, "one case for each width");
  if (d == 0)
    add_columns_of<Real, 0>(rows, size, a, a_stride, factors, sums);
  else if (d == 1)
    add_columns_of<Real, 1>(rows, size, a, a_stride, factors, sums);
  else
    add_columns_of<Real, 2>(rows, size, a, a_stride, factors, sums);
}

template <class Real>
void add(Real* to, const Real* from, int64_t size) {
  for (int64_t at = 0; at < size; at += kLanes<Real>) store<Real>(to + at, load<Real>(to + at) + load<Real>(from + at));
}

template <class Real>
Real dot(const Real* a, const Real* b, int64_t size) {
  Vec<Real> all = broadcast<Real>(0);
  for (int64_t at = 0; at < size; at += kLanes<Real>) all += load<Real>(a + at) * load<Real>(b + at);
  return sum<Real>(all);
}

template <class Real>
Real weighted_difference(const Real* d, const Real* a, const Real* b, int64_t size) {
  Vec<Real> all = broadcast<Real>(0);
  for (int64_t at = 0; at < size; at += kLanes<Real>)
    all += load<Real>(d + at) * (load<Real>(a + at) - load<Real>(b + at));
  return sum<Real>(all);
}

template <class Real>
void add_loose(Real* to, const Real* from, int64_t size) {
  const int64_t whole = size / kLanes<Real> * kLanes<Real>;
  add<Real>(to, from, whole);
  for (int64_t i = whole; i < size; ++i) to[i] += from[i];
}

template <class Real>
bool all_finite(const Real* row, int64_t size) {
  const int64_t whole = size / kLanes<Real> * kLanes<Real>;
  Vec<Real> zeros = broadcast<Real>(0);
  for (int64_t at = 0; at < whole; at += kLanes<Real>) zeros += load<Real>(row + at) * broadcast<Real>(0);
  Real zero = sum<Real>(zeros);
  for (int64_t i = whole; i < size; ++i) zero += row[i] * Real(0);
  return zero == Real(0);
}

template <class Cell, class Real>
constexpr CellKernels<Real> cell_kernels() {
  CellKernels<Real> made{};
  made.gates = Cell::kGates;
  made.parts = Cell::kParts;
  made.gradient_rows = Cell::kGradientRows;
  made.recurrent_at = Cell::kRecurrentAt;
  made.projected_at = Cell::kProjectedAt;
  for (int i = 0; i < Cell::kGates; ++i) made.recurrent_gate[i] = Cell::recurrent_gate(i);
  made.separate = Cell::kSeparate;
  made.tensors = Cell::kTensors;
  made.own = Cell::kOwn;
  made.candidate = candidate<Cell, Real>;
  made.inner = inner<Cell, Real>;
  made.backward = backward<Cell, Real>;
  return made;
}

}  // namespace

template <>
const Kernels<SKIPW_REAL>& kernels<SKIPW_REAL>() {
  using Real = SKIPW_REAL;
  static constexpr Kernels<Real> all = {
      kLanes<Real>,
      kPanel<Real>,
      {cell_kernels<Gru<Real>, Real>(), cell_kernels<Lstm<Real>, Real>(), cell_kernels<FastGrnn<Real>, Real>()},
      product<Real>,
      outer<Real>,
      add_rows<Real>,
      add_columns<Real>,
      add<Real>,
      dot<Real>,
      weighted_difference<Real>,
      add_loose<Real>,
      all_finite<Real>};
  return all;
}

#ifdef SKIPW_VARIANT
const char* variant() { return SKIPW_VARIANT; }
#endif

}  // namespace skipw
