// One GRU layer, elementwise: what happens to a row between two products.
//
//   r, z = sigma(gx + gh)   n = tanh(gx_n + r gh_n)   candidate = h + (1 - z)(n - h)
//
// gx = W_ih x + b_ih and gh = W_hh h + b_hh; gh has not changed since the row's last processed input.
#pragma once

#include "vector.hpp"

namespace skipw {

template <class R>
struct Gru {
  using Real = R;
  static constexpr int kGates = 3;
  static constexpr int kParts = 1;  // h
  // A row of gradients is (recurrent new | reset | update | input new), so that both products read one piece.
  static constexpr int kGradientRows = 4;
  static constexpr int kRecurrentAt = 0, kProjectedAt = 1;
  // Which of the weight's gates stands at place i of the recurrent piece.
  static constexpr int recurrent_gate(int i) { return i == 0 ? 2 : i - 1; }

  // Sends (at, state, candidate) of every vector to `sink`. `state`: [h | gh].
  template <class Inputs, class Sink>
  static SKIPW_INLINE void candidate(const Real* state, const Inputs& gx, int64_t hp,
                                                              Sink& sink) {
    const Real* gh = state + hp;
    for (int64_t at = 0; at < hp; at += kLanes<Real>) {
      const Vec<Real> h[1] = {load<Real>(state + at)};
      const Vec<Real> r = sigmoid<Real>(gx(0, at) + load<Real>(gh + at));
      const Vec<Real> fresh = sigmoid<Real>(-(gx(1, at) + load<Real>(gh + hp + at)));  // 1 - z
      const Vec<Real> n = hyperbolic_tangent<Real>(gx(2, at) + r * load<Real>(gh + 2 * hp + at));
      const Vec<Real> next[1] = {h[0] + fresh * (n - h[0])};
      sink(at, h, next);
    }
  }

  // From the candidate's gradient `d` to the row of gradients and what goes straight to h: `flow`, which may be `d`.
  template <class Inputs>
  static inline void backward(const Real* state, const Real* /*after*/, const Inputs& gx, int64_t hp,
                              const Tail<Real>& tail, const Real* d, Real* flow, Real* gradients) {
    const Real* gh = state + hp;
    const Vec<Real> one = broadcast<Real>(1);
    for (int64_t at = 0; at < hp; at += kLanes<Real>) {
      const bool last = at + kLanes<Real> == hp;
      const Vec<Real> h = load<Real>(state + at), ghn = load<Real>(gh + 2 * hp + at), dc = load<Real>(d + at);
      const Vec<Real> r = sigmoid<Real>(gx(0, at) + load<Real>(gh + at));
      const Vec<Real> fresh = sigmoid<Real>(-(gx(1, at) + load<Real>(gh + hp + at)));
      const Vec<Real> n = hyperbolic_tangent<Real>(gx(2, at) + r * ghn);
      const Vec<Real> z = one - fresh;
      const Vec<Real> dn = dc * fresh * (one - n * n);
      put(gradients + at, dn * r, tail, last);
      put(gradients + hp + at, dn * ghn * r * (one - r), tail, last);
      put(gradients + 2 * hp + at, dc * (h - n) * z * fresh, tail, last);
      put(gradients + 3 * hp + at, dn, tail, last);
      put(flow + at, dc * z, tail, last);
    }
  }

 private:
  static SKIPW_INLINE void put(Real* to, Vec<Real> v, const Tail<Real>& tail, bool last) {
    store<Real>(to, last ? tail(v) : v);
  }
};

}  // namespace skipw
