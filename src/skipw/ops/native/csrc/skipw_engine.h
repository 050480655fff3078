/* The C interface of the native backend: whole sequences of GRU, LSTM and FastGRNN layers under one shared
 * gate.
 *
 * Plain C, no allocation that crosses the border, no exceptions, no output: every function returns a code. Arrays
 * are dense and row-major; "Real" is float or double as `float_bytes` says. B rows, T inputs of width D, N hidden
 * units, L window, G = 3 gates (GRU) or 4 (LSTM), in torch.nn.GRUCell's and LSTMCell's order, or 1 (FastGRNN).
 */
#ifndef SKIPW_ENGINE_H
#define SKIPW_ENGINE_H

#include <stdint.h>

#define SKIPW_ABI_VERSION 7

#ifdef __cplusplus
extern "C" {
#endif

enum skipw_cell { SKIPW_GRU = 0, SKIPW_LSTM = 1, SKIPW_FASTGRNN = 2 };
enum skipw_gate { SKIPW_NO_GATE = 0, SKIPW_WINDOW = 1, SKIPW_ACCUMULATE = 2 };
enum skipw_select {
  SKIPW_TOPK = 0,
  SKIPW_SAMPLE = 1,
  SKIPW_RANDOM = 2,
  SKIPW_FIRST = 3,
  SKIPW_LAST = 4,
  SKIPW_FIRST_ABOVE = 5
};
enum skipw_time { SKIPW_TIME_NONE = 0, SKIPW_TIME_STEPS = 1, SKIPW_TIME_WINDOW = 2, SKIPW_TIME_SINCE_UPDATE = 3 };
/* What the gate of a window sees beside state and time; their columns of its weight follow in this order. */
enum skipw_seen {
  SKIPW_SEES_SINCE_UPDATE = 1, /* one column: inputs since the last one processed, divided by time_scale */
  SKIPW_SEES_IMPORTANCE = 2,   /* L columns: the importance of the window before */
  SKIPW_SEES_INPUT = 4,        /* D columns: the last input processed */
  SKIPW_SEES_BUDGET = 8        /* as many columns as halvings of L, at least 1: skipw/gate_inputs.py */
};
enum skipw_bound { SKIPW_ALIGNED = 0, SKIPW_ANY = 1 }; /* at most K of each window, or of any L consecutive inputs */
enum skipw_code { SKIPW_OK = 0, SKIPW_NO_MEMORY = 1, SKIPW_BAD_CALL = 2, SKIPW_FAILED = 3 };

/* One batch. What the state of each row holds is in skipw.ops.state.SkipState; it is read and then overwritten. */
typedef struct skipw_call {
  int32_t float_bytes;  /* 4 or 8 */
  int32_t cell;         /* skipw_cell */
  int32_t gate;         /* skipw_gate */
  int32_t select;       /* skipw_select */
  int32_t time_feature; /* skipw_time */
  int32_t training;     /* keep a tape for skipw_backward */
  int32_t num_threads;  /* at least 1 */
  int32_t distinct;     /* look for repeated input rows, and project each once */
  int32_t zero_sum;     /* the selection's gradient is zero_sum, see skipw/ops/selection_gradient.py; the rows start at
                           a window's first input, under one operating point */
  int32_t seen;         /* skipw_seen, added up; 0 without gate */
  int32_t bound;        /* skipw_bound, of windows */
  int64_t batch, steps, input_size, hidden, layers, window, noise_windows, num_switches;
  int64_t gate_windows; /* windows of a sequence that have biases of their own, one column each behind what `seen` adds */
  double time_scale, state_gradient;
  const void* x;                    /* Real[B, T, D] */
  const int64_t* lengths;           /* [B] */
  const uint8_t* forced;            /* [B, T], without gate: the inputs to process; NULL processes all */
  const void* const* weights;       /* weight_ih, weight_hh, bias_ih, bias_hh of each layer; of a FastGRNN weight_ih,
                                       weight_hh, bias_z, bias_h, zeta, nu (Real[1] each, before the sigmoid) */
  const void* gate_weight;          /* Real[L, N + 1] or [L, N] and what `seen` adds (window), [1, N] (accumulate) */
  const void* gate_bias;            /* Real[L] or [1] */
  const void* importance_before;    /* Real[B, L], of the state that came in; read for SKIPW_SEES_IMPORTANCE */
  const void* last_input;           /* Real[B, D], likewise for SKIPW_SEES_INPUT */
  const uint8_t* recent;            /* [B, L - 1], which of the last L - 1 inputs were processed, the latest last; SKIPW_ANY */
  const void* noise;                /* Real[noise_windows, B, L] or NULL */
  const int64_t* switch_start;      /* [num_switches], the first is 0 */
  const int64_t* switch_budget;     /* [num_switches] */
  const double* switch_threshold;   /* [num_switches] */
  const void* const* layers_before; /* Real[B, N] each: h of every layer; h, c of every LSTM layer */
  void* const* layers_after;        /* likewise, written */
  int64_t* step;                    /* [B] ... from here on read and overwritten; may be NULL without gate */
  int64_t* offset;
  int64_t* used;
  int64_t* last_update;
  void* importance;    /* Real[B, L] */
  uint8_t* selected;   /* [B, L] */
  void* draw;          /* Real[B, L], the current window's noise, or NULL */
  void* accumulated;   /* Real[B] */
  void* increment;     /* Real[B] */
  int64_t* budget;     /* [B] */
  double* threshold;   /* [B] */
  void* output;        /* Real[B, T, N] or NULL */
  void* updates;       /* Real[B, T], zeros and ones; zero on entry */
  void* values;        /* Real[B, T], what each gate compared; zero on entry; NULL without gate */
  void* tape;          /* out: for skipw_backward, then skipw_release */
} skipw_call;

/* Gradients: the upper half comes in (NULL is zero), the lower half is written. */
typedef struct skipw_gradients {
  const void* output;            /* Real[B, T, N] or NULL */
  const void* updates;           /* Real[B, T] or NULL */
  const void* values;            /* Real[B, T] or NULL */
  const void* importance;        /* Real[B, L] or NULL, of the final state */
  const void* accumulated;       /* Real[B] or NULL */
  const void* increment;         /* Real[B] or NULL */
  const void* const* last;       /* Real[B, N] each, or NULL each */
  void* x;                       /* Real[B, T, D], zero on entry, or NULL */
  void* gate_weight;             /* as the weight; NULL without gate */
  void* gate_bias;
  void* first_importance;        /* Real[B, L], of the state that came in; NULL where there is none */
  void* first_accumulated;       /* Real[B] */
  void* first_increment;         /* Real[B] */
  void* first_last_input;        /* Real[B, D], zero on entry, or NULL */
  void* const* first;            /* Real[B, N] each */
  void* const* weights;          /* as the weights */
} skipw_gradients;

#if defined(_WIN32)
#define SKIPW_EXPORT __declspec(dllexport)
#else
#define SKIPW_EXPORT __attribute__((visibility("default")))
#endif

SKIPW_EXPORT int skipw_abi_version(void);
SKIPW_EXPORT int skipw_cpu_level(void); /* 0 plain, 1 AVX2 and FMA, 2 AVX-512 */
SKIPW_EXPORT const char* skipw_variant(void);
SKIPW_EXPORT const char* skipw_source_hash(void);
/* GOMP_parallel of the caller's OpenMP, whose threads then do the work; NULL: threads made for each call */
SKIPW_EXPORT void skipw_use_openmp(void (*parallel)(void (*fn)(void*), void* data, unsigned threads, unsigned flags));
SKIPW_EXPORT int skipw_forward(skipw_call* call);
SKIPW_EXPORT int skipw_backward(const skipw_call* call, const skipw_gradients* gradients);
SKIPW_EXPORT void skipw_release(void* tape);
SKIPW_EXPORT void skipw_trim(void); /* give memory that is kept for the next call back to the system */
SKIPW_EXPORT int64_t skipw_tape_bytes(const void* tape);

#ifdef __cplusplus
}
#endif
#endif
