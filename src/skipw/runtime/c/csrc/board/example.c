/* Reads inputs from standard input, one a line, D numbers each, and processes at most K of every L.
 *
 *     ./example [BUDGET [THRESHOLD]] < frames.txt         BUDGET -1: the largest, or a model without one
 *
 * Prints what became of each input, then the answer. On a board a sensor takes the place of the file: where
 * skipw_needs_input says no, it is not even read. Here the values of such a line are counted, nothing more, so that
 * a file that was cut short is noticed.
 */
#include <stdio.h>
#include <stdlib.h>

#include "model.h"

static double memory[(SKIPW_MODEL_MEMORY + sizeof(double) - 1) / sizeof(double)];

static int is_blank(int character) { return character == ' ' || character == '\t' || character == '\r'; }

/* The first character of the next line that is not empty; EOF at the end. */
static int begin_line(void)
{
  int character = getchar();
  while (is_blank(character) || character == '\n') character = getchar();
  return character;
}

/* A line of D numbers with spaces between: 1; 0 at the end, -1 for any other line. */
static int read_input(float *input)
{
  int character = begin_line();
  if (character == EOF) return 0;
  for (unsigned i = 0; i < SKIPW_MODEL_INPUTS; ++i) {
    if (character == '\n' || character == EOF) return -1;
    ungetc(character, stdin);
    if (scanf("%f", input + i) != 1) return -1;
    character = getchar();
    if (!is_blank(character) && character != '\n' && character != EOF) return -1;
    while (is_blank(character)) character = getchar();
  }
  return character == '\n' || character == EOF ? 1 : -1;
}

/* As read_input, but what stands there is only counted. (A camera would just not be asked.) */
static int let_pass(void)
{
  unsigned values = 0;
  int character = begin_line();
  if (character == EOF) return 0;
  while (character != '\n' && character != EOF) {
    ++values;
    while (!is_blank(character) && character != '\n' && character != EOF) character = getchar();
    while (is_blank(character)) character = getchar();
  }
  return values == SKIPW_MODEL_INPUTS ? 1 : -1;
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

/* BUDGET and THRESHOLD, where they were given; 0 if they are something else. */
static int read_point(int count, char **words, uint32_t *budget, float *threshold)
{
  char *end;
  if (count > 1) {
    const long asked = strtol(words[1], &end, 10);
    if (end == words[1] || *end || asked < -1 || asked > (long)SKIPW_MODEL_WINDOW) return 0;
    *budget = asked < 0 ? SKIPW_WHOLE_WINDOW : (uint32_t)asked;
  }
  if (count > 2) {
    *threshold = strtof(words[2], &end);
    if (end == words[2] || *end || !(*threshold >= 0 && *threshold <= 1)) return 0;
  }
  return count <= 3;
}

int main(int count, char **words)
{
  skipw_stream stream;
  float input[SKIPW_MODEL_INPUTS];
  uint32_t budget = SKIPW_MODEL_BUDGET;
  float threshold = SKIPW_MODEL_THRESHOLD;
  int found = 1;
  if (!read_point(count, words, &budget, &threshold)) {
    fprintf(stderr, "expected [BUDGET [THRESHOLD]]: a whole number from -1 to %u, and one from 0 to 1\n",
            SKIPW_MODEL_WINDOW);
    return 1;
  }
  int error = skipw_init(&stream, &skipw_model_data, memory, sizeof memory);
  if (!error && (count > 1 || skipw_model_data.kind != SKIPW_DENSE))
    error = skipw_set_point(&stream, budget, threshold);
  while (!error) {
    const int due = skipw_needs_input(&stream);
    found = due ? read_input(input) : let_pass();
    if (found <= 0) break;
    error = due ? skipw_process(&stream, input) : skipw_skip(&stream);
    putchar(due ? 'x' : '.');
    if (stream.offset == 0 && SKIPW_MODEL_WINDOW > 1) putchar(' ');
  }
  putchar('\n');
  if (error) {
    fprintf(stderr, "error %d at input %lu; skipw.h says what it means\n", error, (unsigned long)stream.inputs);
    return 1;
  }
  if (found < 0 || !stream.inputs) {
    fprintf(stderr, "input %lu: expected a line of %u numbers with spaces between\n", (unsigned long)stream.inputs,
            SKIPW_MODEL_INPUTS);
    return 1;
  }
  print_answer(&stream);
  printf("processed %lu of %lu", (unsigned long)stream.processed, (unsigned long)stream.inputs);
  if (skipw_model_data.kind == SKIPW_SKIPW) /* the others have no windows */
    printf(", at most %u in a window of %u", (unsigned)stream.max_in_window, SKIPW_MODEL_WINDOW);
  printf("\n");
  return 0;
}
