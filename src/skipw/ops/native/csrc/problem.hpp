// The sizes of a call, its weights in the form that the loops read, and how its rows are shared out.
#pragma once

#include <cmath>
#include <cstring>

#include "product.hpp"
#include "sinks.hpp"
#include "skipw_engine.h"

namespace skipw {

constexpr int64_t kShardRows = 128;  // rows that walk together: their states fit into a core's cache

enum class InputMode {
  kNarrow,  // multiplied where it is needed (D <= kInlineInputs)
  kRows,    // one product for the rows at hand; kept with a processed input
  kTable    // repeated input rows, each projected once before the loop
};

template <class Cell>
struct Shape {
  using Real = typename Cell::Real;
  int64_t batch, steps, input_size, hidden, layers, window;
  int64_t hp;      // hidden, padded to whole vectors
  int64_t gates;   // all gates of a layer: kGates * hp
  int64_t dp, lp;  // input_size and window, padded
  int64_t record;  // values that one processed input leaves behind
  int64_t flow;    // values of one row's running gradient
  InputMode inputs;
  bool windowed, accumulating, training;

  Shape(const skipw_call& call, InputMode mode)
      : batch(call.batch),
        steps(call.steps),
        input_size(call.input_size),
        hidden(call.hidden),
        layers(call.layers),
        window(call.window),
        hp(padded<Real>(call.hidden)),
        gates(Cell::kGates * padded<Real>(call.hidden)),
        dp(padded<Real>(call.input_size)),
        lp(padded<Real>(std::max<int64_t>(call.window, 1))),
        inputs(mode),
        windowed(call.gate == SKIPW_WINDOW),
        accumulating(call.gate == SKIPW_ACCUMULATE),
        training(call.training != 0) {
    record = at(layers);
    flow = layers * Cell::kParts * hp;
  }

  // Where a layer's [state | gh | gx] starts in a record; gx is there where `keeps_gx`.
  int64_t at(int64_t layer) const {
    const int64_t first = Cell::kParts * hp + gates + (inputs == InputMode::kRows ? gates : 0);
    return layer == 0 ? 0 : first + (layer - 1) * (Cell::kParts * hp + 2 * gates);
  }
  int64_t gh_at(int64_t layer) const { return at(layer) + Cell::kParts * hp; }
  int64_t gx_at(int64_t layer) const { return gh_at(layer) + gates; }
  // What drives the gate: the last part of the top layer.
  int64_t view_at() const { return at(layers - 1) + (Cell::kParts - 1) * hp; }
  int64_t top_at() const { return at(layers - 1); }
  int64_t flow_at(int64_t layer) const { return layer * Cell::kParts * hp; }
  bool gated() const { return windowed || accumulating; }
};

template <class Cell>
struct Weights {
  using Real = typename Cell::Real;

  struct Layer {
    const Real *weight_ih, *weight_hh, *bias_ih, *bias_hh;
    Packed<Real> recurrent, projection;                  // forward
    Packed<Real> recurrent_back, projection_back;        // backward
    Buffer<Real> recurrent_bias, projection_bias, narrow;
  };

  std::vector<Layer> layers;
  Packed<Real> gate;       // window: N x L
  Buffer<Real> gate_bias;  // padded
  Buffer<Real> gate_rows;  // [L][hp] (window), [1][hp] (accumulate)
  Buffer<Real> gate_time;  // [L], the last column

  Weights(const skipw_call& call, const Shape<Cell>& shape) {
    layers.resize(static_cast<size_t>(shape.layers));
    for (int64_t l = 0; l < shape.layers; ++l) fill_layer(call, shape, l);
    if (shape.gated()) fill_gate(call, shape);
  }

  // What the backward pass multiplies by; x's gradient asks for layer 0's projection.
  void fill_backward(const Shape<Cell>& shape, bool with_input_gradient) {
    const int64_t n = shape.hidden, hp = shape.hp;
    for (int64_t l = 0; l < shape.layers; ++l) {
      Layer& layer = layers[static_cast<size_t>(l)];
      const Real* hh = layer.weight_hh;
      layer.recurrent_back.fill(shape.gates, n, [=](int64_t k, int64_t j) {
        return k % hp < n ? hh[(Cell::recurrent_gate(static_cast<int>(k / hp)) * n + k % hp) * n + j] : Real(0);
      });
      if (l == 0 && !with_input_gradient) continue;
      const int64_t width = l == 0 ? shape.input_size : n;
      const Real* ih = layer.weight_ih;
      layer.projection_back.fill(shape.gates, width, [=](int64_t k, int64_t j) {
        return k % hp < n ? ih[(k / hp * n + k % hp) * width + j] : Real(0);
      });
    }
  }

 private:
  void fill_layer(const skipw_call& call, const Shape<Cell>& shape, int64_t l) {
    Layer& layer = layers[static_cast<size_t>(l)];
    layer.weight_ih = static_cast<const Real*>(call.weights[4 * l]);
    layer.weight_hh = static_cast<const Real*>(call.weights[4 * l + 1]);
    layer.bias_ih = static_cast<const Real*>(call.weights[4 * l + 2]);
    layer.bias_hh = static_cast<const Real*>(call.weights[4 * l + 3]);
    const int64_t n = shape.hidden, hp = shape.hp, width = l == 0 ? shape.input_size : n;
    const Real *hh = layer.weight_hh, *ih = layer.weight_ih;
    const auto gate_by_gate = [=](const Real* w, int64_t columns) {
      return [=](int64_t k, int64_t j) { return j % hp < n ? w[(j / hp * n + j % hp) * columns + k] : Real(0); };
    };
    layer.recurrent.fill(n, shape.gates, gate_by_gate(hh, n));
    spread(layer.recurrent_bias, layer.bias_hh, shape);
    spread(layer.projection_bias, layer.bias_ih, shape);
    if (l == 0 && shape.inputs == InputMode::kNarrow) {
      layer.narrow.resize((width + 1) * shape.gates);
      for (int64_t d = 0; d <= width; ++d)
        for (int64_t j = 0; j < shape.gates; ++j)
          layer.narrow.data()[d * shape.gates + j] =
              d == 0 ? layer.projection_bias.data()[j] : gate_by_gate(ih, width)(d - 1, j);
    } else {
      layer.projection.fill(width, shape.gates, gate_by_gate(ih, width));
    }
  }

  static void spread(Buffer<Real>& to, const Real* bias, const Shape<Cell>& shape) {
    to.resize(shape.gates);
    for (int64_t j = 0; j < shape.gates; ++j)
      to.data()[j] = j % shape.hp < shape.hidden ? bias[j / shape.hp * shape.hidden + j % shape.hp] : Real(0);
  }

  void fill_gate(const skipw_call& call, const Shape<Cell>& shape) {
    const Real* w = static_cast<const Real*>(call.gate_weight);
    const Real* b = static_cast<const Real*>(call.gate_bias);
    const int64_t n = shape.hidden, slots = shape.windowed ? shape.window : 1;
    const bool timed = shape.windowed && call.time_feature != SKIPW_TIME_NONE;
    const int64_t width = n + (timed ? 1 : 0);
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
    if (shape.windowed) gate.fill(n, slots, [=](int64_t k, int64_t j) { return w[j * width + k]; });
  }
};

// Calls `body` with gx in the form that is read fastest: the row `gx`, or made of the narrow input `x` if `gx` is NULL.
template <class Cell, class Body>
SKIPW_INLINE void with_inputs(const Shape<Cell>& shape, const Weights<Cell>& weights,
                                                       const typename Cell::Real* gx, const typename Cell::Real* x,
                                                       Body body) {
  using Real = typename Cell::Real;
  const Real* narrow = weights.layers[0].narrow.data();
  if (gx != nullptr)
    body(RowInputs<Real>{gx, shape.hp});
  else if (shape.input_size == 1)
    body(NarrowInputs<Real, 1>(narrow, shape.hp, shape.gates, x));
  else
    body(NarrowInputs<Real, 2>(narrow, shape.hp, shape.gates, x));
}

}  // namespace skipw
