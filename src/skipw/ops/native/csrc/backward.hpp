// Backward: the rounds in reverse. Products and the cells' derivatives run on processed inputs alone.
//
// A skipped input asks for one number only, <ds_t, c - s>, the straight-through gradient of its gate: elementwise work on
// the recurrent product that the record holds. `Skipped` does that; here the processed inputs are done.
#pragma once

#include <memory>

#include "skipped.hpp"

namespace skipw {

// One thread's share: sums of the weights' gradients over all shards that it works on.
template <class Real>
class Backward {
 public:
  Backward(const skipw_call& call, const skipw_gradients& gradients, const Shape<Real>& shape,
           const Weights<Real>& weights, const BackWeights<Real>& back, const Table<Real>& table,
           const GateMemory<Real>& memory, bool scatter)
      : call_(call),
        gradients_(gradients),
        shape_(shape),
        weights_(weights),
        back_(back),
        table_(table),
        memory_(memory),
        gates_(call, gradients, shape, weights, memory),
        skipped_(call, gradients, shape, weights, table, gates_) {
    layers_.reserve(static_cast<size_t>(shape.layers));
    for (int64_t l = 0; l < shape.layers; ++l) layers_.emplace_back(shape, table, l, scatter && l == 0);
    recurrent_flow_.resize(kRoundRows * shape.hp);
    if (shape.layers > 1) below_.resize(kRoundRows * shape.hp);
    if (gradients.x != nullptr) input_flow_.resize(kRoundRows * shape.dp);
  }

  void run(const Shard<Real>& shard) {
    begin(shard);
    for (size_t round = shard.rounds.size() - 1; round-- > 0;)
      for (int64_t from = shard.rounds[round]; from < shard.rounds[round + 1]; from += kRoundRows)
        events(shard, from, std::min(from + kRoundRows, shard.rounds[round + 1]));
    stretches_.clear();
    for (int64_t row = shard.first; row < shard.end; ++row) {
      const Real increment = shape_.accumulating ? memory_.increment[static_cast<size_t>(row)] : Real(0);
      const int64_t last = shape_.gated() ? memory_.last_update[static_cast<size_t>(row)] : -1;
      stretches_.push_back({row, cursor(row), 0, shard.start + (row - shard.first) * shard.start_stride, flow(row),
                            increment, last});
    }
    skipped_.walk(stretches_);
    end(shard);
  }

  // What was collected so far becomes sums.
  void flush() {
    for (LayerGradients<Real>& layer : layers_) layer.flush();
    gates_.flush();
  }

  // Share `share` of `shares` of the tokens, after all threads have flushed.
  static void multiply_tokens(const std::vector<std::unique_ptr<Backward>>& all, size_t share, int64_t distinct) {
    std::vector<LayerGradients<Real>*> first;
    for (const auto& one : all) first.push_back(&one->layers_[0]);
    const int64_t shares = static_cast<int64_t>(all.size()), at = static_cast<int64_t>(share);
    first[share]->multiply_tokens(first, distinct * at / shares, distinct * (at + 1) / shares);
  }

  void add_to(const skipw_gradients& gradients) {
    for (int64_t l = 0; l < shape_.layers; ++l)
      layers_[static_cast<size_t>(l)].add_to(gradients.weights + shape_.cell->tensors * l, weights_.own(l));
    gates_.add_to(static_cast<Real*>(gradients.gate_weight), static_cast<Real*>(gradients.gate_bias));
  }

 private:
  Real* flow(int64_t row) { return flows_.data() + (row - first_) * shape_.flow; }
  int64_t& cursor(int64_t row) { return cursors_[static_cast<size_t>(row - first_)]; }

  // The gradients of the final state.
  void begin(const Shard<Real>& shard) {
    first_ = shard.first;
    const int64_t rows = shard.end - shard.first;
    clear(flows_, rows * shape_.flow);
    cursors_.assign(static_cast<size_t>(rows), shape_.steps);
    for (int64_t part = 0; part < shape_.layers * shape_.parts; ++part) {
      const Real* last = static_cast<const Real*>(gradients_.last[part]);
      for (int64_t i = 0; last != nullptr && i < rows; ++i)
        std::memcpy(flows_.data() + i * shape_.flow + part * shape_.hp, last + (shard.first + i) * shape_.hidden,
                    static_cast<size_t>(shape_.hidden) * sizeof(Real));
    }
    gates_.begin(shard.first, shard.end);
  }

  void end(const Shard<Real>& shard) {
    for (int64_t part = 0; part < shape_.layers * shape_.parts; ++part)
      for (int64_t row = shard.first; row < shard.end; ++row)
        std::memcpy(static_cast<Real*>(gradients_.first[part]) + row * shape_.hidden, flow(row) + part * shape_.hp,
                    static_cast<size_t>(shape_.hidden) * sizeof(Real));
    gates_.end(shard.end);
  }

  // The processed inputs [from, to) of one round, at most kRoundRows, and what was skipped after them.
  void events(const Shard<Real>& shard, int64_t from, int64_t to) {
    stretches_.clear();
    for (int64_t e = from; e < to; ++e) {
      const Event<Real>& event = shard.events[static_cast<size_t>(e)];
      const int64_t last = shape_.gated() ? memory_.step[static_cast<size_t>(event.row)] + event.step : -1;
      stretches_.push_back({event.row, cursor(event.row), event.step + 1, event.after, flow(event.row),
                            event.probability, last});
    }
    skipped_.walk(stretches_);
    const Event<Real>* round = shard.events.data() + from;
    inner_.assign(static_cast<size_t>(to - from), Real(0));
    for (int64_t m = 0; m < to - from; ++m) decide(round[m]);
    for (int64_t l = shape_.layers - 1; l >= 0; --l) layer(l, round, to - from);
    for (int64_t m = 0; m < to - from; ++m) {
      if (shape_.windowed) gates_.add_slot(round[m].row, round[m].step, inner_[static_cast<size_t>(m)]);
      cursor(round[m].row) = round[m].step;
    }
  }

  // What a processed input gets besides the flow of its state: its output's gradient, and that of the logit which an
  // accumulating gate has of its candidate.
  void decide(const Event<Real>& event) {
    Real* running = flow(event.row);
    skipped_.add_output_gradient(event.row, event.step, running);
    if (!shape_.accumulating) return;
    Real inner = 0;
    for (int64_t l = 0; l < shape_.layers; ++l)
      inner += kernels<Real>().weighted_difference(running + shape_.flow_at(l), event.after + shape_.at(l),
                                   event.before + shape_.at(l), shape_.parts * shape_.hp);
    const Real d_logit =
        gates_.accumulate(event.row, event.step, inner, event.probability, event.increment, true);
    gates_.add_logit(d_logit, event.after + shape_.view_at(),
                     running + shape_.flow_at(shape_.layers - 1) + (shape_.parts - 1) * shape_.hp);
  }

  void layer(int64_t l, const Event<Real>* round, int64_t count) {
    LayerGradients<Real>& sums = layers_[static_cast<size_t>(l)];
    const int64_t first = sums.room(count);
    for (int64_t m = 0; m < count; ++m) {
      const Event<Real>& event = round[m];
      const Real* below = l + 1 < shape_.layers ? below_.data() + m * shape_.hp : nullptr;
      inner_[static_cast<size_t>(m)] += derive(l, event, below, sums.row(first + m));
      const int64_t place = event.row * shape_.steps + event.step;
      const int32_t token = l == 0 && shape_.inputs == InputMode::kTable ? table_.index(place) : -1;
      const Real* input = l > 0 ? event.after + shape_.at(l - 1)
                                : static_cast<const Real*>(call_.x) + place * shape_.input_size;
      sums.met(first + m, event.before + shape_.at(l), input, token);
    }
    const Real* rows = sums.row(first);
    back_.recurrent[static_cast<size_t>(l)].product(count, rows + shape_.cell->recurrent_at * shape_.hp, sums.stride(), recurrent_flow_.data(),
                             shape_.hp, Start::kZero);
    for (int64_t m = 0; m < count; ++m)
      kernels<Real>().add(flow(round[m].row) + shape_.flow_at(l), recurrent_flow_.data() + m * shape_.hp, shape_.hp);
    const Real* projected = rows + shape_.cell->projected_at * shape_.hp;
    if (l > 0)
      back_.projection[static_cast<size_t>(l)].product(count, projected, sums.stride(), below_.data(), shape_.hp, Start::kZero);
    else if (gradients_.x != nullptr)
      input_gradients(round, count, projected, sums.stride());
  }

  // Through one cell: the flow becomes what goes straight to the state before, `row` the gates' gradients. Returns the
  // layer's part of du_t.
  Real derive(int64_t l, const Event<Real>& event, const Real* below, Real* row) {
    const int64_t place = event.row * shape_.steps + event.step;
    const Real* gx = nullptr;
    if (l > 0 || shape_.inputs == InputMode::kRows)
      gx = event.after + shape_.gx_at(l);
    else if (shape_.inputs == InputMode::kTable)
      gx = table_.projected(table_.index(place));
    const Real* x = static_cast<const Real*>(call_.x) + place * shape_.input_size;
    return shape_.cell->backward(event.before + shape_.at(l), event.after + shape_.at(l),
                                 weights_.inputs(shape_, gx, x), weights_.own(l), shape_.hidden, below,
                                 flow(event.row) + shape_.flow_at(l), row,
                                 layers_[static_cast<size_t>(l)].own());
  }

  void input_gradients(const Event<Real>* round, int64_t count, const Real* projected, int64_t stride) {
    back_.projection[0].product(count, projected, stride, input_flow_.data(), shape_.dp, Start::kZero);
    for (int64_t m = 0; m < count; ++m) {
      Real* to = static_cast<Real*>(gradients_.x) +
                 (round[m].row * shape_.steps + round[m].step) * shape_.input_size;
      const Real* from = input_flow_.data() + m * shape_.dp;
      if (shape_.sees_input())  // the gates that saw this input have been there
        kernels<Real>().add_loose(to, from, shape_.input_size);
      else
        std::memcpy(to, from, static_cast<size_t>(shape_.input_size) * sizeof(Real));
    }
  }

  const skipw_call& call_;
  const skipw_gradients& gradients_;
  const Shape<Real>& shape_;
  const Weights<Real>& weights_;
  const BackWeights<Real>& back_;
  const Table<Real>& table_;
  const GateMemory<Real>& memory_;
  GateGradients<Real> gates_;
  Skipped<Real> skipped_;
  std::vector<LayerGradients<Real>> layers_;
  int64_t first_ = 0;
  Buffer<Real> flows_, recurrent_flow_, below_, input_flow_;
  std::vector<int64_t> cursors_;
  std::vector<Real> inner_;  // <ds_t, c - s> of the processed inputs at hand
  std::vector<Stretch<Real>> stretches_;
};

}  // namespace skipw
