/* The stream: which inputs are processed (eqs. 1 to 3 and 6 to 10), and what processing one does (eqs. 4 and 5). */
#include "skipw.h"

#include <string.h>

#include "skipw_internal.h"

/* ---- memory: floats that are 8-byte multiples each, then the wide values, then bytes */

static size_t state_size(const skipw_model *m) { return (size_t)m->layers * skipw_parts(m) * m->hidden_size; }

static size_t products_size(const skipw_model *m)
{
  size_t size = (size_t)skipw_blocks(m) * m->hidden_size;
  if (m->hidden.outputs > size) size = m->hidden.outputs; /* the head's hidden units lie there too, */
  if ((m->gate_inputs || m->gate_windows) && m->window > size) size = m->window; /* and what the gate adds up */
  return size;
}

static int fits(const skipw_matrix *matrix, uint32_t outputs, uint32_t inputs)
{
  return matrix->values && matrix->outputs == outputs && matrix->inputs == inputs;
}

static int is_sound(const skipw_model *m)
{
  if (!m || m->format != SKIPW_FORMAT || !m->layers || !m->input_size || !m->hidden_size || !m->window) return 0;
  if (m->kind > SKIPW_SKIPRNN || m->bound > SKIPW_ANY || m->cell > SKIPW_FASTGRNN || m->select > SKIPW_FIRST_ABOVE || !m->initial) return 0;
  if (m->normaliser.kind == SKIPW_STANDARD && !(m->normaliser.mean && m->normaliser.scale)) return 0;
  if ((m->normaliser.kind == SKIPW_POSE || m->normaliser.has_missing) && m->input_size % 2) return 0;
  const uint32_t gates = skipw_blocks(m) * m->hidden_size;
  for (uint32_t i = 0; i < m->layers; ++i) {
    const skipw_layer *layer = m->layer + i;
    if (!fits(&layer->input, gates, i ? m->hidden_size : m->input_size)) return 0;
    if (!fits(&layer->state, gates, m->hidden_size)) return 0;
    if (m->cell == SKIPW_FASTGRNN && !(layer->mix && layer->state_bias)) return 0;
  }
  if (m->kind != SKIPW_DENSE && !(m->gates && m->gate)) return 0;
  if (!m->largest_budget || m->largest_budget > m->window) return 0;
  if (m->kind != SKIPW_SKIPW && (m->window != 1 || m->gate_inputs || m->gate_windows || m->bound || m->gates > 1)) return 0;
  if (m->gate_inputs > (SKIPW_SEES_SINCE_UPDATE | SKIPW_SEES_IMPORTANCE | SKIPW_SEES_INPUT | SKIPW_SEES_BUDGET)) return 0;
  if (m->gates > 1 && !m->gate_budget) return 0;
  for (uint32_t i = 0; i < m->gates; ++i) {
    const skipw_gate *gate = m->gate + i;
    if (!(fits(&gate->state, m->window, m->hidden_size) && gate->bias)) return 0;
    if (m->gate_windows && !gate->own) return 0;
    if (m->gate_inputs && !fits(&gate->seen, m->window, skipw_seen(m))) return 0;
  }
  if (m->hidden.values && m->hidden.inputs != m->hidden_size) return 0;
  return !m->output.values || m->output.inputs == (m->hidden.values ? m->hidden.outputs : m->hidden_size);
}

static size_t even(size_t count) { return (count + 1) & ~(size_t)1; }

size_t skipw_memory(const skipw_model *m)
{
  if (!is_sound(m)) return 0;
  const size_t floats =
      even(state_size(m)) + even(m->window) + 2 * even(products_size(m)) + even(m->input_size) + even(skipw_seen(m));
  size_t bytes = floats * sizeof(float) + even(m->input_size) * sizeof(skipw_wide) + 2 * (size_t)m->window;
  if (m->bound == SKIPW_ANY) bytes += even(m->window) * sizeof(int32_t) + m->window - 1;
  return (bytes + 7) & ~(size_t)7;
}

int skipw_init(skipw_stream *s, const skipw_model *m, void *memory, size_t size)
{
  const size_t needed = skipw_memory(m);
  if (!needed || !s) return SKIPW_ERROR_MODEL;
  if (!memory || size < needed || (uintptr_t)memory % sizeof(skipw_wide)) return SKIPW_ERROR_MEMORY;
  memset(s, 0, sizeof *s);
  memset(memory, 0, needed);
  s->model = m;
  s->raw = (skipw_wide *)memory;
  s->state = (float *)(s->raw + even(m->input_size));
  s->importance = s->state + even(state_size(m));
  s->from_input = s->importance + even(m->window);
  s->from_state = s->from_input + even(products_size(m));
  s->features = s->from_state + even(products_size(m));
  s->seen = s->features + even(m->input_size);
  s->room = (int32_t *)(s->seen + even(skipw_seen(m)));
  s->selected = (uint8_t *)(s->room + (m->bound == SKIPW_ANY ? even(m->window) : 0));
  s->before = s->selected + m->window;
  s->recent = s->before + m->window;
  s->budget = m->largest_budget;
  s->threshold = 0.5f;
  skipw_reset(s);
  return SKIPW_OK;
}

/* ---- the gates */

/* What drives the gate: the top layer's h, of an LSTM its c. */
static const float *driver(const skipw_stream *s)
{
  return s->state + state_size(s->model) - s->model->hidden_size;
}

/* Inputs since the last one processed, or since the start. */
static uint64_t since_update(const skipw_stream *s) { return s->updated ? s->inputs - s->last_update : s->inputs; }

/* The time feature, divided by its scale. */
static float time_feature(const skipw_stream *s)
{
  const skipw_model *m = s->model;
  uint64_t value = s->inputs;
  if (m->time_feature == SKIPW_WINDOW) value = s->inputs / m->window;
  if (m->time_feature == SKIPW_SINCE_UPDATE) value = since_update(s);
  return (float)value / m->time_scale;
}

/* Where in `seen` the values of the budget begin; those of the last input end there. */
static float *seen_budget(const skipw_stream *s)
{
  return s->seen + skipw_seen(s->model) - (s->model->gate_inputs & SKIPW_SEES_BUDGET ? skipw_halvings(s->model) : 0);
}

/* What the gate sees of the past beside state and time. The last input stands at its place already; the importance is
 * still that of the window before. */
static void look_back(skipw_stream *s)
{
  const skipw_model *m = s->model;
  float *at = s->seen;
  if (m->gate_inputs & SKIPW_SEES_SINCE_UPDATE) *at++ = (float)since_update(s) / m->time_scale;
  if (m->gate_inputs & SKIPW_SEES_IMPORTANCE) memcpy(at, s->importance, m->window * sizeof(float));
}

/* The gate of a window that opens under the K in force. */
static const skipw_gate *ruling_gate(const skipw_stream *s)
{
  const skipw_model *m = s->model;
  for (uint32_t i = 1; i < m->gates; ++i)
    if (s->budget <= m->gate_budget[i - 1]) return m->gate + i;
  return m->gate;
}

/* Whether the importance of a window depends on the K that it opens under. */
static int weighs_budget(const skipw_model *m) { return m->gates > 1 || (m->gate_inputs & SKIPW_SEES_BUDGET); }

/* A gate's bias and what the window has of its own, into from_state where there is such. */
static const float *window_bias(skipw_stream *s, const skipw_gate *gate)
{
  const skipw_model *m = s->model;
  if (!m->gate_windows) return gate->bias;
  const uint64_t at = s->inputs / m->window;
  const float *own = gate->own + (size_t)(at < m->gate_windows ? at : m->gate_windows - 1) * m->window;
  for (uint32_t i = 0; i < m->window; ++i) s->from_state[i] = gate->bias[i] + own[i];
  return s->from_state;
}

/* What a gate sees beside state and time, times its columns, plus its bias. */
static const float *gate_start(skipw_stream *s, const skipw_gate *gate)
{
  const skipw_model *m = s->model;
  const float *bias = window_bias(s, gate);
  if (!m->gate_inputs) return bias;
  if (m->gate_inputs & SKIPW_SEES_BUDGET) {
    float *values = seen_budget(s), budget = (float)s->budget;
    for (uint32_t i = 0; i < skipw_halvings(m); ++i) {
      const float left = 2.0f - (budget *= 2.0f) / (float)m->window;
      values[i] = left < 0.0f ? 0.0f : left > 1.0f ? 1.0f : left;
    }
  }
  skipw_product(&gate->seen, s->seen, bias, s->from_input);
  return s->from_input;
}

/* The most important slot that is still to come, reaches the threshold and is not selected yet; ties go to the
 * earliest. L if there is none. */
static uint32_t most_important(const skipw_stream *s)
{
  uint32_t best = s->model->window;
  for (uint32_t slot = s->offset; slot < s->model->window; ++slot)
    if (!s->selected[slot] && s->importance[slot] >= s->threshold
        && (best == s->model->window || s->importance[slot] > s->importance[best]))
      best = slot;
  return best;
}

/* Whether slots of this selector that don't reach the threshold use up budget (all but NaN, which rank last). */
static int counts(const skipw_stream *s, uint32_t slot)
{
  if (s->model->select == SKIPW_FIRST || s->model->select == SKIPW_LAST)
    return s->importance[slot] == s->importance[slot];
  return s->importance[slot] >= s->threshold;
}

/* The slot that is ranked next, of those that are neither selected nor REFUSED; L if none is left that could be
 * processed. */
static uint32_t ranked_next(const skipw_stream *s)
{
  const uint32_t window = s->model->window;
  if (s->model->select == SKIPW_TOPK) return most_important(s);
  if (s->model->select == SKIPW_LAST) {
    for (uint32_t slot = window; slot-- > s->offset;)
      if (!s->selected[slot] && counts(s, slot)) return slot;
    return window;
  }
  for (uint32_t slot = s->offset; slot < window; ++slot)
    if (!s->selected[slot] && counts(s, slot)) return slot;
  return window;
}

/* Eqs. 9 and 10 with at most K of any L consecutive inputs: a slot is taken if all of the L inputs that end at it or
 * later in this window may hold one more. */
static void select_of_any(skipw_stream *s)
{
  enum { REFUSED = 2 };
  const uint32_t window = s->model->window;
  int32_t left = (int32_t)s->budget;
  for (uint32_t back = 0; back < window; ++back) { /* of the last `back` inputs `budget - left` were processed */
    if (back) left -= s->recent[(s->inputs + (uint64_t)(window - 1) - back) % (window - 1)];
    if (back >= s->offset) s->room[s->offset + window - 1 - back] = left;
  }
  memset(s->selected + s->offset, 0, window - s->offset);
  for (int32_t considered = s->room[window - 1]; considered > 0; --considered) {
    const uint32_t slot = ranked_next(s);
    int fits_in = 1;
    if (slot == window) break;
    for (uint32_t end = slot; end < window; ++end) fits_in &= s->room[end] >= 1;
    s->selected[slot] = fits_in ? 1 : REFUSED;
    for (uint32_t end = slot; end < window; ++end) s->room[end] -= fits_in;
  }
  for (uint32_t slot = s->offset; slot < window; ++slot)
    s->selected[slot] = s->selected[slot] == 1 && s->importance[slot] >= s->threshold;
}

/* Eqs. 9 and 10 over the slots that are still to come: by index, so that never more than K are selected. */
static void select_slots(skipw_stream *s)
{
  const uint32_t window = s->model->window;
  uint32_t left = s->budget > s->used ? s->budget - s->used : 0;
  uint32_t candidates = 0;
  if (s->model->bound == SKIPW_ANY) {
    select_of_any(s);
    return;
  }
  for (uint32_t slot = s->offset; slot < window; ++slot) candidates += (uint32_t)counts(s, slot);
  memset(s->selected + s->offset, 0, window - s->offset);
  if (s->model->select == SKIPW_TOPK && left < candidates) {
    for (; left; --left) s->selected[most_important(s)] = 1;
    return;
  }
  /* all of them, or the first or last `left` in order of time */
  uint32_t passed = s->model->select == SKIPW_LAST && candidates > left ? candidates - left : 0;
  for (uint32_t slot = s->offset; slot < window && left; ++slot) {
    if (!counts(s, slot)) continue;
    if (passed) {
      --passed;
      continue;
    }
    s->selected[slot] = s->importance[slot] >= s->threshold;
    --left;
  }
}

/* The importance of the window that begins (eqs. 6 to 8). */
static void weigh(skipw_stream *s)
{
  const skipw_model *m = s->model;
  const skipw_gate *gate = ruling_gate(s);
  skipw_product(&gate->state, driver(s), gate_start(s, gate), s->importance);
  if (gate->time) {
    const float time = time_feature(s);
    for (uint32_t slot = 0; slot < m->window; ++slot) s->importance[slot] += gate->time[slot] * time;
  }
  skipw_sigmoid(s->importance, m->window);
}

/* A window begins: its importance and which of its inputs are processed. */
static void open_window(skipw_stream *s)
{
  s->offset = s->used = 0;
  s->switched = 0;
  look_back(s);
  weigh(s);
  select_slots(s);
  s->due = s->selected[0];
}

/* One input has passed. */
static void advance(skipw_stream *s, int processed)
{
  if (s->model->bound == SKIPW_ANY && s->model->window > 1)
    s->recent[s->inputs % (s->model->window - 1)] = (uint8_t)processed;
  ++s->inputs;
  switch (s->model->kind) {
    case SKIPW_SKIPW:
      if (++s->offset == s->model->window) open_window(s);
      else s->due = s->selected[s->offset];
      break;
    case SKIPW_THRRNN:
    case SKIPW_SKIPRNN: /* eqs. 2 and 3 */
      if (processed) {
        skipw_product(&s->model->gate->state, driver(s), s->model->gate->bias, &s->increment);
        skipw_sigmoid(&s->increment, 1);
        s->accumulated = s->increment;
      } else {
        const float sum = s->accumulated + s->increment;
        s->accumulated = sum > 1.0f ? 1.0f : sum; /* NaN stays NaN and is never processed */
      }
      s->due = s->accumulated >= s->threshold;
      break;
    default:
      s->due = 1;
  }
}

void skipw_reset(skipw_stream *s)
{
  const skipw_model *m = s->model;
  memcpy(s->state, m->initial, state_size(m) * sizeof(float));
  memset(s->importance, 0, m->window * sizeof(float)); /* of the window before the first, if the gate sees it */
  memset(s->seen, 0, skipw_seen(m) * sizeof(float));
  if (m->bound == SKIPW_ANY) memset(s->recent, 0, m->window - 1);
  s->inputs = s->processed = s->last_update = 0;
  s->max_in_window = s->offset = s->used = 0;
  s->updated = s->switched = 0;
  s->accumulated = s->increment = 1.0f; /* the first input is always processed */
  s->due = m->kind != SKIPW_DENSE ? s->accumulated >= s->threshold : 1;
  if (m->kind == SKIPW_SKIPW) open_window(s);
}

static int is_possible(const skipw_model *m, uint32_t budget, float threshold)
{
  const int whole = budget == SKIPW_WHOLE_WINDOW;
  if (!(threshold >= 0.0f && threshold <= 1.0f)) return 0;
  switch (m->kind) {
    case SKIPW_SKIPW: return whole || budget <= m->window;
    case SKIPW_THRRNN: return whole;
    case SKIPW_SKIPRNN: return whole && threshold == 0.5f;
    default: return 0;
  }
}

int skipw_set_point(skipw_stream *s, uint32_t budget, float threshold)
{
  const skipw_model *m = s->model;
  if (!is_possible(m, budget, threshold)) return SKIPW_ERROR_POINT;
  if (m->kind != SKIPW_SKIPW) {
    s->threshold = threshold;
    s->due = s->accumulated >= threshold;
    return SKIPW_OK;
  }
  if (!s->switched || s->switched_at != s->inputs) { /* of several switches before one input the last alone counts */
    s->switched = 1;
    s->switched_at = s->inputs;
    s->budget_before = s->budget;
    s->threshold_before = s->threshold;
    memcpy(s->before, s->selected, m->window);
  }
  s->budget = budget < m->largest_budget ? budget : m->largest_budget;
  s->threshold = threshold;
  if (s->offset == 0 && weighs_budget(m)) {
    weigh(s); /* the window has begun, none of its inputs has passed: its importance is that at the new budget */
    select_slots(s);
  } else if (s->budget == s->budget_before && threshold == s->threshold_before) memcpy(s->selected, s->before, m->window);
  else select_slots(s);
  s->due = s->selected[s->offset];
  return SKIPW_OK;
}

/* ---- inputs */

int skipw_skip(skipw_stream *s)
{
  if (s->due) return SKIPW_ERROR_ORDER;
  advance(s, 0);
  return SKIPW_OK;
}

/* S(s_{t-1}, x_t) through all layers; every layer reads its own old state and the new h below it. */
static void step_cells(skipw_stream *s, const float *x)
{
  const skipw_model *m = s->model;
  float *state = s->state;
  for (uint32_t i = 0; i < m->layers; ++i, state += skipw_parts(m) * m->hidden_size) {
    const skipw_layer *layer = m->layer + i;
    skipw_product(&layer->input, x, layer->input_bias, s->from_input);
    skipw_product(&layer->state, state, m->cell == SKIPW_FASTGRNN ? NULL : layer->state_bias, s->from_state);
    if (m->cell == SKIPW_GRU) skipw_gru(state, s->from_input, s->from_state, m->hidden_size);
    else if (m->cell == SKIPW_LSTM) skipw_lstm(state, s->from_input, s->from_state, m->hidden_size);
    else skipw_fastgrnn(state, s->from_input, s->from_state, layer->state_bias, layer->mix, m->hidden_size);
    x = state;
  }
}

static int process(skipw_stream *s, const float *features)
{
  const skipw_model *m = s->model;
  step_cells(s, features);
  if (m->gate_inputs & SKIPW_SEES_INPUT)
    memcpy(seen_budget(s) - m->input_size, features, m->input_size * sizeof(float));
  s->updated = 1;
  s->last_update = s->inputs;
  ++s->processed;
  if (m->kind == SKIPW_SKIPW) {
    uint32_t held = ++s->used;
    if (m->bound == SKIPW_ANY) {
      held = 1;
      for (uint32_t i = 0; i + 1 < m->window; ++i) held += s->recent[i];
    }
    if (held > s->max_in_window) s->max_in_window = held;
  }
  advance(s, 1);
  return SKIPW_OK;
}

static int process_raw(skipw_stream *s)
{
  if (!skipw_normalise(&s->model->normaliser, s->raw, s->features, s->model->input_size)) return SKIPW_ERROR_INPUT;
  return process(s, s->features);
}

int skipw_process(skipw_stream *s, const float *input)
{
  if (!s->due) return SKIPW_ERROR_ORDER;
  for (uint32_t i = 0; i < s->model->input_size; ++i) s->raw[i] = (skipw_wide)input[i];
  return process_raw(s);
}

#ifndef SKIPW_NO_DOUBLE
int skipw_process_double(skipw_stream *s, const double *input)
{
  if (!s->due) return SKIPW_ERROR_ORDER;
  memcpy(s->raw, input, s->model->input_size * sizeof(double));
  return process_raw(s);
}
#endif

int skipw_process_normalised(skipw_stream *s, const float *input)
{
  if (!s->due) return SKIPW_ERROR_ORDER;
  for (uint32_t i = 0; i < s->model->input_size; ++i)
    if (input[i] - input[i] != 0) return SKIPW_ERROR_INPUT;
  return process(s, input);
}

/* ---- what a caller reads */

uint32_t skipw_plan(const skipw_stream *s, uint32_t *offsets)
{
  uint32_t count = 0;
  if (s->model->kind != SKIPW_SKIPW) return 0;
  for (uint32_t slot = s->offset; slot < s->model->window; ++slot)
    if (s->selected[slot]) offsets[count++] = slot;
  return count;
}

uint32_t skipw_output_size(const skipw_model *m) { return m->output.values ? m->output.outputs : m->hidden_size; }

void skipw_output(skipw_stream *s, float *output)
{
  const skipw_model *m = s->model;
  const float *h = s->state + (size_t)(m->layers - 1) * skipw_parts(m) * m->hidden_size;
  if (!m->output.values) {
    memcpy(output, h, m->hidden_size * sizeof(float));
    return;
  }
  if (m->hidden.values) {
    skipw_product(&m->hidden, h, m->hidden_bias, s->from_state);
    for (uint32_t i = 0; i < m->hidden.outputs; ++i)
      s->from_state[i] = s->from_state[i] < 0 ? 0 : s->from_state[i]; /* NaN stays NaN */
    h = s->from_state;
  }
  skipw_product(&m->output, h, m->output_bias, output);
}
