/* What the files of the library share; not for callers. */
#ifndef SKIPW_INTERNAL_H
#define SKIPW_INTERNAL_H

#include "skipw.h"

/* A build for several vector units in one library (module.c) compiles products.c and cells.c once for each, with the
 * variant's name behind those of their functions, and everything else with -DSKIPW_DISPATCH. */
#ifdef SKIPW_VARIANT
#define SKIPW_JOINED(name, variant) name##_##variant
#define SKIPW_NAMED(name, variant) SKIPW_JOINED(name, variant)
#define skipw_product SKIPW_NAMED(skipw_product, SKIPW_VARIANT)
#define skipw_gru SKIPW_NAMED(skipw_gru, SKIPW_VARIANT)
#define skipw_lstm SKIPW_NAMED(skipw_lstm, SKIPW_VARIANT)
#define skipw_fastgrnn SKIPW_NAMED(skipw_fastgrnn, SKIPW_VARIANT)
#define skipw_sigmoid SKIPW_NAMED(skipw_sigmoid, SKIPW_VARIANT)
#endif

#ifdef __GNUC__
#define SKIPW_INLINE static inline __attribute__((always_inline))
#else
#define SKIPW_INLINE static inline
#endif

/* y[outputs] = start + W x; start NULL: 0. None of them may overlap. */
void skipw_product(
    const skipw_matrix *matrix, const float *restrict x, const float *restrict start, float *restrict y);

/* One step of a cell, state (h, or h then c, N each) replaced. from_input, from_state: the products, overwritten. */
void skipw_gru(float *restrict state, float *restrict from_input, const float *restrict from_state, uint32_t hidden);
void skipw_lstm(float *restrict state, float *restrict from_input, const float *restrict from_state, uint32_t hidden);
/* from_state without a bias; more: the candidate's bias above z's; mix: zeta and nu. */
void skipw_fastgrnn(float *restrict state, const float *restrict from_input, const float *restrict from_state,
                    const float *restrict more, const float *restrict mix, uint32_t hidden);

/* In place: 1 / (1 + exp(-z)); as in torch exactly 1 from near 17 on, and different where z is far below 0. */
void skipw_sigmoid(float *values, uint32_t count);

#ifdef SKIPW_DISPATCH
typedef struct {
  const char *name;
  void (*product)(const skipw_matrix *, const float *restrict, const float *restrict, float *restrict);
  void (*gru)(float *restrict, float *restrict, const float *restrict, uint32_t);
  void (*lstm)(float *restrict, float *restrict, const float *restrict, uint32_t);
  void (*fastgrnn)(float *restrict, const float *restrict, const float *restrict, const float *restrict,
                   const float *restrict, uint32_t);
  void (*sigmoid)(float *, uint32_t);
} skipw_kernels;
extern const skipw_kernels *skipw_chosen; /* dispatch.c */
#define skipw_product skipw_chosen->product
#define skipw_gru skipw_chosen->gru
#define skipw_lstm skipw_chosen->lstm
#define skipw_fastgrnn skipw_chosen->fastgrnn
#define skipw_sigmoid skipw_chosen->sigmoid
#endif

/* raw [D], overwritten, -> features [D], as skipw.data.normaliser; false if a value before or after is not finite. */
int skipw_normalise(const skipw_normaliser *normaliser, skipw_wide *raw, float *features, uint32_t size);

static inline uint32_t skipw_blocks(const skipw_model *model)
{
  return model->cell == SKIPW_GRU ? 3 : model->cell == SKIPW_LSTM ? 4 : 1;
}
static inline uint32_t skipw_parts(const skipw_model *model) { return model->cell == SKIPW_LSTM ? 2 : 1; }
/* How often L can be halved, at least once: what the gate sees of K. */
static inline uint32_t skipw_halvings(const skipw_model *model)
{
  uint32_t count = 1;
  while ((1u << count) < model->window) ++count;
  return count;
}
/* Values that the gate sees beside state and time, E: inputs since the last one processed, the importance of the window
 * before, the last input processed, K. */
static inline uint32_t skipw_seen(const skipw_model *model)
{
  return (model->gate_inputs & SKIPW_SEES_SINCE_UPDATE ? 1 : 0)
         + (model->gate_inputs & SKIPW_SEES_IMPORTANCE ? model->window : 0)
         + (model->gate_inputs & SKIPW_SEES_INPUT ? model->input_size : 0)
         + (model->gate_inputs & SKIPW_SEES_BUDGET ? skipw_halvings(model) : 0);
}
static inline size_t skipw_rounded(size_t count) { return (count + 7) / 8 * 8; } /* outputs of a packed matrix */

#endif
