// Where gx comes from, and what becomes of a candidate.
#pragma once

#include "vector.hpp"

namespace skipw {

constexpr int kInlineInputs = 2;  // inputs up to this width are multiplied on the fly

// gx that lies in memory, gate by gate.
template <class Real>
struct RowInputs {
  const Real* row;
  int64_t hp;
  SKIPW_INLINE Vec<Real> operator()(int gate, int64_t at) const { return load<Real>(row + gate * hp + at); }
};

// gx of a narrow input, made where it is needed. `weights`: bias, then one column for each of the D inputs.
template <class Real, int D>
struct NarrowInputs {
  const Real* weights;
  int64_t hp, stride;
  Vec<Real> x[D];

  NarrowInputs(const Real* w, int64_t hp_, int64_t stride_, const Real* values) : weights(w), hp(hp_), stride(stride_) {
    for (int d = 0; d < D; ++d) x[d] = broadcast<Real>(values[d]);
  }
  SKIPW_INLINE Vec<Real> operator()(int gate, int64_t at) const {
    const Real* w = weights + gate * hp + at;
    Vec<Real> v = load<Real>(w);
    for (int d = 0; d < D; ++d) v += x[d] * load<Real>(w + (d + 1) * stride);
    return v;
  }
};

// Writes the candidate, part after part; lanes beyond N stay 0.
template <class Real, int kParts>
struct StoreSink {
  Real* to;
  int64_t hp;
  const Tail<Real>& tail;
  SKIPW_INLINE void operator()(int64_t at, const Vec<Real>*, const Vec<Real>* next) {
    for (int p = 0; p < kParts; ++p)
      store<Real>(to + p * hp + at, at + kLanes<Real> == hp ? tail(next[p]) : next[p]);
  }
};

// <d, candidate - state> over all parts, and <w, candidate> of the last part.
template <class Real, int kParts>
struct InnerSink {
  const Real* d;
  const Real* w;
  int64_t hp;
  Vec<Real> inner = broadcast<Real>(0), view = broadcast<Real>(0);
  InnerSink(const Real* gradient, const Real* weight, int64_t width) : d(gradient), w(weight), hp(width) {}
  SKIPW_INLINE void operator()(int64_t at, const Vec<Real>* old, const Vec<Real>* next) {
    for (int p = 0; p < kParts; ++p) inner += load<Real>(d + p * hp + at) * (next[p] - old[p]);
    view += load<Real>(w + at) * next[kParts - 1];
  }
};

template <class Real>
inline Real dot(const Real* a, const Real* b, int64_t size) {
  Vec<Real> all = broadcast<Real>(0);
  for (int64_t at = 0; at < size; at += kLanes<Real>) all += load<Real>(a + at) * load<Real>(b + at);
  return sum<Real>(all);
}

// <d, a - b>
template <class Real>
inline Real weighted_difference(const Real* d, const Real* a, const Real* b, int64_t size) {
  Vec<Real> all = broadcast<Real>(0);
  for (int64_t at = 0; at < size; at += kLanes<Real>)
    all += load<Real>(d + at) * (load<Real>(a + at) - load<Real>(b + at));
  return sum<Real>(all);
}

// Whether no value is infinite or NaN: 0 times those is NaN.
template <class Real>
inline bool all_finite(const Real* row, int64_t size) {
  Real zero = 0;
  for (int64_t i = 0; i < size; ++i) zero += row[i] * Real(0);
  return zero == Real(0);
}

// to += factor * from
template <class Real>
inline void add(Real* to, const Real* from, int64_t size, Real factor = Real(1)) {
  const Vec<Real> f = broadcast<Real>(factor);
  for (int64_t at = 0; at < size; at += kLanes<Real>)
    store<Real>(to + at, load<Real>(to + at) + f * load<Real>(from + at));
}

}  // namespace skipw
