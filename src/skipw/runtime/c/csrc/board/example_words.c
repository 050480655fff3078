/* Reads words from standard input and processes at most K of every L.
 *
 *     ./example [BUDGET [THRESHOLD]] < frames.txt         token ids, as in frames.txt
 *     echo "a fine film ." | ./example                    or words, lower case, punctuation apart
 *
 * embedding.bin (the vectors) and vocabulary.txt (a word a line, its id is the line's number from 0) lie in the
 * working directory; a board would keep them in flash. A skipped word is not looked up.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

#define UNKNOWN 1 /* the id of all words outside the vocabulary */

static double memory[(SKIPW_MODEL_MEMORY + sizeof(double) - 1) / sizeof(double)];

/* The id of a word: a number is one already. */
static unsigned long id_of(const char *word)
{
  char *end, line[256];
  unsigned long id = strtoul(word, &end, 10), row = 0;
  if (!*end && id < SKIPW_MODEL_VOCABULARY) return id;
  FILE *vocabulary = fopen("vocabulary.txt", "r");
  id = UNKNOWN;
  while (vocabulary && fgets(line, sizeof line, vocabulary)) {
    line[strcspn(line, "\n")] = '\0';
    if (!strcmp(line, word)) {
      id = row;
      break;
    }
    ++row;
  }
  if (vocabulary) fclose(vocabulary);
  return id;
}

/* The vector of a word; 0 if it cannot be read. */
static int look_up(FILE *embedding, unsigned long id, float *vector)
{
  const long size = (long)(SKIPW_MODEL_INPUTS * sizeof *vector);
  if (fseek(embedding, (long)id * size, SEEK_SET)) return 0;
  return fread(vector, sizeof *vector, SKIPW_MODEL_INPUTS, embedding) == SKIPW_MODEL_INPUTS;
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
  float vector[SKIPW_MODEL_INPUTS], output[SKIPW_MODEL_OUTPUTS];
  char word[256];
  unsigned best = 0;
  uint32_t budget = SKIPW_MODEL_BUDGET;
  float threshold = SKIPW_MODEL_THRESHOLD;
  if (!read_point(count, words, &budget, &threshold)) {
    fprintf(stderr, "expected [BUDGET [THRESHOLD]]: a whole number from -1 to %u, and one from 0 to 1\n",
            SKIPW_MODEL_WINDOW);
    return 1;
  }
  FILE *embedding = fopen("embedding.bin", "rb");
  int error = skipw_init(&stream, &skipw_model_data, memory, sizeof memory);
  if (!embedding) {
    fprintf(stderr, "embedding.bin is not here\n");
    return 1;
  }
  if (!error && (count > 1 || skipw_model_data.kind != SKIPW_DENSE))
    error = skipw_set_point(&stream, budget, threshold);
  while (!error && scanf("%255s", word) == 1) {
    if (!skipw_needs_input(&stream)) {
      error = skipw_skip(&stream);
      putchar('.');
    } else if (look_up(embedding, id_of(word), vector)) {
      error = skipw_process_normalised(&stream, vector);
      putchar('x');
    } else {
      error = SKIPW_ERROR_INPUT;
    }
    if (stream.offset == 0 && SKIPW_MODEL_WINDOW > 1) putchar(' ');
  }
  fclose(embedding);
  putchar('\n');
  if (error) {
    fprintf(stderr, "error %d at word %lu; skipw.h says what it means\n", error, (unsigned long)stream.inputs);
    return 1;
  }
  if (!stream.inputs) {
    fprintf(stderr, "expected words, or their ids, on standard input\n");
    return 1;
  }
  skipw_output(&stream, output);
  printf("output");
  for (unsigned i = 0; i < SKIPW_MODEL_OUTPUTS; ++i) {
    printf(" %.6g", (double)output[i]);
    if (output[i] > output[best]) best = i;
  }
  printf("\n");
  if (SKIPW_MODEL_IS_CLASSIFIER) printf("class %s\n", skipw_model_classes[best]);
  printf("processed %lu of %lu", (unsigned long)stream.processed, (unsigned long)stream.inputs);
  if (skipw_model_data.kind == SKIPW_SKIPW) /* the others have no windows */
    printf(", at most %u in a window of %u", (unsigned)stream.max_in_window, SKIPW_MODEL_WINDOW);
  printf("\n");
  return 0;
}
