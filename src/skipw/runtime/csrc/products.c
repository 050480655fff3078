/* Matrix times vector on packed weights, where a stream spends its time.
 *
 * The outputs, rounded up to a multiple of 8, are cut into blocks of 64 as long as 64 are left, then 32, 16 and 8. A
 * block of P outputs holds for each input its P weights, one after the other, so that weights are read once and in
 * order. Eight vectors of sums stay in registers; where P fills fewer, several inputs are taken at once.
 */
#include <string.h>

#include "skipw_internal.h"

/* -DSKIPW_PLAIN: without vectors, as on a microcontroller; so is int8, which saves space, not time. */
#if defined(__GNUC__) && (defined(__SSE2__) || defined(__ARM_NEON)) && !defined(SKIPW_PLAIN) && !defined(SKIPW_INT8)

/* Vectors as wide as the processor's. */
#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif

typedef float lanes4 __attribute__((vector_size(16)));
typedef float lanes8 __attribute__((vector_size(32)));
typedef float lanes16 __attribute__((vector_size(64)));
typedef float packed4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef float packed8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef float packed16 __attribute__((vector_size(64), aligned(4), may_alias));
#define LOADED(V, p) (*(const packed##V *)(p))

/* Sum k gets columns k * V ... of the P (modulo P) of every U-th input; at the end those of the same columns are added.
 * `stride` is the block's width where this is a part of its columns. */
#define ADD(k, P, V) a##k += x[i + (k) * (V) / (P)] * LOADED(V, w + (k) * (V) / (P) * stride + (k) * (V) % (P));
#define ADD_ONE(k, P, V) \
  if ((k) * (V) < (P)) a##k += x[i] * LOADED(V, w + (k) * (V));
#define FOLD(k, onto, P, V) \
  if ((k) * (V) >= (P) && ((k) - (onto)) * (V) % (P) == 0 && (onto) * (V) < (P)) a##onto += a##k;
#define STORE(k, P, V) \
  if ((k) * (V) < (P)) memcpy(sums + (k) * (V), &a##k, (V) * sizeof(float));
#define DEFINE_COLUMNS(P, V) \
  SKIPW_INLINE void columns_##P##_##V( \
      const skipw_weight *w, size_t stride, const float *x, uint32_t inputs, float *sums) \
  { \
    enum { together = 8 * (V) / (P) }; \
    lanes##V a0 = {0}, a1 = {0}, a2 = {0}, a3 = {0}, a4 = {0}, a5 = {0}, a6 = {0}, a7 = {0}; \
    uint32_t i = 0; \
    for (; i + together <= inputs; i += together, w += together * stride) { \
      ADD(0, P, V) ADD(1, P, V) ADD(2, P, V) ADD(3, P, V) ADD(4, P, V) ADD(5, P, V) ADD(6, P, V) ADD(7, P, V) \
    } \
    for (; i < inputs; ++i, w += stride) { \
      ADD_ONE(0, P, V) ADD_ONE(1, P, V) ADD_ONE(2, P, V) ADD_ONE(3, P, V) \
      ADD_ONE(4, P, V) ADD_ONE(5, P, V) ADD_ONE(6, P, V) ADD_ONE(7, P, V) \
    } \
    FOLD(1, 0, P, V) FOLD(2, 0, P, V) FOLD(3, 0, P, V) FOLD(4, 0, P, V) \
    FOLD(5, 0, P, V) FOLD(6, 0, P, V) FOLD(7, 0, P, V) \
    FOLD(3, 1, P, V) FOLD(5, 1, P, V) FOLD(7, 1, P, V) \
    FOLD(6, 2, P, V) FOLD(7, 3, P, V) \
    STORE(0, P, V) STORE(1, P, V) STORE(2, P, V) STORE(3, P, V) \
    STORE(4, P, V) STORE(5, P, V) STORE(6, P, V) STORE(7, P, V) \
  }

#if LANES == 16
DEFINE_COLUMNS(64, 16)
DEFINE_COLUMNS(32, 16)
DEFINE_COLUMNS(16, 16)
DEFINE_COLUMNS(8, 8)
#define block64 columns_64_16
#define block32 columns_32_16
#define block16 columns_16_16
#define block8 columns_8_8
#elif LANES == 8
DEFINE_COLUMNS(64, 8)
DEFINE_COLUMNS(32, 8)
DEFINE_COLUMNS(16, 8)
DEFINE_COLUMNS(8, 8)
#define block64 columns_64_8
#define block32 columns_32_8
#define block16 columns_16_8
#define block8 columns_8_8
#else
DEFINE_COLUMNS(32, 4)
DEFINE_COLUMNS(16, 4)
DEFINE_COLUMNS(8, 4)
#define block32 columns_32_4
#define block16 columns_16_4
#define block8 columns_8_4
SKIPW_INLINE void block64(const skipw_weight *w, size_t stride, const float *x, uint32_t inputs, float *sums)
{
  columns_32_4(w, stride, x, inputs, sums);
  columns_32_4(w + 32, stride, x, inputs, sums + 32);
}
#endif

#else /* plain C: eight sums at a time */

static void block8(const skipw_weight *w, size_t stride, const float *x, uint32_t inputs, float *sums)
{
  float a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
  for (uint32_t i = 0; i < inputs; ++i, w += stride) {
    const float v = x[i];
    a += v * (float)w[0];
    b += v * (float)w[1];
    c += v * (float)w[2];
    d += v * (float)w[3];
    e += v * (float)w[4];
    f += v * (float)w[5];
    g += v * (float)w[6];
    h += v * (float)w[7];
  }
  sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
  sums[4] = e, sums[5] = f, sums[6] = g, sums[7] = h;
}

static void plain_block(const skipw_weight *w, size_t width, const float *x, uint32_t inputs, float *sums)
{
  for (size_t column = 0; column < width; column += 8) block8(w + column, width, x, inputs, sums + column);
}

#define block64(w, stride, x, inputs, sums) plain_block(w, stride, x, inputs, sums)
#define block32(w, stride, x, inputs, sums) plain_block(w, stride, x, inputs, sums)
#define block16(w, stride, x, inputs, sums) plain_block(w, stride, x, inputs, sums)

#endif

/* y[wanted] = start + scale * sums. */
SKIPW_INLINE void finish(const float *sums, uint32_t wanted, const float *scale, const float *start, float *y)
{
  if (scale)
    for (uint32_t j = 0; j < wanted; ++j) y[j] = (start ? start[j] : 0.0f) + scale[j] * sums[j];
  else if (start)
    for (uint32_t j = 0; j < wanted; ++j) y[j] = start[j] + sums[j];
  else
    for (uint32_t j = 0; j < wanted; ++j) y[j] = sums[j];
}

void skipw_product(const skipw_matrix *matrix, const float *restrict x, const float *restrict start, float *restrict y)
{
  const skipw_weight *w = matrix->values;
  const uint32_t outputs = matrix->outputs, inputs = matrix->inputs;
  float sums[64];
  uint32_t done = 0;
  for (; done + 64 <= outputs; done += 64, w += (size_t)64 * inputs) {
    block64(w, 64, x, inputs, sums);
    finish(sums, 64, matrix->scale ? matrix->scale + done : 0, start ? start + done : 0, y + done);
  }
  while (done < outputs) {
    const uint32_t left = (uint32_t)skipw_rounded(outputs - done);
    const uint32_t width = left >= 64 ? 64 : left >= 32 ? 32 : left >= 16 ? 16 : 8;
    const uint32_t wanted = outputs - done < width ? outputs - done : width;
    if (width == 64) block64(w, 64, x, inputs, sums);
    else if (width == 32) block32(w, 32, x, inputs, sums);
    else if (width == 16) block16(w, 16, x, inputs, sums);
    else block8(w, 8, x, inputs, sums);
    finish(sums, wanted, matrix->scale ? matrix->scale + done : 0, start ? start + done : 0, y + done);
    w += (size_t)width * inputs;
    done += width;
  }
}
