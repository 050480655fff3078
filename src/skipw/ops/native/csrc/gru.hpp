// One GRU layer, elementwise: what happens to a row between two products.
//
//   r, z = sigma(gx + gh)   n = tanh(gx_n + r gh_n)   candidate = h + (1 - z)(n - h)
//
// gx = W_ih x and gh = W_hh h, biases added; gh has not changed since the row's last processed input.
#pragma once

#include "inputs.hpp"

namespace skipw {

template <class Real>
struct Gru {
  static constexpr int kGates = 3;
  static constexpr int kParts = 1;  // h
  // A row of gradients is (recurrent new | reset | update | input new), so that both products read one piece.
  static constexpr int kGradientRows = 4, kRecurrentAt = 0, kProjectedAt = 1;
  static constexpr int kSeparate = 2;
  static constexpr int kTensors = 4, kOwn = 0;
  static constexpr int recurrent_gate(int i) { return i == 0 ? 2 : i - 1; }

  // Sends (at, candidate, candidate - state) of every vector to `sink`. `state`: [h | gh].
  template <class Inputs, class Sink>
  static SKIPW_INLINE void candidate(const Real* state, const Inputs& gx, const Real*, int64_t hp, Sink& sink) {
    const Real* gh = state + hp;
    const Vec<Real> one = broadcast<Real>(1);
    for (int64_t at = 0; at < hp; at += kLanes<Real>) {
      const Vec<Real> h = load<Real>(state + at);
      const Vec<Real> r = sigmoid<Real>(gx.added(0, at, load<Real>(gh + at)));
      const Vec<Real> ez = exponential<Real, 1>(gx.added(1, at, load<Real>(gh + hp + at)));
      const Vec<Real> en = exponential<Real, 2>(gx.alone(2, at) + r * load<Real>(gh + 2 * hp + at));
      // (1 - z)(n - h) with 1 - z = 1 / (1 + ez), n = (en - 1) / (en + 1), over one denominator.
      const Vec<Real> change[1] = {(en * (one - h) - (one + h)) * reciprocal<Real>((one + ez) * (one + en))};
      const Vec<Real> next[1] = {h + change[0]};
      sink(at, next, change);
    }
  }

  // From the candidate's gradient, `flow` + `below`, to the row of gradients and what goes straight to h: `flow` anew.
  // `inner` += flow (candidate - state).
  template <bool kBelow, class Inputs>
  static SKIPW_INLINE void backward(const Real* state, const Real* after, const Inputs& gx, const Real*, int64_t hp,
                                    const Tail<Real>& tail, const Real* below, Real* flow, Real* gradients, Real*,
                                    Vec<Real>& inner) {
    const Real* gh = state + hp;
    const Vec<Real> one = broadcast<Real>(1);
    for (int64_t at = 0; at < hp; at += kLanes<Real>) {
      const bool last = at + kLanes<Real> == hp;
      const Vec<Real> h = load<Real>(state + at), ghn = load<Real>(gh + 2 * hp + at);
      Vec<Real> dc = load<Real>(flow + at);
      inner += dc * (load<Real>(after + at) - h);
      if (kBelow) dc += load<Real>(below + at);
      const Vec<Real> r = sigmoid<Real>(gx.added(0, at, load<Real>(gh + at)));
      const Vec<Real> z = sigmoid<Real>(gx.added(1, at, load<Real>(gh + hp + at)));
      const Vec<Real> n = hyperbolic_tangent<Real>(gx.alone(2, at) + r * ghn);
      const Vec<Real> fresh = one - z;
      const Vec<Real> dn = dc * fresh * (one - n * n);
      put(gradients + at, dn * r, tail, last);
      put(gradients + hp + at, dn * ghn * r * (one - r), tail, last);
      put(gradients + 2 * hp + at, dc * (h - n) * z * fresh, tail, last);
      put(gradients + 3 * hp + at, dn, tail, last);
      put(flow + at, dc * z, tail, last);
    }
  }
};

}  // namespace skipw
