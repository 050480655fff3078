/* GRU, LSTM and FastGRNN from their products, and the two functions they are made of. */
#include <string.h>

#include "skipw_internal.h"

/* e^x within 1 unit in the last place or so; infinity above 88.73, 0 below -104; NaN stays NaN. */
SKIPW_INLINE float exponential(float x)
{
  uint32_t bits;
  float half, rest;
  x = x > 89.0f ? 89.0f : x;
  x = x < -104.0f ? -104.0f : x;
  const float shifted = x * 1.44269504088896341f + 12582912.0f; /* 1.5 * 2^23: its low bits count halves of e^x */
  const float n = shifted - 12582912.0f;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = (p * r) * r + r + 1.0f;
  memcpy(&bits, &shifted, 4);
  const uint32_t power = bits - 0x4B400000u + 256u; /* n + 256 */
  const uint32_t first = power >> 1, second = power - first;
  const uint32_t first_bits = (first - 1) << 23, second_bits = (second - 1) << 23; /* 2^n in two steps: no overflow */
  memcpy(&half, &first_bits, 4);
  memcpy(&rest, &second_bits, 4);
  return p * half * rest;
}

SKIPW_INLINE float sigmoid(float z) { return 1.0f / (1.0f + exponential(-z)); }

SKIPW_INLINE float hyperbolic_tangent(float x)
{
  const float size = x < 0 ? -x : x;
  const float square = x * x;
  float near = -5.70498872745e-3f;
  near = near * square + 2.06390887954e-2f;
  near = near * square - 5.37397155531e-2f;
  near = near * square + 1.33314422036e-1f;
  near = near * square - 3.33332819422e-1f;
  near = near * square * x + x;
  const float far = 1.0f - 2.0f / (exponential(2.0f * size) + 1.0f);
  return size < 0.625f ? near : x < 0 ? -far : far;
}

/* A state that decays towards 0, as in silence, would end in subnormal numbers, which cost a hundred times as much. */
SKIPW_INLINE float without_subnormals(float value) { return value < 1e-30f && value > -1e-30f ? 0.0f : value; }

void skipw_sigmoid(float *values, uint32_t count)
{
  for (uint32_t i = 0; i < count; ++i) values[i] = sigmoid(values[i]);
}

void skipw_gru(float *restrict h, float *restrict from_input, const float *restrict from_state, uint32_t hidden)
{
  float *reset = from_input, *update = from_input + hidden, *fresh = from_input + 2 * hidden;
  const float *state_fresh = from_state + 2 * hidden;
  for (uint32_t i = 0; i < 2 * hidden; ++i) from_input[i] = sigmoid(from_input[i] + from_state[i]);
  for (uint32_t i = 0; i < hidden; ++i) {
    const float candidate = hyperbolic_tangent(fresh[i] + reset[i] * state_fresh[i]);
    h[i] = without_subnormals(candidate + update[i] * (h[i] - candidate));
  }
}

void skipw_lstm(float *restrict state, float *restrict from_input, const float *restrict from_state, uint32_t hidden)
{
  float *h = state, *c = state + hidden;
  const float *in = from_input, *forget = in + hidden, *fresh = in + 2 * hidden, *out = in + 3 * hidden;
  for (uint32_t i = 0; i < 4 * hidden; ++i) from_input[i] += from_state[i];
  for (uint32_t i = 0; i < hidden; ++i) {
    const float memory = sigmoid(forget[i]) * c[i] + sigmoid(in[i]) * hyperbolic_tangent(fresh[i]);
    c[i] = without_subnormals(memory);
    h[i] = without_subnormals(sigmoid(out[i]) * hyperbolic_tangent(memory));
  }
}

/* z = sigmoid(W x + U h + b_z), candidate = tanh(W x + U h + b_h), h = (zeta (1 - z) + nu) candidate + z h. */
void skipw_fastgrnn(float *restrict h, const float *restrict from_input, const float *restrict from_state,
                    const float *restrict more, const float *restrict mix, uint32_t hidden)
{
  const float zeta = mix[0], nu = mix[1];
  for (uint32_t i = 0; i < hidden; ++i) {
    const float shared = from_input[i] + from_state[i];
    const float update = sigmoid(shared);
    const float candidate = hyperbolic_tangent(shared + more[i]);
    h[i] = without_subnormals((zeta * (1.0f - update) + nu) * candidate + update * h[i]);
  }
}
