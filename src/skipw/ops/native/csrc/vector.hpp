// Short vectors of the width that this variant is compiled for, and the few functions that gates need of them.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

#ifndef SKIPW_VECTOR_BYTES
#define SKIPW_VECTOR_BYTES 16
#endif

#define SKIPW_INLINE inline __attribute__((always_inline))

namespace skipw {

constexpr int kVectorBytes = SKIPW_VECTOR_BYTES;

template <class Real>
struct VectorOf;

template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(kVectorBytes)));
  typedef float loose __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
  typedef int32_t bits __attribute__((vector_size(kVectorBytes)));
};

template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(kVectorBytes)));
  typedef double loose __attribute__((vector_size(kVectorBytes), aligned(8), may_alias));
  typedef int64_t bits __attribute__((vector_size(kVectorBytes)));
};

template <class Real>
using Vec = typename VectorOf<Real>::type;
template <class Real>
using Bits = typename VectorOf<Real>::bits;
template <class Real>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(Real));

// `n` rounded up to whole vectors.
template <class Real>
constexpr int64_t padded(int64_t n) {
  return (n + kLanes<Real> - 1) / kLanes<Real> * kLanes<Real>;
}

template <class Real>
SKIPW_INLINE Vec<Real> load(const Real* p) {
  return *reinterpret_cast<const typename VectorOf<Real>::loose*>(p);
}

template <class Real>
SKIPW_INLINE void store(Real* p, Vec<Real> v) {
  *reinterpret_cast<typename VectorOf<Real>::loose*>(p) = v;
}

template <class Real>
SKIPW_INLINE Vec<Real> broadcast(Real value) {
  Vec<Real> v;
  for (int i = 0; i < kLanes<Real>; ++i) v[i] = value;
  return v;
}

#if SKIPW_VECTOR_BYTES == 64 && defined(__AVX512F__)
template <>
SKIPW_INLINE Vec<float> broadcast<float>(float value) {
  return (Vec<float>)_mm512_set1_ps(value);
}
template <>
SKIPW_INLINE Vec<double> broadcast<double>(double value) {
  return (Vec<double>)_mm512_set1_pd(value);
}
#elif SKIPW_VECTOR_BYTES == 32 && defined(__AVX2__)
template <>
SKIPW_INLINE Vec<float> broadcast<float>(float value) {
  return (Vec<float>)_mm256_set1_ps(value);
}
template <>
SKIPW_INLINE Vec<double> broadcast<double>(double value) {
  return (Vec<double>)_mm256_set1_pd(value);
}
#endif

template <class Real>
SKIPW_INLINE Real sum(Vec<Real> v) {
  Real lanes[kLanes<Real>];
  std::memcpy(lanes, &v, sizeof(v));
  for (int width = kLanes<Real> / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  return lanes[0];
}

// Keeps NaN: a comparison with NaN is false, and then `v` itself is taken.
template <class Real>
SKIPW_INLINE Vec<Real> clamped(Vec<Real> v, Real low, Real high) {
  const Vec<Real> lows = broadcast<Real>(low), highs = broadcast<Real>(high);
#if SKIPW_VECTOR_BYTES == 64 && defined(__AVX512F__)
  if constexpr (sizeof(Real) == 4)
    return (Vec<Real>)_mm512_maskz_min_ps(0xffff, (__m512)highs, _mm512_maskz_max_ps(0xffff, (__m512)lows, (__m512)v));
#elif SKIPW_VECTOR_BYTES == 32 && defined(__AVX2__)
  if constexpr (sizeof(Real) == 4)
    return (Vec<Real>)_mm256_min_ps((__m256)highs, _mm256_max_ps((__m256)lows, (__m256)v));
#endif
  v = v < lows ? lows : v;
  return v > highs ? highs : v;
}

// 1 / v for finite v of at least 1, to the last bit or two.
template <class Real>
SKIPW_INLINE Vec<Real> reciprocal(Vec<Real> v) {
#if SKIPW_VECTOR_BYTES == 64 && defined(__AVX512F__)
  if constexpr (sizeof(Real) == 4) {
    const Vec<Real> guess = (Vec<Real>)_mm512_maskz_rcp14_ps(0xffff, (__m512)v);
    return guess * (broadcast<Real>(2) - v * guess);
  }
#elif SKIPW_VECTOR_BYTES == 32 && defined(__AVX2__)
  if constexpr (sizeof(Real) == 4) {
    const Vec<Real> guess = (Vec<Real>)_mm256_rcp_ps((__m256)v);
    return guess * (broadcast<Real>(2) - v * guess);
  }
#endif
  return broadcast<Real>(1) / v;
}

// The constants of exp: how far its argument may go, and the polynomial of (exp(r) - 1 - r) / r^2 on |r| <= ln(2) / 2.
template <class Real>
struct Exponential;

template <>
struct Exponential<float> {
  // Products of two of (1 + exp) must stay finite.
  static constexpr float limit = 43.0f;
  static constexpr float log2e = 1.44269504088896341f;
  static constexpr float ln2_high = 0.693359375f;
  static constexpr float ln2_low = -2.12194440e-4f;
  static constexpr float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  static constexpr int mantissa = 23, bias = 127, degree = 4;
  // Fitted for the least largest relative error of exp: 3.1e-9.
  static constexpr float coefficients[degree + 1] = {4.999999344771e-01f, 1.666652063090e-01f, 4.166838806222e-02f,
                                                     8.368716954763e-03f, 1.381459784791e-03f};
};

template <>
struct Exponential<double> {
  static constexpr double limit = 350.0;
  static constexpr double log2e = 1.44269504088896340736;
  static constexpr double ln2_high = 6.93147180369123816490e-01;
  static constexpr double ln2_low = 1.90821492927058770002e-10;
  static constexpr double magic = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr int mantissa = 52, bias = 1023, degree = 11;
  // 1 / (i + 2)!
  static constexpr double coefficients[degree + 1] = {
      1.0 / 2,      1.0 / 6,       1.0 / 24,       1.0 / 120,       1.0 / 720,        1.0 / 5040,
      1.0 / 40320,  1.0 / 362880,  1.0 / 3628800,  1.0 / 39916800,  1.0 / 479001600,  1.0 / 6227020800.0};
};

// exp(v), v clamped to [-limit, limit]; NaN stays NaN.
template <class Real>
SKIPW_INLINE Vec<Real> exponential(Vec<Real> v) {
  using E = Exponential<Real>;
  v = clamped<Real>(v, -E::limit, E::limit);
  const Vec<Real> magic = broadcast<Real>(E::magic);
  const Vec<Real> shifted = v * broadcast<Real>(E::log2e) + magic;
  const Vec<Real> whole = shifted - magic;
  Vec<Real> r = v - whole * broadcast<Real>(E::ln2_high);
  r = r - whole * broadcast<Real>(E::ln2_low);
  Vec<Real> p = broadcast<Real>(E::coefficients[E::degree]);
#pragma GCC unroll 16
  for (int i = E::degree - 1; i >= 0; --i) p = p * r + broadcast<Real>(E::coefficients[i]);
  p = p * r * r + r + broadcast<Real>(1);
  Bits<Real> exponent = (Bits<Real>)shifted - (Bits<Real>)magic;
  exponent = (exponent + E::bias) << E::mantissa;
  return p * (Vec<Real>)exponent;
}

// 1 / (1 + exp(-v))
template <class Real>
SKIPW_INLINE Vec<Real> sigmoid(Vec<Real> v) {
  return reciprocal<Real>(exponential<Real>(-v) + broadcast<Real>(1));
}

// 1 - 2 / (1 + exp(2 v))
template <class Real>
SKIPW_INLINE Vec<Real> hyperbolic_tangent(Vec<Real> v) {
  const Vec<Real> twice = reciprocal<Real>(exponential<Real>(v + v) + broadcast<Real>(1));
  return broadcast<Real>(1) - (twice + twice);
}

// Ones in the first `n % lanes` lanes (all, if that is 0): what the last vector of a row of n keeps.
template <class Real>
struct Tail {
  Bits<Real> mask;
  explicit Tail(int64_t n) {
    const int64_t kept = n % kLanes<Real>;
    for (int i = 0; i < kLanes<Real>; ++i) mask[i] = kept == 0 || i < kept ? -1 : 0;
  }
  Vec<Real> operator()(Vec<Real> v) const { return (Vec<Real>)((Bits<Real>)v & mask); }
};

}  // namespace skipw
