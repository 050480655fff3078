/* Matrix times vector on packed weights, where a stream spends its time.
 *
 * The outputs, rounded up to a multiple of 8, are cut into blocks of 64 as long as 64 are left, then 32, 16 and 8. A
 * block of P outputs holds for each input its P weights, one after the other: 64 sums stay in registers, and weights are
 * read once, in order. Narrow blocks take 64 / P inputs at once so that as many sums are under way.
 */
#include "skipw_internal.h"

#include <string.h>

#if defined(__GNUC__) && (defined(__SSE2__) || defined(__ARM_NEON) || defined(__riscv_v))
#define SKIPW_VECTORS 1
typedef float lanes16 __attribute__((vector_size(64)));
typedef float lanes8 __attribute__((vector_size(32)));
#ifdef SKIPW_INT8
typedef int8_t packed16 __attribute__((vector_size(16), aligned(1), may_alias));
typedef int8_t packed8 __attribute__((vector_size(8), aligned(1), may_alias));
#define WIDE16(p) __builtin_convertvector(*(const packed16 *)(p), lanes16)
#define WIDE8(p) __builtin_convertvector(*(const packed8 *)(p), lanes8)
#else
typedef float packed16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef float packed8 __attribute__((vector_size(32), aligned(4), may_alias));
#define WIDE16(p) (*(const packed16 *)(p))
#define WIDE8(p) (*(const packed8 *)(p))
#endif
#define BROADCAST16(v) ((lanes16){v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v})
#define BROADCAST8(v) ((lanes8){v, v, v, v, v, v, v, v})
#endif

#ifdef SKIPW_VECTORS

/* sums[P] of one block. */
SKIPW_INLINE void block64(
    const skipw_weight *w, const float *x, uint32_t inputs, float *sums)
{
  lanes16 a = {0}, b = {0}, c = {0}, d = {0};
  for (uint32_t i = 0; i < inputs; ++i, w += 64) {
    const lanes16 v = BROADCAST16(x[i]);
    a += v * WIDE16(w);
    b += v * WIDE16(w + 16);
    c += v * WIDE16(w + 32);
    d += v * WIDE16(w + 48);
  }
  memcpy(sums, &a, 64);
  memcpy(sums + 16, &b, 64);
  memcpy(sums + 32, &c, 64);
  memcpy(sums + 48, &d, 64);
}

SKIPW_INLINE void block32(
    const skipw_weight *w, const float *x, uint32_t inputs, float *sums)
{
  lanes16 a = {0}, b = {0}, c = {0}, d = {0};
  uint32_t i = 0;
  for (; i + 2 <= inputs; i += 2, w += 64) {
    const lanes16 u = BROADCAST16(x[i]), v = BROADCAST16(x[i + 1]);
    a += u * WIDE16(w);
    b += u * WIDE16(w + 16);
    c += v * WIDE16(w + 32);
    d += v * WIDE16(w + 48);
  }
  a += c;
  b += d;
  if (i < inputs) {
    const lanes16 u = BROADCAST16(x[i]);
    a += u * WIDE16(w);
    b += u * WIDE16(w + 16);
  }
  memcpy(sums, &a, 64);
  memcpy(sums + 16, &b, 64);
}

SKIPW_INLINE void block16(
    const skipw_weight *w, const float *x, uint32_t inputs, float *sums)
{
  lanes16 a = {0}, b = {0}, c = {0}, d = {0};
  uint32_t i = 0;
  for (; i + 4 <= inputs; i += 4, w += 64) {
    a += BROADCAST16(x[i]) * WIDE16(w);
    b += BROADCAST16(x[i + 1]) * WIDE16(w + 16);
    c += BROADCAST16(x[i + 2]) * WIDE16(w + 32);
    d += BROADCAST16(x[i + 3]) * WIDE16(w + 48);
  }
  for (; i < inputs; ++i, w += 16) a += BROADCAST16(x[i]) * WIDE16(w);
  a += b;
  c += d;
  a += c;
  memcpy(sums, &a, 64);
}

SKIPW_INLINE void block8(
    const skipw_weight *w, const float *x, uint32_t inputs, float *sums)
{
  lanes8 a = {0}, b = {0}, c = {0}, d = {0};
  uint32_t i = 0;
  for (; i + 4 <= inputs; i += 4, w += 32) {
    a += BROADCAST8(x[i]) * WIDE8(w);
    b += BROADCAST8(x[i + 1]) * WIDE8(w + 8);
    c += BROADCAST8(x[i + 2]) * WIDE8(w + 16);
    d += BROADCAST8(x[i + 3]) * WIDE8(w + 24);
  }
  for (; i < inputs; ++i, w += 8) a += BROADCAST8(x[i]) * WIDE8(w);
  a += b;
  c += d;
  a += c;
  memcpy(sums, &a, 32);
}

#else /* plain C: eight sums at a time */

static void columns8(const skipw_weight *w, uint32_t width, const float *x, uint32_t inputs, float *sums)
{
  float a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
  for (uint32_t i = 0; i < inputs; ++i, w += width) {
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

static void block(const skipw_weight *w, uint32_t width, const float *x, uint32_t inputs, float *sums)
{
  for (uint32_t column = 0; column < width; column += 8) columns8(w + column, width, x, inputs, sums + column);
}

#define block64(w, x, inputs, sums) block(w, 64, x, inputs, sums)
#define block32(w, x, inputs, sums) block(w, 32, x, inputs, sums)
#define block16(w, x, inputs, sums) block(w, 16, x, inputs, sums)
#define block8(w, x, inputs, sums) block(w, 8, x, inputs, sums)

#endif

/* y[wanted] = start + scale * sums. */
SKIPW_INLINE void finish(
    const float *sums, uint32_t wanted, const float *scale, const float *start, float *y)
{
  if (scale)
    for (uint32_t j = 0; j < wanted; ++j) y[j] = (start ? start[j] : 0.0f) + scale[j] * sums[j];
  else if (start)
    for (uint32_t j = 0; j < wanted; ++j) y[j] = start[j] + sums[j];
  else
    for (uint32_t j = 0; j < wanted; ++j) y[j] = sums[j];
}

SKIPW_HOT void skipw_product(
    const skipw_matrix *matrix, const float *restrict x, const float *restrict start, float *restrict y)
{
  const skipw_weight *w = matrix->values;
  const uint32_t outputs = matrix->outputs, inputs = matrix->inputs;
  float sums[64];
  uint32_t done = 0;
  for (; done + 64 <= outputs; done += 64, w += (size_t)64 * inputs) {
    block64(w, x, inputs, sums);
    finish(sums, 64, matrix->scale ? matrix->scale + done : 0, start ? start + done : 0, y + done);
  }
  while (done < outputs) {
    const uint32_t left = (uint32_t)skipw_rounded(outputs - done);
    const uint32_t width = left >= 64 ? 64 : left >= 32 ? 32 : left >= 16 ? 16 : 8;
    const uint32_t wanted = outputs - done < width ? outputs - done : width;
    if (width == 64) block64(w, x, inputs, sums);
    else if (width == 32) block32(w, x, inputs, sums);
    else if (width == 16) block16(w, x, inputs, sums);
    else block8(w, x, inputs, sums);
    finish(sums, wanted, matrix->scale ? matrix->scale + done : 0, start ? start + done : 0, y + done);
    w += (size_t)width * inputs;
    done += width;
  }
}
