/* Runs a model by commands from standard input and prints what became of it, for test_c_library.py.
 *
 *   p BUDGET THRESHOLD   set the point (-1: the whole window)       x V1 ... VD   the next input
 *   b BAD                expect this error of process(NaN)           n COUNT       COUNT inputs of zeros
 *   r                    reset
 *
 * After x: "processed plan-length output...". After n: "inputs processed max_in_window seconds-skipping per-processed".
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "model.h"

#define GUARD 64

static int fail(const char *what, long value)
{
  fprintf(stderr, "%s: %ld\n", what, value);
  return 1;
}

static int pass(skipw_stream *s, const float *input)
{
  const int due = skipw_needs_input(s);
  /* the wrong verb is refused and changes nothing */
  if ((due ? skipw_skip(s) : skipw_process(s, input)) != SKIPW_ERROR_ORDER) return -1;
  if (due) {
    float bad[SKIPW_MODEL_INPUTS];
    memcpy(bad, input, sizeof bad);
    bad[SKIPW_MODEL_INPUTS - 1] = NAN;
    if (skipw_process(s, bad) != SKIPW_ERROR_INPUT) return -1;
    bad[SKIPW_MODEL_INPUTS - 1] = -INFINITY;
    if (skipw_process(s, bad) != SKIPW_ERROR_INPUT) return -1;
  }
  return (due ? skipw_process(s, input) : skipw_skip(s)) ? -1 : due;
}

/* COUNT inputs as fast as they go: constant memory, counters that hold. */
static void run_many(skipw_stream *s, unsigned long count)
{
  static float zeros[SKIPW_MODEL_INPUTS];
  const clock_t begun = clock();
  for (unsigned long i = 0; i < count; ++i) {
    if (skipw_needs_input(s)) skipw_process(s, zeros);
    else skipw_skip(s);
  }
  printf("%llu %llu %u %.9g\n", (unsigned long long)s->inputs, (unsigned long long)s->processed,
         (unsigned)s->max_in_window,
         (double)(clock() - begun) / CLOCKS_PER_SEC / (double)count);
}

int main(void)
{
  skipw_stream s;
  skipw_model other = skipw_model_data;
  uint32_t plan[SKIPW_MODEL_WINDOW];
  float input[SKIPW_MODEL_INPUTS], output[SKIPW_MODEL_OUTPUTS];
  const size_t size = SKIPW_MODEL_MEMORY;
  char *memory = malloc(size + GUARD), command;
  memset(memory + size, 0x5a, GUARD);
  if (skipw_memory(&skipw_model_data) != size) return fail("memory", (long)skipw_memory(&skipw_model_data));
  if (skipw_init(&s, &skipw_model_data, memory, size - 1) != SKIPW_ERROR_MEMORY) return fail("too small", 0);
  if (skipw_init(&s, &skipw_model_data, memory + 1, size) != SKIPW_ERROR_MEMORY) return fail("not aligned", 0);
  if (skipw_init(&s, &skipw_model_data, NULL, size) != SKIPW_ERROR_MEMORY) return fail("no memory", 0);
  other.format = 99;
  if (skipw_init(&s, &other, memory, size) != SKIPW_ERROR_MODEL) return fail("another format", 0);
  if (skipw_init(&s, &skipw_model_data, memory, size)) return fail("init", 0);
  while (scanf(" %c", &command) == 1) {
    if (command == 'p') {
      long budget;
      float threshold;
      if (scanf("%ld %f", &budget, &threshold) != 2) return fail("point", 0);
      printf("%d\n", skipw_set_point(&s, budget < 0 ? SKIPW_WHOLE_WINDOW : (uint32_t)budget, threshold));
    } else if (command == 'r') {
      skipw_reset(&s);
    } else if (command == 'n') {
      unsigned long count;
      if (scanf("%lu", &count) != 1) return fail("count", 0);
      run_many(&s, count);
    } else if (command == 'x') {
      for (unsigned i = 0; i < SKIPW_MODEL_INPUTS; ++i)
        if (scanf("%f", input + i) != 1) return fail("input", (long)i);
      const int planned = (int)skipw_plan(&s, plan);
      const int due = pass(&s, input);
      if (due < 0) return fail("verbs", (long)s.inputs);
      skipw_output(&s, output);
      printf("%d %d", due, planned);
      for (unsigned i = 0; i < SKIPW_MODEL_OUTPUTS; ++i) printf(" %.9g", (double)output[i]);
      printf("\n");
    }
  }
  for (int i = 0; i < GUARD; ++i)
    if (memory[size + i] != 0x5a) return fail("written beyond its memory", i);
  free(memory);
  return 0;
}
