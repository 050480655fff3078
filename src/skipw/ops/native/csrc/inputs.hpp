// Where a cell's input product comes from, and what becomes of its candidate.
#pragma once

#include "kernels.hpp"
#include "vector.hpp"

namespace skipw {

// It lies in memory, gate by gate.
template <class Real>
struct RowInputs {
  const Real* row;
  int64_t hp;
  // sum + W x: the bias is in `sum`.
  SKIPW_INLINE Vec<Real> added(int gate, int64_t at, Vec<Real> sum) const { return sum + load<Real>(row + gate * hp + at); }
  // W x + b
  SKIPW_INLINE Vec<Real> alone(int gate, int64_t at) const { return load<Real>(row + gate * hp + at); }
};

// Made where it is needed, of D inputs.
template <class Real, int D>
struct NarrowInputs {
  const Real* weights;
  int64_t hp, stride;
  Vec<Real> x[D];

  SKIPW_INLINE NarrowInputs(const InputProduct<Real>& from, int64_t hp_)
      : weights(from.weights), hp(hp_), stride(from.stride) {
    for (int d = 0; d < D; ++d) x[d] = broadcast<Real>(from.x[d]);
  }
  SKIPW_INLINE Vec<Real> added(int gate, int64_t at, Vec<Real> sum) const {
    const Real* w = weights + gate * hp + at;
    for (int d = 0; d < D; ++d) sum += x[d] * load<Real>(w + (d + 1) * stride);
    return sum;
  }
  SKIPW_INLINE Vec<Real> alone(int gate, int64_t at) const {
    return added(gate, at, load<Real>(weights + gate * hp + at));
  }
};

// Calls `body` with the inputs in the form that is read fastest.
template <class Real, class Body>
SKIPW_INLINE void with_inputs(const InputProduct<Real>& from, int64_t hp, Body body) {
  if (from.row != nullptr)
    body(RowInputs<Real>{from.row, hp});
  else if (from.inputs == 1)
    body(NarrowInputs<Real, 1>(from, hp));
  else
    body(NarrowInputs<Real, 2>(from, hp));
}

// Writes the candidate, part after part; lanes beyond N stay 0.
template <class Real, int kParts>
struct StoreSink {
  Real* to;
  int64_t hp;
  Tail<Real> tail;
  SKIPW_INLINE void operator()(int64_t at, const Vec<Real>* next, const Vec<Real>*) {
    for (int p = 0; p < kParts; ++p) put(to + p * hp + at, next[p], tail, at + kLanes<Real> == hp);
  }
};

// <d, candidate - state> over all parts, and <w, candidate> of the last part.
template <class Real, int kParts>
struct InnerSink {
  const Real* d;
  const Real* w;
  int64_t hp;
  Vec<Real> inner = broadcast<Real>(0), view = broadcast<Real>(0);
  SKIPW_INLINE InnerSink(const Real* gradient, const Real* weight, int64_t width) : d(gradient), w(weight), hp(width) {}
  SKIPW_INLINE void operator()(int64_t at, const Vec<Real>* next, const Vec<Real>* change) {
    for (int p = 0; p < kParts; ++p) inner += load<Real>(d + p * hp + at) * change[p];
    if (w != nullptr) view += load<Real>(w + at) * next[kParts - 1];
  }
};

}  // namespace skipw
