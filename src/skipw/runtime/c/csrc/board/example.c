/* Reads inputs from standard input, one a line, D numbers each, and processes at most K of every L.
 *
 *     ./example [BUDGET [THRESHOLD]] < frames.txt         BUDGET -1: the whole window, or a model without one
 *
 * Prints what became of each input, then the answer. On a board a sensor takes the place of the file: where
 * skipw_needs_input says no, it is not even read.
 */
#include <stdio.h>
#include <stdlib.h>

#include "model.h"

static double memory[(SKIPW_MODEL_MEMORY + sizeof(double) - 1) / sizeof(double)];

/* D numbers from standard input; 0 at its end. */
static int read_input(float *input)
{
  for (unsigned i = 0; i < SKIPW_MODEL_INPUTS; ++i)
    if (scanf("%f", input + i) != 1) return 0;
  return 1;
}

/* One input passes unread; 0 at the end. (A camera would just not be asked.) */
static int let_pass(void)
{
  int character = getchar();
  while (character == ' ' || character == '\n' || character == '\r') character = getchar();
  if (character == EOF) return 0;
  while (character != '\n' && character != EOF) character = getchar();
  return 1;
}

static void print_answer(skipw_stream *stream)
{
  float output[SKIPW_MODEL_OUTPUTS];
  unsigned best = 0;
  skipw_output(stream, output);
  printf("output");
  for (unsigned i = 0; i < SKIPW_MODEL_OUTPUTS; ++i) {
    printf(" %.6g", (double)output[i]);
    if (output[i] > output[best]) best = i;
  }
  printf("\n");
  if (SKIPW_MODEL_IS_CLASSIFIER) printf("class %s\n", skipw_model_classes[best]);
}

int main(int count, char **words)
{
  skipw_stream stream;
  float input[SKIPW_MODEL_INPUTS];
  const uint32_t budget = count > 1 ? (uint32_t)strtoul(words[1], NULL, 10) : SKIPW_MODEL_BUDGET;
  const float threshold = count > 2 ? strtof(words[2], NULL) : SKIPW_MODEL_THRESHOLD;
  int error = skipw_init(&stream, &skipw_model_data, memory, sizeof memory);
  if (!error && (count > 1 || skipw_model_data.kind != SKIPW_DENSE))
    error = skipw_set_point(&stream, budget, threshold);
  while (!error) {
    if (skipw_needs_input(&stream)) {
      if (!read_input(input)) break;
      error = skipw_process(&stream, input);
      putchar('x');
    } else {
      if (!let_pass()) break;
      error = skipw_skip(&stream);
      putchar('.');
    }
    if (stream.offset == 0 && SKIPW_MODEL_WINDOW > 1) putchar(' ');
  }
  putchar('\n');
  if (error) {
    fprintf(stderr, "error %d at input %lu; skipw.h says what it means\n", error, (unsigned long)stream.inputs);
    return 1;
  }
  print_answer(&stream);
  printf("processed %lu of %lu", (unsigned long)stream.processed, (unsigned long)stream.inputs);
  if (skipw_model_data.kind == SKIPW_SKIPW) /* the others have no windows */
    printf(", at most %u in a window of %u", (unsigned)stream.max_in_window, SKIPW_MODEL_WINDOW);
  printf("\n");
  return 0;
}
