/* SkipW, ThrRNN, SkipRNN and dense models of GRU, LSTM and FastGRNN cells, one input at a time, in C99.
 *
 * Mayet et al., "SkipW: Resource Adaptable RNN with Strict Upper Computational Limit", ICLR 2021; the numbers of
 * equations below are the paper's. In every window of L inputs (or of any L in a row) at most K are processed,
 * whatever the weights.
 *
 *     static double memory[SKIPW_MODEL_MEMORY / sizeof(double)];      // the caller's; nothing is ever allocated
 *     skipw_stream stream;
 *     int error = skipw_init(&stream, &skipw_model_data, memory, sizeof memory);
 *     error = skipw_set_point(&stream, 3, 0.5f);                      // at most 3 of each window, importance >= 0.5
 *     for (;;)
 *         if (skipw_needs_input(&stream)) error = skipw_process(&stream, read_sensor());
 *         else error = skipw_skip(&stream);                           // the sensor may have slept
 *
 * A model is constant and may lie in flash; any number of streams share it. A stream is used by one thread at a time.
 * Functions return SKIPW_OK or a negative error; after an error nothing has changed. Of the C library memcpy and
 * memset are used, of its mathematics sqrt(f). D inputs a step, N hidden units a layer, L window, K budget.
 */
#ifndef SKIPW_H
#define SKIPW_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SKIPW_FORMAT 5u /* of skipw_model; a model made for another format is refused */
#define SKIPW_WHOLE_WINDOW UINT32_MAX /* as a budget: the model's largest K */

/* -DSKIPW_INT8: matrices hold int8 with one scale an output; everything else stays float. */
#ifdef SKIPW_INT8
typedef int8_t skipw_weight;
#else
typedef float skipw_weight;
#endif

/* -DSKIPW_NO_DOUBLE: inputs are normalised in float, for processors without a double unit. */
#ifdef SKIPW_NO_DOUBLE
typedef float skipw_wide;
#else
typedef double skipw_wide;
#endif

enum skipw_error {
  SKIPW_OK = 0,
  SKIPW_ERROR_ORDER = -1,  /* process() where skip() is due, or the other way round */
  SKIPW_ERROR_INPUT = -2,  /* a value of the input is NaN or infinite */
  SKIPW_ERROR_POINT = -3,  /* a budget above L, a threshold outside [0, 1], or a model that has none */
  SKIPW_ERROR_MODEL = -4,  /* made for another format, or its sizes contradict one another */
  SKIPW_ERROR_MEMORY = -5  /* NULL, too small, or not aligned for skipw_wide */
};

enum skipw_kind { SKIPW_DENSE, SKIPW_SKIPW, SKIPW_THRRNN, SKIPW_SKIPRNN };
enum skipw_cell { SKIPW_GRU, SKIPW_LSTM, SKIPW_FASTGRNN };
enum skipw_select { SKIPW_TOPK, SKIPW_FIRST, SKIPW_LAST, SKIPW_FIRST_ABOVE }; /* Appendix H; those without noise */
enum skipw_time { SKIPW_STEPS, SKIPW_WINDOW, SKIPW_SINCE_UPDATE, SKIPW_NO_TIME };
/* What a gate may see beside the state and time, added up in skipw_model.gate_inputs. */
enum skipw_gate_inputs { SKIPW_SEES_SINCE_UPDATE = 1, SKIPW_SEES_IMPORTANCE = 2, SKIPW_SEES_INPUT = 4, SKIPW_SEES_BUDGET = 8 };
enum skipw_bound { SKIPW_ALIGNED, SKIPW_ANY }; /* at most K of each window, or of any L consecutive inputs */
enum skipw_normaliser_kind { SKIPW_AS_IS, SKIPW_STANDARD, SKIPW_POSE };

/* Packed [outputs][inputs]: columns in blocks of 64, 32, 16 and 8 outputs, each block row by row (see products.c). */
typedef struct {
  const skipw_weight *values; /* NULL: absent */
  const float *scale;         /* [outputs]; NULL without SKIPW_INT8 */
  uint32_t outputs, inputs;
} skipw_matrix;

/* GRU: blocks r, z, n, the reset gate after the product, as torch.nn.GRUCell; LSTM: i, f, g, o. FastGRNN: one block for z
 * and the candidate; input_bias is z's, state_bias what the candidate's bias is above that. */
typedef struct {
  skipw_matrix input, state;
  const float *input_bias, *state_bias; /* [blocks * N] */
  const float *mix;                     /* FastGRNN: zeta and nu, in (0, 1); else NULL */
} skipw_layer;

/* A gate: SkipW's of a window's L inputs; ThrRNN's and SkipRNN's one value. */
typedef struct {
  skipw_matrix state; /* W_W [L][N] without its further columns */
  const float *bias;  /* [L] */
  const float *time;  /* [L], its column for the time; NULL for SKIPW_NO_TIME */
  skipw_matrix seen;  /* [L][E], those for gate_inputs: 1, L, D and how often L is halved; or absent */
  const float *own;   /* [gate_windows][L], biases beside `bias` of the windows since the start; or NULL */
} skipw_gate;

/* What is done to a raw input (skipw.data.normaliser); pairs of features are the joints of a pose. */
typedef struct {
  uint32_t kind, has_missing, has_clip;
  skipw_wide missing, clip;
  const skipw_wide *mean, *scale; /* [D], of SKIPW_STANDARD */
} skipw_normaliser;

typedef struct {
  uint32_t format, kind, cell, select, time_feature, gate_inputs, bound;
  uint32_t input_size, hidden_size, layers, window; /* window 1 where the model has none */
  uint32_t largest_budget;     /* a larger K counts as this; L where any is meant */
  uint32_t gates;              /* 0: every input is processed */
  uint32_t gate_windows;       /* windows that have biases of their own; the last one serves those after it, too */
  float time_scale;
  const skipw_layer *layer;    /* [layers] */
  const float *initial;        /* [layers][1 or 2][N]: h, and c of an LSTM */
  const skipw_gate *gate;      /* [gates]; the first rules where no other does */
  const uint32_t *gate_budget; /* [gates - 1], ascending: the largest K of each other gate; NULL for one gate */
  skipw_matrix hidden, output; /* the head: output(ReLU(hidden(h))); either may be absent */
  const float *hidden_bias, *output_bias;
  skipw_normaliser normaliser;
} skipw_model;

/* Read what is marked "read"; everything is written by the functions alone. */
typedef struct {
  const skipw_model *model;
  float *state, *importance, *from_input, *from_state, *features, *seen;
  skipw_wide *raw;
  int32_t *room;                     /* SKIPW_ANY: [L], how many more the L inputs that end at a slot may hold */
  uint8_t *selected, *before, *recent; /* [L], [L], and of SKIPW_ANY [L - 1]: which inputs were processed, in a ring */
  uint64_t inputs;        /* read: seen, processed or skipped */
  uint64_t processed;     /* read: of these, processed */
  uint32_t max_in_window; /* read: most inputs processed in any window, of SKIPW_ANY in any L consecutive inputs */
  uint32_t offset;        /* read: of the next input in its window */
  uint32_t budget;        /* read: K, at most largest_budget */
  float threshold;        /* read */
  uint64_t last_update, switched_at;
  uint32_t used, budget_before;
  float threshold_before, accumulated, increment;
  uint8_t due, switched, updated;
} skipw_stream;

/* Bytes that skipw_init wants for one stream; 0 for a model that it would refuse. */
size_t skipw_memory(const skipw_model *model);

/* A stream before its first input, at the largest K and the threshold 0.5.
 * memory: at least skipw_memory(model) bytes, aligned for skipw_wide, the stream's as long as it is used.
 * Errors: SKIPW_ERROR_MODEL, SKIPW_ERROR_MEMORY. */
int skipw_init(skipw_stream *stream, const skipw_model *model, void *memory, size_t size);

/* A new sequence at the same point: state, window and counters. */
void skipw_reset(skipw_stream *stream);

/* Run at (budget, threshold) from the next input on, also within a window: then the max(0, K - already processed) most
 * important slots still to come are processed, of those that reach the threshold (SKIPW_ANY: as many as the bound
 * leaves). ThrRNN takes SKIPW_WHOLE_WINDOW
 * and a threshold. Errors: SKIPW_ERROR_POINT. */
int skipw_set_point(skipw_stream *stream, uint32_t budget, float threshold);

/* Whether the next input is to be processed; if not, it need not even be recorded. */
static inline int skipw_needs_input(const skipw_stream *stream) { return stream->due; }

/* The next input, D raw values; they are normalised here. Errors: SKIPW_ERROR_ORDER, SKIPW_ERROR_INPUT. */
int skipw_process(skipw_stream *stream, const float *input);
#ifndef SKIPW_NO_DOUBLE
int skipw_process_double(skipw_stream *stream, const double *input);
#endif

/* The next input, D values that are normalised already (the row of a word's embedding). Errors as above. */
int skipw_process_normalised(skipw_stream *stream, const float *input);

/* The next input was skipped. Errors: SKIPW_ERROR_ORDER. */
int skipw_skip(skipw_stream *stream);

/* Offsets in this window that are still to be processed, ascending, into offsets[L]; returns how many there are.
 * Between two windows they are the next one's. 0 for models without windows, which decide after each input. */
uint32_t skipw_plan(const skipw_stream *stream, uint32_t *offsets);

/* Values that skipw_output writes: of the head's output, or N without a head. */
uint32_t skipw_output_size(const skipw_model *model);

/* The head's output so far, without a head the top layer's h. */
void skipw_output(skipw_stream *stream, float *output);

#ifdef __cplusplus
}
#endif
#endif
