/* What the files of the library share; not for callers. */
#ifndef SKIPW_INTERNAL_H
#define SKIPW_INTERNAL_H

#include "skipw.h"

/* Where the build asks for it (-DSKIPW_CLONES), GCC makes each heavy function for several x86-64 vector units and the
 * loader picks. */
#if defined(SKIPW_CLONES) && defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__)
#define SKIPW_HOT __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define SKIPW_HOT
#endif

/* So that each of them has its own copy of what it calls. */
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

/* In place: 1 / (1 + exp(-z)); as in torch exactly 1 from near 17 on, and different where z is far below 0. */
void skipw_sigmoid(float *values, uint32_t count);

/* raw [D], overwritten, -> features [D], as skipw.data.normaliser; false if a value before or after is not finite. */
int skipw_normalise(const skipw_normaliser *normaliser, skipw_wide *raw, float *features, uint32_t size);

static inline uint32_t skipw_blocks(const skipw_model *model) { return model->cell == SKIPW_GRU ? 3 : 4; }
static inline uint32_t skipw_parts(const skipw_model *model) { return model->cell == SKIPW_GRU ? 1 : 2; }
static inline size_t skipw_rounded(size_t count) { return (count + 7) / 8 * 8; } /* outputs of a packed matrix */

#endif
