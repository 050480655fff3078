// The sizes of a call, its weights in the form that the loops read, and how its rows are shared out.
#pragma once

#include <cmath>
#include <cstring>

#include "packed.hpp"
#include "skipw_engine.h"

namespace skipw {

// Rows that walk together: their records fit into a core's cache. Inference keeps a row's state alone.
constexpr int64_t kShardRows = 128, kInferenceRows = 512;
// Rows whose products and cells are done together.
constexpr int64_t kRoundRows = 48;

enum class InputMode {
  kNarrow,  // multiplied where it is needed (D <= kInlineInputs)
  kRows,    // one product for the rows at hand; kept with a processed input
  kTable    // repeated input rows, each projected once before the loop
};

template <class Real>
inline Real logistic(Real v) {
  return Real(1) / (Real(1) + std::exp(-v));
}

template <class Real>
struct Shape {
  const CellKernels<Real>* cell;
  int64_t batch, steps, input_size, hidden, layers, window;
  int64_t parts;   // of a layer's state
  int64_t hp;      // hidden, padded to whole vectors
  int64_t gates;   // values of all gates of a layer
  int64_t dp, lp;  // input_size and window, padded
  int64_t record;  // values that one processed input leaves behind
  int64_t flow;    // values of one row's running gradient
  InputMode inputs;
  bool windowed, accumulating, training;
  // Columns of what a gate sees beside state and time, and their count.
  int64_t seen_importance_at, seen_input_at, seen_budget_at, seen_windows_at, seen;

  Shape(const skipw_call& call, InputMode mode)
      : cell(&kernels<Real>().cells[call.cell]),
        batch(call.batch),
        steps(call.steps),
        input_size(call.input_size),
        hidden(call.hidden),
        layers(call.layers),
        window(call.window),
        parts(cell->parts),
        hp(padded<Real>(call.hidden)),
        gates(cell->gates * hp),
        dp(padded<Real>(call.input_size)),
        lp(padded<Real>(std::max<int64_t>(call.window, 1))),
        inputs(mode),
        windowed(call.gate == SKIPW_WINDOW),
        accumulating(call.gate == SKIPW_ACCUMULATE),
        training(call.training != 0) {
    record = at(layers);
    flow = layers * parts * hp;
    seen_importance_at = (call.seen & SKIPW_SEES_SINCE_UPDATE) != 0 ? 1 : 0;
    seen_input_at = seen_importance_at + ((call.seen & SKIPW_SEES_IMPORTANCE) != 0 ? window : 0);
    seen_budget_at = seen_input_at + ((call.seen & SKIPW_SEES_INPUT) != 0 ? input_size : 0);
    seen_windows_at = seen_budget_at + ((call.seen & SKIPW_SEES_BUDGET) != 0 ? halvings(window) : 0);
    seen = seen_windows_at + call.gate_windows;
  }

  // How often L can be halved, at least once.
  static int64_t halvings(int64_t window) {
    int64_t count = 1;
    while ((int64_t(1) << count) < window) ++count;
    return count;
  }

  bool sees_importance() const { return seen_input_at > seen_importance_at; }
  bool sees_input() const { return seen_budget_at > seen_input_at; }
  bool sees_budget() const { return seen_windows_at > seen_budget_at; }
  bool sees_windows() const { return seen > seen_windows_at; }

  // Where a layer's [state | gh | gx] starts in a record; gx is there where `keeps_gx`.
  int64_t at(int64_t layer) const {
    const int64_t first = parts * hp + gates + (inputs == InputMode::kRows ? gates : 0);
    return layer == 0 ? 0 : first + (layer - 1) * (parts * hp + 2 * gates);
  }
  int64_t gh_at(int64_t layer) const { return at(layer) + parts * hp; }
  int64_t gx_at(int64_t layer) const { return gh_at(layer) + gates; }
  // What drives the gate: the last part of the top layer.
  int64_t view_at() const { return at(layers - 1) + (parts - 1) * hp; }
  int64_t top_at() const { return at(layers - 1); }
  int64_t flow_at(int64_t layer) const { return layer * parts * hp; }
  bool gated() const { return windowed || accumulating; }
};

template <class Real>
struct Weights {
  struct Layer {
    const Real *weight_ih, *weight_hh;
    Packed<Real> recurrent, projection;
    Buffer<Real> recurrent_bias, projection_bias, narrow, own;
  };

  std::vector<Layer> layers;
  Packed<Real> gate;       // window: N x L
  Buffer<Real> gate_bias;  // padded
  Buffer<Real> gate_rows;  // [L][hp] (window), [1][hp] (accumulate)
  Buffer<Real> gate_time;  // [L], the column after the state's
  Buffer<Real> gate_seen;  // [seen][L], the columns after that

  void fill(const skipw_call& call, const Shape<Real>& shape) {
    layers.resize(static_cast<size_t>(shape.layers));
    for (int64_t l = 0; l < shape.layers; ++l) fill_layer(call, shape, l);
    if (shape.gated()) fill_gate(call, shape);
  }

  // The input product of a row that was made before, or that is made on the fly of `x`.
  InputProduct<Real> inputs(const Shape<Real>& shape, const Real* row, const Real* x) const {
    return {row, layers[0].narrow.data(), x, shape.input_size, shape.gates};
  }

  const Real* own(int64_t layer) const { return layers[static_cast<size_t>(layer)].own.data(); }

  // 0, step, 2 step, ...
  static std::vector<int64_t> places(int64_t count, int64_t step) {
    std::vector<int64_t> all(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) all[static_cast<size_t>(i)] = i * step;
    return all;
  }

  // Where the weight's row of each padded gate unit starts, `width` values a row; in the order of the gradients' recurrent
  // piece if `rolled`. Negative for the units that pad.
  static std::vector<int64_t> gate_places(const Shape<Real>& shape, int64_t width, bool rolled) {
    std::vector<int64_t> all(static_cast<size_t>(shape.gates), -1);
    for (int g = 0; g < shape.cell->gates; ++g) {
      const int gate = rolled ? shape.cell->recurrent_gate[g] : g;
      for (int64_t i = 0; i < shape.hidden; ++i)
        all[static_cast<size_t>(g * shape.hp + i)] = (gate * shape.hidden + i) * width;
    }
    return all;
  }

 private:
  void fill_layer(const skipw_call& call, const Shape<Real>& shape, int64_t l) {
    Layer& layer = layers[static_cast<size_t>(l)];
    const void* const* tensors = call.weights + shape.cell->tensors * l;
    layer.weight_ih = static_cast<const Real*>(tensors[0]);
    layer.weight_hh = static_cast<const Real*>(tensors[1]);
    const int64_t n = shape.hidden, width = l == 0 ? shape.input_size : n;
    layer.recurrent.fill(layer.weight_hh, places(n, 1), gate_places(shape, n, false));
    fill_biases(layer, shape, tensors);
    if (l > 0 || shape.inputs != InputMode::kNarrow) {
      layer.projection.fill(layer.weight_ih, places(width, 1), gate_places(shape, width, false));
      return;
    }
    const std::vector<int64_t> from = gate_places(shape, width, false);
    layer.narrow.resize((width + 1) * shape.gates);
    for (int64_t j = 0; j < shape.gates; ++j) {
      const int64_t place = from[static_cast<size_t>(j)];
      layer.narrow.data()[j] = layer.projection_bias.data()[j];
      for (int64_t d = 0; d < width; ++d)
        layer.narrow.data()[(d + 1) * shape.gates + j] = place < 0 ? Real(0) : layer.weight_ih[place + d];
    }
  }

  // Both biases stand with the recurrent product, but for the gate where they must stay apart, and for a cell that reads
  // them among values of its own.
  static void fill_biases(Layer& layer, const Shape<Real>& shape, const void* const* tensors) {
    layer.recurrent_bias.resize(shape.gates);
    layer.recurrent_bias.clear();
    layer.projection_bias.resize(shape.gates);
    layer.projection_bias.clear();
    layer.own.resize(shape.cell->own * shape.hp);
    layer.own.clear();
    if (shape.cell->own > 0) return fill_own(layer, shape, tensors);
    const Real* bias_ih = static_cast<const Real*>(tensors[2]);
    const Real* bias_hh = static_cast<const Real*>(tensors[3]);
    for (int g = 0; g < shape.cell->gates; ++g)
      for (int64_t i = 0; i < shape.hidden; ++i) {
        const Real input = bias_ih[g * shape.hidden + i], recurrent = bias_hh[g * shape.hidden + i];
        const bool apart = g == shape.cell->separate;
        layer.recurrent_bias.data()[g * shape.hp + i] = apart ? recurrent : recurrent + input;
        layer.projection_bias.data()[g * shape.hp + i] = apart ? input : Real(0);
      }
  }

  // b_z | b_h | zeta | nu
  static void fill_own(Layer& layer, const Shape<Real>& shape, const void* const* tensors) {
    for (int k = 0; k < 2; ++k) {
      std::memcpy(layer.own.data() + k * shape.hp, tensors[2 + k], static_cast<size_t>(shape.hidden) * sizeof(Real));
      std::fill_n(layer.own.data() + (2 + k) * shape.hp, shape.hp, logistic(static_cast<const Real*>(tensors[4 + k])[0]));
    }
  }

  void fill_gate(const skipw_call& call, const Shape<Real>& shape) {
    const Real* w = static_cast<const Real*>(call.gate_weight);
    const Real* b = static_cast<const Real*>(call.gate_bias);
    const int64_t n = shape.hidden, slots = shape.windowed ? shape.window : 1;
    const bool timed = shape.windowed && call.time_feature != SKIPW_TIME_NONE;
    const int64_t width = n + (timed ? 1 : 0) + shape.seen;
    gate_rows.resize(slots * shape.hp);
    gate_rows.clear();
    gate_time.resize(slots);
    gate_bias.resize(shape.lp);
    gate_bias.clear();
    for (int64_t i = 0; i < slots; ++i) {
      std::memcpy(gate_rows.data() + i * shape.hp, w + i * width, static_cast<size_t>(n) * sizeof(Real));
      gate_time.data()[i] = timed ? w[i * width + n] : Real(0);
      gate_bias.data()[i] = b[i];
    }
    gate_seen.resize(std::max<int64_t>(shape.seen * slots, 1));
    for (int64_t e = 0; e < shape.seen; ++e)
      for (int64_t i = 0; i < slots; ++i) gate_seen.data()[e * slots + i] = w[i * width + width - shape.seen + e];
    if (shape.windowed) gate.fill(w, places(n, 1), places(slots, width));
  }
};

// What the backward pass multiplies by; x's gradient asks for layer 0's projection.
template <class Real>
struct BackWeights {
  std::vector<Packed<Real>> recurrent, projection;

  BackWeights(const Shape<Real>& shape, const Weights<Real>& weights, bool with_input_gradient)
      : recurrent(static_cast<size_t>(shape.layers)), projection(static_cast<size_t>(shape.layers)) {
    const int64_t n = shape.hidden;
    for (size_t l = 0; l < recurrent.size(); ++l) {
      const auto& layer = weights.layers[l];
      recurrent[l].fill(layer.weight_hh, weights.gate_places(shape, n, true), weights.places(n, 1));
      if (l == 0 && !with_input_gradient) continue;
      const int64_t width = l == 0 ? shape.input_size : n;
      projection[l].fill(layer.weight_ih, weights.gate_places(shape, width, false), weights.places(width, 1));
    }
  }
};

}  // namespace skipw
