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
constexpr int64_t whole_vectors(int64_t n) {
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
  if constexpr (kLanes<Real> == 2)
    return Vec<Real>{value, value};
  else if constexpr (kLanes<Real> == 4)
    return Vec<Real>{value, value, value, value};
  else
    return value - Vec<Real>{};  // on other widths than the ones below
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

#if defined(__AVX2__)
template <>
SKIPW_INLINE float sum<float>(Vec<float> v) {
  __m256 parts[kVectorBytes / 32];
  std::memcpy(parts, &v, sizeof(v));
  const __m256 all = kVectorBytes == 64 ? _mm256_add_ps(parts[0], parts[kVectorBytes / 32 - 1]) : parts[0];
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}
#endif

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
  static constexpr float limit = 43.0f;  // products of two of (1 + exp) stay finite
  static constexpr float log2e = 1.44269504088896341f;
  static constexpr float ln2 = 0.693147180559945309f;
  static constexpr float ln2_high = 0.693359375f;
  static constexpr float ln2_low = -2.12194440e-4f;
  // 1.5 * 2^23 + 127: adding it rounds to a whole number k, and leaves the exponent of 2^k in the lowest bits.
  static constexpr float magic = 12583039.0f;
  static constexpr int mantissa = 23, degree = 4;
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
  static constexpr double magic = 6755399441056767.0;  // 1.5 * 2^52 + 1023
  static constexpr int mantissa = 52, degree = 11;
  // 1 / (i + 2)!
  static constexpr double coefficients[degree + 1] = {
      1.0 / 2,      1.0 / 6,       1.0 / 24,       1.0 / 120,       1.0 / 720,        1.0 / 5040,
      1.0 / 40320,  1.0 / 362880,  1.0 / 3628800,  1.0 / 39916800,  1.0 / 479001600,  1.0 / 6227020800.0};
};

// exp(s v) for s = -1, 1 or 2; s v is clamped to [-limit, limit]; NaN stays NaN.
template <class Real, int s>
SKIPW_INLINE Vec<Real> exponential(Vec<Real> v) {
  using E = Exponential<Real>;
  constexpr Real limit = E::limit / (s < 0 ? -s : s);
  v = clamped<Real>(v, -limit, limit);
  const Vec<Real> magic = broadcast<Real>(E::magic);
  const Vec<Real> shifted = v * broadcast<Real>(s * E::log2e) + magic;
  const Vec<Real> whole = shifted - magic;
  Vec<Real> r = v;  // the rest, over s
#if defined(__FMA__) || defined(__aarch64__)
  if constexpr (sizeof(Real) == 4)
    r = r - whole * broadcast<Real>(E::ln2 / s);  // the product is not rounded: one step is enough
  else
#endif
    r = (r - whole * broadcast<Real>(E::ln2_high / s)) - whole * broadcast<Real>(E::ln2_low / s);
  Real power = s * s;
  for (int i = 0; i < E::degree; ++i) power *= s;
  Vec<Real> p = broadcast<Real>(E::coefficients[E::degree] * power);
#pragma GCC unroll 16
  for (int i = E::degree - 1; i >= 0; --i) {
    power /= s;
    p = p * r + broadcast<Real>(E::coefficients[i] * power);
  }
  p = p * r + broadcast<Real>(s);
  p = p * r + broadcast<Real>(1);
  return p * (Vec<Real>)((Bits<Real>)shifted << E::mantissa);
}

// 1 / (1 + exp(-v))
template <class Real>
SKIPW_INLINE Vec<Real> sigmoid(Vec<Real> v) {
  return reciprocal<Real>(exponential<Real, -1>(v) + broadcast<Real>(1));
}

// 1 - 2 / (1 + exp(2 v))
template <class Real>
SKIPW_INLINE Vec<Real> hyperbolic_tangent(Vec<Real> v) {
  const Vec<Real> twice = reciprocal<Real>(exponential<Real, 2>(v) + broadcast<Real>(1));
  return broadcast<Real>(1) - (twice + twice);
}

// Keeps the lanes of a row's last vector that stand for units, and clears those that pad.
template <class Real>
struct Tail {
  Bits<Real> mask;
  SKIPW_INLINE explicit Tail(int64_t n) {
    const int64_t kept = n % kLanes<Real>;
    for (int i = 0; i < kLanes<Real>; ++i) mask[i] = kept == 0 || i < kept ? -1 : 0;
  }
  SKIPW_INLINE Vec<Real> operator()(Vec<Real> v) const { return (Vec<Real>)((Bits<Real>)v & mask); }
};

template <class Real>
SKIPW_INLINE void put(Real* to, Vec<Real> v, const Tail<Real>& tail, bool last) {
  store<Real>(to, last ? tail(v) : v);
}

}  // namespace skipw
