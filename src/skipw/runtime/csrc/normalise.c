/* From a raw input to what the cells read: skipw.data.normaliser, one frame by itself. */
#include "skipw_internal.h"

#include <math.h>

#ifdef SKIPW_NO_DOUBLE
#define SQUARE_ROOT sqrtf
#else
#define SQUARE_ROOT sqrt
#endif
#define SMALLEST_SIZE ((skipw_wide)1e-6) /* a pose whose joints all coincide has no size: it becomes all zeros */

static int is_finite(skipw_wide value) { return value - value == 0; }

/* A joint is absent where both of its coordinates equal the missing value. */
static int is_absent(const skipw_normaliser *n, const skipw_wide *joint)
{
  return n->has_missing && joint[0] == n->missing && joint[1] == n->missing;
}

/* Each feature by the mean and the standard deviation of the training set, in place. */
static void standardise(const skipw_normaliser *n, skipw_wide *raw, uint32_t size)
{
  if (n->has_missing)
    for (uint32_t i = 0; i + 1 < size; i += 2)
      if (is_absent(n, raw + i)) raw[i] = n->mean[i], raw[i + 1] = n->mean[i + 1]; /* becomes 0 */
  for (uint32_t i = 0; i < size; ++i) raw[i] = (raw[i] - n->mean[i]) / n->scale[i];
}

/* A pose by its own centre (the mean of its joints) and size (the root mean square distance from it), in place. */
static void centre(const skipw_normaliser *n, skipw_wide *raw, uint32_t size)
{
  skipw_wide x = 0, y = 0, squares = 0;
  uint32_t seen = 0;
  for (uint32_t i = 0; i + 1 < size; i += 2)
    if (!is_absent(n, raw + i)) x += raw[i], y += raw[i + 1], ++seen;
  const skipw_wide count = seen ? (skipw_wide)seen : 1;
  x /= count;
  y /= count;
  for (uint32_t i = 0; i + 1 < size; i += 2) {
    const int absent = is_absent(n, raw + i);
    raw[i] = absent ? 0 : raw[i] - x;
    raw[i + 1] = absent ? 0 : raw[i + 1] - y;
    squares += raw[i] * raw[i] + raw[i + 1] * raw[i + 1];
  }
  const skipw_wide spread = SQUARE_ROOT(squares / count);
  const skipw_wide factor = spread > SMALLEST_SIZE ? 1 / spread : 0;
  for (uint32_t i = 0; i < size; ++i) raw[i] *= factor;
}

int skipw_normalise(const skipw_normaliser *n, skipw_wide *raw, float *features, uint32_t size)
{
  skipw_wide doubt = 0; /* NaN as soon as a value is NaN or infinite */
  for (uint32_t i = 0; i < size; ++i) doubt += raw[i] - raw[i];
  if (doubt != 0) return 0;
  if (n->kind == SKIPW_STANDARD) standardise(n, raw, size);
  if (n->kind == SKIPW_POSE) centre(n, raw, size);
  for (uint32_t i = 0; i < size; ++i) {
    skipw_wide value = raw[i];
    if (n->has_clip) value = value > n->clip ? n->clip : value < -n->clip ? -n->clip : value;
    features[i] = (float)value;
    doubt += features[i] - features[i];
  }
  return is_finite(doubt);
}
