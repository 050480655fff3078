// One LSTM layer, elementwise: what happens to a row between two products.
//
//   i, f, o = sigma(gx + gh)   g = tanh(gx + gh)   c candidate = f c + i g   h candidate = o tanh(c candidate)
#pragma once

#include "inputs.hpp"

namespace skipw {

template <class Real>
struct Lstm {
  static constexpr int kGates = 4;
  static constexpr int kParts = 2;  // h, c
  static constexpr int kGradientRows = 4, kRecurrentAt = 0, kProjectedAt = 0;  // input | forget | cell | output
  static constexpr int kSeparate = -1;
  static constexpr int kTensors = 4, kOwn = 0;
  static constexpr int recurrent_gate(int i) { return i; }

  // Sends (at, candidate, candidate - state) of every vector to `sink`. `state`: [h | c | gh].
  template <class Inputs, class Sink>
  static SKIPW_INLINE void candidate(const Real* state, const Inputs& gx, const Real*, int64_t hp, Sink& sink) {
    const Real* gh = state + 2 * hp;
    const Vec<Real> one = broadcast<Real>(1);
    for (int64_t at = 0; at < hp; at += kLanes<Real>) {
      const Vec<Real> h = load<Real>(state + at), c = load<Real>(state + hp + at);
      const Vec<Real> ei = exponential<Real, -1>(gx.added(0, at, load<Real>(gh + at)));
      const Vec<Real> f = sigmoid<Real>(gx.added(1, at, load<Real>(gh + hp + at)));
      const Vec<Real> eg = exponential<Real, 2>(gx.added(2, at, load<Real>(gh + 2 * hp + at)));
      const Vec<Real> eo = exponential<Real, -1>(gx.added(3, at, load<Real>(gh + 3 * hp + at)));
      // i g = (eg - 1) / ((1 + ei) (1 + eg)), and so for o tanh(c).
      const Vec<Real> fresh = f * c + (eg - one) * reciprocal<Real>((one + ei) * (one + eg));
      const Vec<Real> ec = exponential<Real, 2>(fresh);
      const Vec<Real> next[2] = {(ec - one) * reciprocal<Real>((one + eo) * (one + ec)), fresh};
      const Vec<Real> change[2] = {next[0] - h, next[1] - c};
      sink(at, next, change);
    }
  }

  // From the candidate's gradient, `flow` = [dh | dc] + [`below` | 0], to the row of gradients and what goes straight to
  // (h, c): `flow` anew. `inner` += flow (candidate - state).
  template <bool kBelow, class Inputs>
  static SKIPW_INLINE void backward(const Real* state, const Real* after, const Inputs& gx, const Real*, int64_t hp,
                                    const Tail<Real>& tail, const Real* below, Real* flow, Real* gradients, Real*,
                                    Vec<Real>& inner) {
    const Real* gh = state + 2 * hp;
    const Vec<Real> one = broadcast<Real>(1), zero = broadcast<Real>(0);
    for (int64_t at = 0; at < hp; at += kLanes<Real>) {
      const bool last = at + kLanes<Real> == hp;
      const Vec<Real> before = load<Real>(state + hp + at);
      const Vec<Real> i = sigmoid<Real>(gx.added(0, at, load<Real>(gh + at)));
      const Vec<Real> f = sigmoid<Real>(gx.added(1, at, load<Real>(gh + hp + at)));
      const Vec<Real> g = hyperbolic_tangent<Real>(gx.added(2, at, load<Real>(gh + 2 * hp + at)));
      const Vec<Real> o = sigmoid<Real>(gx.added(3, at, load<Real>(gh + 3 * hp + at)));
      const Vec<Real> made = load<Real>(after + hp + at), asked = load<Real>(flow + hp + at);
      const Vec<Real> squashed = hyperbolic_tangent<Real>(made);
      Vec<Real> dh = load<Real>(flow + at);
      inner += dh * (load<Real>(after + at) - load<Real>(state + at)) + asked * (made - before);
      if (kBelow) dh += load<Real>(below + at);
      const Vec<Real> dc = asked + dh * o * (one - squashed * squashed);
      put(gradients + at, dc * g * i * (one - i), tail, last);
      put(gradients + hp + at, dc * before * f * (one - f), tail, last);
      put(gradients + 2 * hp + at, dc * i * (one - g * g), tail, last);
      put(gradients + 3 * hp + at, dh * squashed * o * (one - o), tail, last);
      store<Real>(flow + at, zero);
      put(flow + hp + at, dc * f, tail, last);
    }
  }
};

}  // namespace skipw
