/* The library for Python: types Model and Stream of skipw.runtime.c._stream, on the stable ABI of 3.11 and later.
 *
 * A subclass in Python adds what needs no speed (skipw.runtime.c.stream): it holds `_refuse(verb)`, which raises the
 * error for a wrong verb, and `_process_any(x)`, which reads whatever is no contiguous Float[D] of finite numbers.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>
#include <string.h>

#include "dispatch.h"
#include "skipw.h"
#include "skipw_internal.h"

#ifndef SKIPW_SOURCE_HASH
#define SKIPW_SOURCE_HASH ""
#endif
#define ALIGNMENT 64
#define MAX_LAYERS 64

/* ---- Model: a skipw_model with its own copy of all constants */

typedef struct {
  PyObject_HEAD
  skipw_model model;
  skipw_layer layers[MAX_LAYERS];
  void *block;
  int reads_numbers; /* else words: _process_any reads each input */
} Model;

/* Hands out consecutive aligned parts of one block; with a NULL block it only adds up. */
typedef struct {
  char *at;
  size_t used;
} Carver;

/* The next array of the list, `count` items of `item` bytes, copied into the block. NULL for None. */
static const void *take(Carver *carver, PyObject *arrays, Py_ssize_t index, size_t count, size_t item, int *failed)
{
  PyObject *array = PySequence_GetItem(arrays, index);
  const void *result = NULL;
  Py_buffer view;
  if (!array) {
    *failed = 1;
    return NULL;
  }
  if (array != Py_None) {
    if (PyObject_GetBuffer(array, &view, PyBUF_SIMPLE) < 0) {
      *failed = 1;
    } else {
      if ((size_t)view.len != count * item) {
        PyErr_Format(PyExc_ValueError, "array %zd has %zd bytes, expected %zu.", index, view.len, count * item);
        *failed = 1;
      } else if (carver->at) {
        result = memcpy(carver->at + carver->used, view.buf, (size_t)view.len);
      }
      carver->used += (count * item + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
      PyBuffer_Release(&view);
    }
  }
  Py_DECREF(array);
  return result;
}

/* Room for `count` items of `item` bytes in the block, NULL while it only adds up. */
static void *room_for(Carver *carver, size_t count, size_t item)
{
  void *result = carver->at ? carver->at + carver->used : NULL;
  carver->used += (count * item + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  return result;
}

static skipw_matrix matrix(Carver *c, PyObject *arrays, Py_ssize_t index, uint32_t outputs, uint32_t inputs, int *failed)
{
  skipw_matrix result = {NULL, NULL, outputs, inputs};
  const size_t rounded = ((size_t)outputs + 7) / 8 * 8;
  result.values = take(c, arrays, index, rounded * inputs, sizeof(float), failed);
  return result;
}

/* Every array in its place; the order is that of skipw.runtime.c.packing. */
static int carve(Model *self, Carver *c, PyObject *arrays, uint32_t head_hidden, uint32_t outputs)
{
  skipw_model *m = &self->model;
  const uint32_t n = m->hidden_size, d = m->input_size, window = m->window;
  const uint32_t gates = skipw_blocks(m) * n, parts = skipw_parts(m);
  Py_ssize_t i = 0;
  int failed = 0;
  for (uint32_t layer = 0; layer < m->layers && !failed; ++layer, i += 5) {
    self->layers[layer].input = matrix(c, arrays, i, gates, layer ? n : d, &failed);
    self->layers[layer].state = matrix(c, arrays, i + 1, gates, n, &failed);
    self->layers[layer].input_bias = take(c, arrays, i + 2, gates, sizeof(float), &failed);
    self->layers[layer].state_bias = take(c, arrays, i + 3, gates, sizeof(float), &failed);
    self->layers[layer].mix = take(c, arrays, i + 4, 2, sizeof(float), &failed);
  }
  if (failed) return 0;
  m->initial = take(c, arrays, i, (size_t)m->layers * parts * n, sizeof(float), &failed);
  m->gate_budget = take(c, arrays, i + 1, m->gates ? m->gates - 1 : 0, sizeof(uint32_t), &failed);
  i += 2;
  skipw_gate *gate = room_for(c, m->gates, sizeof *gate);
  m->gate = gate;
  for (uint32_t g = 0; g < m->gates && !failed; ++g, i += 5) {
    skipw_gate one;
    one.state = matrix(c, arrays, i, window, n, &failed);
    one.bias = take(c, arrays, i + 1, window, sizeof(float), &failed);
    one.time = take(c, arrays, i + 2, window, sizeof(float), &failed);
    one.seen = matrix(c, arrays, i + 3, window, skipw_seen(m), &failed);
    one.own = take(c, arrays, i + 4, (size_t)m->gate_windows * window, sizeof(float), &failed);
    if (gate) gate[g] = one;
  }
  if (failed) return 0;
  m->hidden = matrix(c, arrays, i, head_hidden, n, &failed);
  m->hidden_bias = take(c, arrays, i + 1, head_hidden, sizeof(float), &failed);
  m->output = matrix(c, arrays, i + 2, outputs, head_hidden ? head_hidden : n, &failed);
  m->output_bias = take(c, arrays, i + 3, outputs, sizeof(float), &failed);
  m->normaliser.mean = take(c, arrays, i + 4, d, sizeof(double), &failed);
  m->normaliser.scale = take(c, arrays, i + 5, d, sizeof(double), &failed);
  m->layer = self->layers;
  return !failed;
}

static PyObject *model_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
  static char *names[] = {"sizes", "time_scale", "normaliser", "arrays", "reads_numbers", NULL};
  uint32_t kind, cell, select, time, gate_inputs, bound, input_size, hidden_size, layers, window, largest_budget, gates, gate_windows, head_hidden, outputs;
  uint32_t normaliser, has_missing, has_clip;
  double time_scale, missing, clip;
  PyObject *arrays;
  int reads_numbers;
  if (!PyArg_ParseTupleAndKeywords(
          args, keywords, "(IIIIIIIIIIIIIII)d(IIIdd)Op", names, &kind, &cell, &select, &time, &gate_inputs, &bound, &input_size, &hidden_size,
          &layers, &window, &largest_budget, &gates, &gate_windows, &head_hidden, &outputs, &time_scale, &normaliser, &has_missing, &has_clip, &missing,
          &clip, &arrays, &reads_numbers))
    return NULL;
  const uint32_t largest = 1u << 20;
  if (layers > MAX_LAYERS || input_size > largest || hidden_size > largest || window > largest || gates > largest || gate_windows > largest
      || head_hidden > largest || outputs > largest) {
    PyErr_Format(PyExc_ValueError, "at most %d layers and sizes of %u.", MAX_LAYERS, largest);
    return NULL;
  }
  const allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
  Model *self = (Model *)allocate(type, 0);
  if (!self) return NULL;
  self->reads_numbers = reads_numbers;
  self->model = (skipw_model){
      .format = SKIPW_FORMAT, .kind = kind, .cell = cell, .select = select, .time_feature = time, .gate_inputs = gate_inputs, .bound = bound,
      .input_size = input_size, .hidden_size = hidden_size, .layers = layers, .window = window,
      .largest_budget = largest_budget, .gates = gates, .gate_windows = gate_windows,
      .time_scale = (float)time_scale,
      .normaliser = {normaliser, has_missing, has_clip, missing, clip, NULL, NULL}};
  Carver carver = {NULL, 0};
  if (carve(self, &carver, arrays, head_hidden, outputs)) {
    self->block = PyMem_Malloc(carver.used + ALIGNMENT);
    if (self->block) {
      carver.at = (char *)self->block + (ALIGNMENT - (uintptr_t)self->block % ALIGNMENT) % ALIGNMENT;
      carver.used = 0;
      carve(self, &carver, arrays, head_hidden, outputs);
    } else {
      PyErr_NoMemory();
    }
  }
  if (!PyErr_Occurred() && !skipw_memory(&self->model))
    PyErr_SetString(PyExc_ValueError, "the sizes and arrays of this model contradict one another.");
  if (!PyErr_Occurred()) return (PyObject *)self;
  Py_DECREF(self);
  return NULL;
}

static void destroy(PyObject *self, void *memory)
{
  PyTypeObject *type = Py_TYPE(self);
  PyMem_Free(memory);
  ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
  Py_DECREF(type);
}

static void model_dealloc(PyObject *self) { destroy(self, ((Model *)self)->block); }

static PyType_Slot model_slots[] = {
    {Py_tp_new, model_new},
    {Py_tp_dealloc, model_dealloc},
    {Py_tp_doc, "Model(sizes, time_scale, normaliser, arrays, reads_numbers): constants, copied; see skipw.runtime.c.packing."},
    {0, NULL}};
static PyType_Spec model_spec = {
    "skipw.runtime.c._stream.Model", sizeof(Model), 0, Py_TPFLAGS_DEFAULT, model_slots};
static PyTypeObject *model_type;

/* ---- Stream */

typedef struct {
  PyObject_HEAD
  Model *model;
  void *memory;
  skipw_stream stream;
} Stream;

static PyObject *stream_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
  PyObject *model = NULL;
  (void)keywords;
  if (PyTuple_Size(args) > 0) model = PyTuple_GetItem(args, 0);
  if (!model || !PyObject_TypeCheck(model, model_type)) {
    PyErr_SetString(PyExc_TypeError, "a Stream is made of a Model.");
    return NULL;
  }
  const allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
  Stream *self = (Stream *)allocate(type, 0);
  if (!self) return NULL;
  Py_INCREF(model);
  self->model = (Model *)model;
  const size_t size = skipw_memory(&self->model->model);
  self->memory = PyMem_Malloc(size);
  if (!self->memory) {
    Py_DECREF(self);
    return PyErr_NoMemory();
  }
  skipw_init(&self->stream, &self->model->model, self->memory, size);
  return (PyObject *)self;
}

static void stream_dealloc(PyObject *self)
{
  Py_XDECREF((PyObject *)((Stream *)self)->model);
  destroy(self, ((Stream *)self)->memory);
}

static PyObject *refuse(PyObject *self, const char *verb) { return PyObject_CallMethod(self, "_refuse", "s", verb); }

static PyObject *stream_skip(PyObject *object, PyObject *nothing)
{
  (void)nothing;
  if (skipw_skip(&((Stream *)object)->stream)) return refuse(object, "skip");
  Py_RETURN_NONE;
}

/* One input from a buffer of Float[D] (wide: Float64): 1 done, 0 not such a buffer or not finite, -1 an error. */
static int process_buffer(Stream *self, PyObject *x)
{
  Py_buffer view;
  int error = 1;
  if (!PyObject_CheckBuffer(x)) return 0;
  if (PyObject_GetBuffer(x, &view, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS) < 0) {
    PyErr_Clear();
    return 0;
  }
  const char format = view.format && !view.format[1] ? view.format[0] : '\0';
  if (view.ndim == 1 && view.len == (Py_ssize_t)self->model->model.input_size * view.itemsize) {
    if (format == 'f' && (uintptr_t)view.buf % sizeof(float) == 0) error = skipw_process(&self->stream, view.buf);
    else if (format == 'd') error = skipw_process_double(&self->stream, view.buf);
  }
  PyBuffer_Release(&view);
  return error == SKIPW_OK;
}

static PyObject *stream_process(PyObject *object, PyObject *x)
{
  Stream *self = (Stream *)object;
  if (!skipw_needs_input(&self->stream)) return refuse(object, "process");
  if (self->model->reads_numbers && process_buffer(self, x)) Py_RETURN_NONE;
  return PyObject_CallMethod(object, "_process_any", "(O)", x);
}

static PyObject *stream_process_features(PyObject *object, PyObject *x)
{
  Stream *self = (Stream *)object;
  Py_buffer view;
  if (PyObject_GetBuffer(x, &view, PyBUF_SIMPLE) < 0) return NULL;
  const int fits = view.len == (Py_ssize_t)(self->model->model.input_size * sizeof(float))
                   && (uintptr_t)view.buf % sizeof(float) == 0;
  const int error = fits ? skipw_process_normalised(&self->stream, view.buf) : SKIPW_ERROR_INPUT;
  PyBuffer_Release(&view);
  if (error) return PyErr_Format(PyExc_ValueError, "expected Float32[D], finite, in turn (error %d).", error);
  Py_RETURN_NONE;
}

static PyObject *stream_set_point(PyObject *object, PyObject *args)
{
  uint32_t budget;
  float threshold;
  if (!PyArg_ParseTuple(args, "If", &budget, &threshold)) return NULL;
  return PyBool_FromLong(skipw_set_point(&((Stream *)object)->stream, budget, threshold) == SKIPW_OK);
}

static PyObject *stream_plan(PyObject *object, PyObject *nothing)
{
  Stream *self = (Stream *)object;
  const uint32_t window = self->model->model.window;
  uint32_t *offsets = PyMem_Malloc(window * sizeof *offsets);
  (void)nothing;
  if (!offsets) return PyErr_NoMemory();
  const uint32_t count = skipw_plan(&self->stream, offsets);
  PyObject *plan = PyTuple_New((Py_ssize_t)count);
  for (uint32_t i = 0; plan && i < count; ++i) {
    PyObject *offset = PyLong_FromUnsignedLong(offsets[i]);
    if (!offset || PyTuple_SetItem(plan, (Py_ssize_t)i, offset) < 0) {
      Py_CLEAR(plan);
    }
  }
  PyMem_Free(offsets);
  return plan;
}

static PyObject *stream_write_output(PyObject *object, PyObject *array)
{
  Stream *self = (Stream *)object;
  Py_buffer view;
  if (PyObject_GetBuffer(array, &view, PyBUF_WRITABLE) < 0) return NULL;
  const int fits = view.len == (Py_ssize_t)(skipw_output_size(&self->model->model) * sizeof(float));
  if (fits) skipw_output(&self->stream, view.buf);
  PyBuffer_Release(&view);
  if (!fits) return PyErr_Format(PyExc_ValueError, "the array does not fit the output.");
  return Py_NewRef(array);
}

static PyObject *stream_reset(PyObject *object, PyObject *nothing)
{
  (void)nothing;
  skipw_reset(&((Stream *)object)->stream);
  Py_RETURN_NONE;
}

/* Everything but the pointers, then the memory. */
static PyObject *stream_copy_from(PyObject *object, PyObject *other)
{
  Stream *self = (Stream *)object, *from = (Stream *)other;
  if (!PyObject_TypeCheck(other, Py_TYPE(object)) || from->model != self->model)
    return PyErr_Format(PyExc_TypeError, "only a stream of the same model can be copied.");
  skipw_stream copied = self->stream; /* keeps this stream's pointers */
  const skipw_stream *s = &from->stream;
  copied.inputs = s->inputs, copied.processed = s->processed, copied.max_in_window = s->max_in_window;
  copied.offset = s->offset, copied.budget = s->budget, copied.threshold = s->threshold;
  copied.last_update = s->last_update, copied.switched_at = s->switched_at, copied.used = s->used;
  copied.budget_before = s->budget_before, copied.threshold_before = s->threshold_before;
  copied.accumulated = s->accumulated, copied.increment = s->increment;
  copied.due = s->due, copied.switched = s->switched, copied.updated = s->updated;
  self->stream = copied;
  memcpy(self->memory, from->memory, skipw_memory(&self->model->model));
  Py_RETURN_NONE;
}

static PyMemberDef stream_members[] = {
    {"needs_input", T_BOOL, offsetof(Stream, stream) + offsetof(skipw_stream, due), READONLY,
     "Whether the next input is to be processed; if not, it need not even be recorded."},
    {"_inputs", T_ULONGLONG, offsetof(Stream, stream) + offsetof(skipw_stream, inputs), READONLY, NULL},
    {"_processed", T_ULONGLONG, offsetof(Stream, stream) + offsetof(skipw_stream, processed), READONLY, NULL},
    {"_max_in_window", T_UINT, offsetof(Stream, stream) + offsetof(skipw_stream, max_in_window), READONLY, NULL},
    {NULL, 0, 0, 0, NULL}};
static PyMethodDef stream_methods[] = {
    {"skip", stream_skip, METH_NOARGS, "The next input, not read."},
    {"process", stream_process, METH_O, "The next input, read."},
    {"_process_features", stream_process_features, METH_O, "Float32[D], normalised already."},
    {"_set_point", stream_set_point, METH_VARARGS, "(budget, threshold): whether the model can run there."},
    {"_plan", stream_plan, METH_NOARGS, "Offsets still to be processed in this window."},
    {"_write_output", stream_write_output, METH_O, "Fill Float32[output size]; returns it."},
    {"_reset", stream_reset, METH_NOARGS, "A new sequence at the same point."},
    {"_copy_from", stream_copy_from, METH_O, "Go on where another stream of the same model stands."},
    {NULL, NULL, 0, NULL}};
static PyType_Slot stream_slots[] = {
    {Py_tp_new, stream_new},
    {Py_tp_dealloc, stream_dealloc},
    {Py_tp_members, stream_members},
    {Py_tp_methods, stream_methods},
    {Py_tp_doc, "Stream(model): one sequence; skipw.runtime.c.stream makes the public class of it."},
    {0, NULL}};
static PyType_Spec stream_spec = {
    "skipw.runtime.c._stream.Stream", sizeof(Stream), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, stream_slots};

/* ---- the module */

static PyObject *choose(PyObject *module, PyObject *wish)
{
  (void)module;
  const char *name = NULL;
  if (wish != Py_None && !(name = PyUnicode_AsUTF8AndSize(wish, NULL))) return NULL;
  return PyUnicode_FromString(skipw_choose(name));
}

static PyMethodDef functions[] = {
    {"choose", choose, METH_O, "Serve by this variant, or by the best for None; returns the one that serves now."},
    {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_stream", "skipw.h for Python.", -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__stream(void)
{
  PyObject *module = PyModule_Create(&definition);
  PyObject *stream_type = NULL;
  if (!module) return NULL;
  skipw_choose(NULL);
  model_type = (PyTypeObject *)PyType_FromSpec(&model_spec);
  if (model_type) stream_type = PyType_FromSpec(&stream_spec);
  if (!stream_type || PyModule_AddObjectRef(module, "Model", (PyObject *)model_type) < 0
      || PyModule_AddObjectRef(module, "Stream", stream_type) < 0
      || PyModule_AddStringConstant(module, "SOURCE_HASH", SKIPW_SOURCE_HASH) < 0)
    Py_CLEAR(module);
  Py_XDECREF(stream_type);
  return module;
}
