// One LSTM layer, elementwise: what happens to a row between two products.
//
//   i, f, o = sigma(gx + gh)   g = tanh(gx + gh)   c candidate = f c + i g   h candidate = o tanh(c candidate)
#pragma once

#include "vector.hpp"

namespace skipw {

template <class R>
struct Lstm {
  using Real = R;
  static constexpr int kGates = 4;
  static constexpr int kParts = 2;  // h, c
  static constexpr int kGradientRows = 4;  // input | forget | cell | output
  static constexpr int kRecurrentAt = 0, kProjectedAt = 0;
  static constexpr int recurrent_gate(int i) { return i; }

  // Sends (at, state, candidate) of every vector to `sink`. `state`: [h | c | gh].
  template <class Inputs, class Sink>
  static SKIPW_INLINE void candidate(const Real* state, const Inputs& gx, int64_t hp,
                                                              Sink& sink) {
    const Real* gh = state + 2 * hp;
    for (int64_t at = 0; at < hp; at += kLanes<Real>) {
      const Vec<Real> old[2] = {load<Real>(state + at), load<Real>(state + hp + at)};
      const Vec<Real> i = sigmoid<Real>(gx(0, at) + load<Real>(gh + at));
      const Vec<Real> f = sigmoid<Real>(gx(1, at) + load<Real>(gh + hp + at));
      const Vec<Real> g = hyperbolic_tangent<Real>(gx(2, at) + load<Real>(gh + 2 * hp + at));
      const Vec<Real> o = sigmoid<Real>(gx(3, at) + load<Real>(gh + 3 * hp + at));
      const Vec<Real> c = f * old[1] + i * g;
      const Vec<Real> next[2] = {o * hyperbolic_tangent<Real>(c), c};
      sink(at, old, next);
    }
  }

  // From the candidate's gradient `d`, [dh | dc], to the row of gradients and what goes straight to (h, c): `flow`.
  template <class Inputs>
  static inline void backward(const Real* state, const Real* after, const Inputs& gx, int64_t hp,
                              const Tail<Real>& tail, const Real* d, Real* flow, Real* gradients) {
    const Real* gh = state + 2 * hp;
    const Vec<Real> one = broadcast<Real>(1), zero = broadcast<Real>(0);
    for (int64_t at = 0; at < hp; at += kLanes<Real>) {
      const bool last = at + kLanes<Real> == hp;
      const Vec<Real> before = load<Real>(state + hp + at);
      const Vec<Real> i = sigmoid<Real>(gx(0, at) + load<Real>(gh + at));
      const Vec<Real> f = sigmoid<Real>(gx(1, at) + load<Real>(gh + hp + at));
      const Vec<Real> g = hyperbolic_tangent<Real>(gx(2, at) + load<Real>(gh + 2 * hp + at));
      const Vec<Real> o = sigmoid<Real>(gx(3, at) + load<Real>(gh + 3 * hp + at));
      const Vec<Real> squashed = hyperbolic_tangent<Real>(load<Real>(after + hp + at));
      const Vec<Real> dh = load<Real>(d + at);
      const Vec<Real> dc = load<Real>(d + hp + at) + dh * o * (one - squashed * squashed);
      put(gradients + at, dc * g * i * (one - i), tail, last);
      put(gradients + hp + at, dc * before * f * (one - f), tail, last);
      put(gradients + 2 * hp + at, dc * i * (one - g * g), tail, last);
      put(gradients + 3 * hp + at, dh * squashed * o * (one - o), tail, last);
      store<Real>(flow + at, zero);
      put(flow + hp + at, dc * f, tail, last);
    }
  }

 private:
  static SKIPW_INLINE void put(Real* to, Vec<Real> v, const Tail<Real>& tail, bool last) {
    store<Real>(to, last ? tail(v) : v);
  }
};

}  // namespace skipw
