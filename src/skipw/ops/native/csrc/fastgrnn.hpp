// One FastGRNN layer, elementwise: what happens to a row between two products. One product serves gate and candidate.
//
//   z = sigma(gx + gh + b_z)   n = tanh(gx + gh + b_h)   candidate = (zeta (1 - z) + nu) n + z h
#pragma once

#include "inputs.hpp"

namespace skipw {

template <class Real>
struct FastGrnn {
  static constexpr int kGates = 1;
  static constexpr int kParts = 1;  // h
  static constexpr int kGradientRows = 1, kRecurrentAt = 0, kProjectedAt = 0;
  static constexpr int kSeparate = -1;
  static constexpr int kTensors = 6;  // W, U, b_z, b_h, and zeta and nu before the sigmoid
  static constexpr int kOwn = 4;      // b_z | b_h | zeta | nu, the last two the same in every lane
  static constexpr int recurrent_gate(int i) { return i; }

  // Sends (at, candidate, candidate - state) of every vector to `sink`. `state`: [h | gh].
  template <class Inputs, class Sink>
  static SKIPW_INLINE void candidate(const Real* state, const Inputs& gx, const Real* own, int64_t hp, Sink& sink) {
    const Real* gh = state + hp;
    const Vec<Real> one = broadcast<Real>(1), zeta = load<Real>(own + 2 * hp), nu = load<Real>(own + 3 * hp);
    for (int64_t at = 0; at < hp; at += kLanes<Real>) {
      const Vec<Real> h = load<Real>(state + at);
      const Vec<Real> shared = gx.added(0, at, load<Real>(gh + at));
      const Vec<Real> ez = exponential<Real, 1>(shared + load<Real>(own + at));
      const Vec<Real> en = exponential<Real, 2>(shared + load<Real>(own + hp + at));
      // (1 - z)(zeta n - h) + nu n with 1 - z = 1 / (1 + ez), n = (en - 1) / (en + 1), over one denominator.
      const Vec<Real> above = (en - one) * (zeta + nu * (one + ez)) - h * (one + en);
      const Vec<Real> change[1] = {above * reciprocal<Real>((one + ez) * (one + en))};
      const Vec<Real> next[1] = {h + change[0]};
      sink(at, next, change);
    }
  }

  // From the candidate's gradient, `flow` + `below`, to the row of gradients and what goes straight to h: `flow` anew.
  // `inner` += flow (candidate - state), `own_sums` += the gradients of `own`; zeta's and nu's are spread over lanes.
  template <bool kBelow, class Inputs>
  static SKIPW_INLINE void backward(const Real* state, const Real* after, const Inputs& gx, const Real* own, int64_t hp,
                                    const Tail<Real>& tail, const Real* below, Real* flow, Real* gradients,
                                    Real* own_sums, Vec<Real>& inner) {
    const Real* gh = state + hp;
    const Vec<Real> one = broadcast<Real>(1), zeta = load<Real>(own + 2 * hp), nu = load<Real>(own + 3 * hp);
    Vec<Real> d_zeta = load<Real>(own_sums + 2 * hp), d_nu = load<Real>(own_sums + 3 * hp);
    for (int64_t at = 0; at < hp; at += kLanes<Real>) {
      const bool last = at + kLanes<Real> == hp;
      const Vec<Real> h = load<Real>(state + at);
      Vec<Real> dc = load<Real>(flow + at);
      inner += dc * (load<Real>(after + at) - h);
      if (kBelow) dc += load<Real>(below + at);
      const Vec<Real> shared = gx.added(0, at, load<Real>(gh + at));
      const Vec<Real> z = sigmoid<Real>(shared + load<Real>(own + at));
      const Vec<Real> n = hyperbolic_tangent<Real>(shared + load<Real>(own + hp + at));
      const Vec<Real> fresh = one - z, by_n = dc * n;
      const Vec<Real> dz = dc * (h - zeta * n) * z * fresh;
      const Vec<Real> dn = dc * (zeta * fresh + nu) * (one - n * n);
      store<Real>(own_sums + at, load<Real>(own_sums + at) + dz);
      store<Real>(own_sums + hp + at, load<Real>(own_sums + hp + at) + dn);
      d_zeta += by_n * fresh;
      d_nu += by_n;
      put(gradients + at, dz + dn, tail, last);
      put(flow + at, dc * z, tail, last);
    }
    store<Real>(own_sums + 2 * hp, d_zeta);
    store<Real>(own_sums + 3 * hp, d_nu);
  }
};

}  // namespace skipw
