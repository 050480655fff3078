/* The kernels of several vector units in one library, and the best that this processor runs. */
#include "skipw_internal.h"
#include "dispatch.h"

#include <string.h>

#undef skipw_product
#undef skipw_gru
#undef skipw_lstm
#undef skipw_fastgrnn
#undef skipw_sigmoid

#define DECLARE(variant) \
  void skipw_product_##variant(const skipw_matrix *, const float *restrict, const float *restrict, float *restrict); \
  void skipw_gru_##variant(float *restrict, float *restrict, const float *restrict, uint32_t); \
  void skipw_lstm_##variant(float *restrict, float *restrict, const float *restrict, uint32_t); \
  void skipw_fastgrnn_##variant(float *restrict, const float *restrict, const float *restrict, const float *restrict, \
                                const float *restrict, uint32_t); \
  void skipw_sigmoid_##variant(float *, uint32_t);
#define TABLE(variant) \
  {#variant, skipw_product_##variant, skipw_gru_##variant, skipw_lstm_##variant, skipw_fastgrnn_##variant, \
   skipw_sigmoid_##variant}

DECLARE(plain)
#ifdef __x86_64__
DECLARE(avx2)
DECLARE(avx512)
static const skipw_kernels variants[] = {TABLE(plain), TABLE(avx2), TABLE(avx512)};
#else
static const skipw_kernels variants[] = {TABLE(plain)};
#endif

const skipw_kernels *skipw_chosen = variants;

static int runs(const char *name)
{
#ifdef __x86_64__
  __builtin_cpu_init();
  if (!strcmp(name, "avx2")) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (!strcmp(name, "avx512"))
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx512f")
           && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")
           && __builtin_cpu_supports("avx512dq");
#endif
  return !strcmp(name, "plain");
}

const char *skipw_choose(const char *wish)
{
  for (size_t i = 0; i < sizeof variants / sizeof *variants; ++i)
    if (runs(variants[i].name) && (!wish || !strcmp(wish, variants[i].name))) skipw_chosen = variants + i;
  return skipw_chosen->name;
}
