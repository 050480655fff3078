// Skipped inputs, backward: <ds_t, c - s> of each, from the state and the recurrent product that have not changed.
//
// A single layer with a narrow input or a table is done where it stands. Else candidates are made in blocks, because
// their input products want many rows at a time.
#pragma once

#include "gate_gradients.hpp"

namespace skipw {

// The inputs [low, high) of a row, all skipped, with the record in force and the running gradient of its states.
template <class Real>
struct Stretch {
  int64_t row, high, low;
  const Real* record;
  Real* flow;
  Real increment;       // of an accumulating gate
  int64_t last_update;  // index of the last processed input
};

template <class Real>
class Skipped {
 public:
  Skipped(const skipw_call& call, const skipw_gradients& gradients, const Shape<Real>& shape,
          const Weights<Real>& weights, const Table<Real>& table, GateGradients<Real>& gates)
      : call_(call), gradients_(gradients), shape_(shape), weights_(weights), table_(table), gates_(gates) {
    in_place_ = shape.layers == 1 && shape.inputs != InputMode::kRows;
    if (in_place_ || !shape.gated()) return;
    gx_.resize(kBlock * shape.gates);
    state_.resize(kBlock * shape_.parts * shape.hp);
    gathered_.resize(kBlock * shape.input_size);
    items_.reserve(kBlock);
  }

  // Backward through every stretch, and through the openings just before `high` and before each of its inputs.
  void walk(const std::vector<Stretch<Real>>& stretches) {
    for (const Stretch<Real>& s : stretches) open(s, s.high);
    if (in_place_ || !shape_.gated()) {
      for (const Stretch<Real>& s : stretches) walk_in_place(s);
      return;
    }
    for (const Stretch<Real>& s : stretches) {
      for (int64_t high = s.high; high > s.low;) {
        const int64_t first = static_cast<int64_t>(items_.size());
        int64_t low = high;
        while (low > s.low && static_cast<int64_t>(items_.size()) < kBlock)
          if (has_candidate(s.row, --low)) items_.push_back({&s, low, Real(0)});
        pieces_.push_back({&s, high, low, first});
        high = low;
        if (static_cast<int64_t>(items_.size()) == kBlock) finish_block();
      }
    }
    finish_block();
  }

  // The gradient of the output at t, which repeats the top layer's h. Whether there is one.
  bool add_output_gradient(int64_t row, int64_t t, Real* flow) const {
    if (gradients_.output == nullptr) return false;
    const Real* from = static_cast<const Real*>(gradients_.output) + (row * shape_.steps + t) * shape_.hidden;
    Real* to = flow + shape_.flow_at(shape_.layers - 1);
    kernels<Real>().add_loose(to, from, shape_.hidden);
    return true;
  }

 private:
  static constexpr int64_t kBlock = 48;

  struct Item {
    const Stretch<Real>* stretch;
    int64_t step;
    Real lower;  // <ds, c - s> of the layers below the top
  };
  struct Piece {
    const Stretch<Real>* stretch;
    int64_t high, low, first;
  };
  // Results of the last two different inputs of a stretch: many inputs are like the one before them.
  struct Seen {
    const Real* input = nullptr;
    int32_t token = -1;
    Real inner = 0, view = 0;
  };

  const Real* input(int64_t row, int64_t t) const {
    return static_cast<const Real*>(call_.x) + (row * shape_.steps + t) * shape_.input_size;
  }

  bool is_finite(int64_t row, int64_t t) const {
    if (shape_.inputs == InputMode::kTable) return table_.finite(table_.index(row * shape_.steps + t));
    return kernels<Real>().all_finite(input(row, t), shape_.input_size);
  }

  bool has_candidate(int64_t row, int64_t t) const { return t < call_.lengths[row] && is_finite(row, t); }

  Real* top_flow(const Stretch<Real>& s) const { return s.flow + shape_.flow_at(shape_.layers - 1); }

  // Back through the window that opens just before t, if one does. Whether the running gradient has changed.
  bool open(const Stretch<Real>& s, int64_t t) {
    if (!gates_.opens_at(s.row, t)) return false;
    return gates_.open(s.row, t, s.record + shape_.view_at(), s.last_update,
                       top_flow(s) + (shape_.parts - 1) * shape_.hp);
  }

  Real probability(Real view) const { return logistic(view + weights_.gate_bias.data()[0]); }

  // Input t of the stretch, skipped; true if the running gradient has changed.
  bool settle(const Stretch<Real>& s, int64_t t, Real inner, Real view) {
    if (shape_.windowed)
      gates_.add_slot(s.row, t, inner);
    else
      gates_.accumulate(s.row, t, inner, probability(view), s.increment, false);
    return open(s, t);
  }

  // What a candidate that stands in for a non-finite input shows the gate: the state itself.
  Real unchanged_view(const Stretch<Real>& s) const {
    return shape_.accumulating ? kernels<Real>().dot(s.record + shape_.view_at(), weights_.gate_rows.data(), shape_.hp) : Real(0);
  }

  void walk_in_place(const Stretch<Real>& s) {
    if (!shape_.gated() && gradients_.output == nullptr) return;
    Seen seen[2];
    int known = 0, newest = 0;
    for (int64_t t = s.high - 1; t >= s.low; --t) {
      if (add_output_gradient(s.row, t, s.flow)) known = 0;
      if (!shape_.gated() || t >= call_.lengths[s.row]) continue;
      const Seen* found = nullptr;
      const Real* x = input(s.row, t);
      const int32_t token =
          shape_.inputs == InputMode::kTable ? table_.index(s.row * shape_.steps + t) : int32_t(-1);
      for (int i = 0; i < known && found == nullptr; ++i)
        if (same(seen[i], x, token)) found = &seen[i];
      if (found == nullptr) {
        newest = known == 0 ? 0 : 1 - newest;
        known = known == 0 ? 1 : 2;
        seen[newest] = {x, token, Real(0), Real(0)};
        candidate(s, seen[newest], t);
        found = &seen[newest];
      }
      if (settle(s, t, found->inner, found->view)) known = 0;
    }
  }

  bool same(const Seen& seen, const Real* x, int32_t token) const {
    if (shape_.inputs == InputMode::kTable) return seen.token == token;
    for (int64_t d = 0; d < shape_.input_size; ++d)
      if (!(seen.input[d] == x[d])) return false;
    return true;
  }

  void candidate(const Stretch<Real>& s, Seen& seen, int64_t t) const {
    if (!is_finite(s.row, t)) {
      seen.view = unchanged_view(s);
      return;
    }
    inner_of(s, shape_.inputs == InputMode::kTable ? table_.projected(seen.token) : nullptr, seen.input, seen.inner,
             seen.view);
  }

  // The top layer's <ds, c - s> and, for an accumulating gate, <w, c>; gx as in `with_inputs`.
  void inner_of(const Stretch<Real>& s, const Real* gx, const Real* x, Real& inner, Real& view) const {
    Real answer[2] = {0, 0};
    shape_.cell->inner(s.record + shape_.top_at(), weights_.inputs(shape_, gx, x), weights_.own(shape_.layers - 1),
                       shape_.hidden, top_flow(s), shape_.accumulating ? weights_.gate_rows.data() : nullptr, answer);
    inner = answer[0];
    view = answer[1];
  }

  // Candidates of all items, layer by layer, then the walk over their pieces.
  void finish_block() {
    const int64_t count = static_cast<int64_t>(items_.size());
    if (count > 0) project_inputs(count);
    for (int64_t l = 0; l + 1 < shape_.layers && count > 0; ++l) {
      for (int64_t i = 0; i < count; ++i) lower_candidate(l, i);
      const auto& above = weights_.layers[static_cast<size_t>(l + 1)];
      above.projection.product(count, state_.data(), shape_.parts * shape_.hp, gx_.data(), shape_.gates, Start::kBias,
                               above.projection_bias.data());
    }
    for (const Piece& piece : pieces_) walk_piece(piece);
    pieces_.clear();
    items_.clear();
  }

  void project_inputs(int64_t count) {
    if (shape_.inputs != InputMode::kRows) return;
    const int64_t width = shape_.input_size;
    for (int64_t i = 0; i < count; ++i) {
      const Item& item = items_[static_cast<size_t>(i)];
      std::memcpy(gathered_.data() + i * width, input(item.stretch->row, item.step),
                  static_cast<size_t>(width) * sizeof(Real));
    }
    const auto& layer = weights_.layers[0];
    layer.projection.product(count, gathered_.data(), width, gx_.data(), shape_.gates, Start::kBias,
                             layer.projection_bias.data());
  }

  void lower_candidate(int64_t l, int64_t i) {
    Item& item = items_[static_cast<size_t>(i)];
    const Stretch<Real>& s = *item.stretch;
    Real* made = state_.data() + i * shape_.parts * shape_.hp;
    const Real* gx = nullptr;
    if (l > 0 || shape_.inputs == InputMode::kRows)
      gx = gx_.data() + i * shape_.gates;
    else if (shape_.inputs == InputMode::kTable)
      gx = table_.projected(table_.index(s.row * shape_.steps + item.step));
    const Real* state = s.record + shape_.at(l);
    shape_.cell->candidate(state, weights_.inputs(shape_, gx, input(s.row, item.step)), weights_.own(l), shape_.hidden,
                           made);
    item.lower += kernels<Real>().weighted_difference(s.flow + shape_.flow_at(l), made, state, shape_.parts * shape_.hp);
  }

  void walk_piece(const Piece& piece) {
    const Stretch<Real>& s = *piece.stretch;
    int64_t next = piece.first;
    for (int64_t t = piece.high - 1; t >= piece.low; --t) {
      add_output_gradient(s.row, t, s.flow);
      if (t >= call_.lengths[s.row]) continue;
      Real inner = 0, view = 0;
      if (next < static_cast<int64_t>(items_.size()) && items_[static_cast<size_t>(next)].stretch == &s &&
          items_[static_cast<size_t>(next)].step == t) {
        inner_of(s, gx_.data() + next * shape_.gates, nullptr, inner, view);
        inner += items_[static_cast<size_t>(next)].lower;
        ++next;
      } else {
        view = unchanged_view(s);
      }
      settle(s, t, inner, view);
    }
  }

  const skipw_call& call_;
  const skipw_gradients& gradients_;
  const Shape<Real>& shape_;
  const Weights<Real>& weights_;
  const Table<Real>& table_;
  GateGradients<Real>& gates_;
  bool in_place_;
  Buffer<Real> gx_, state_, gathered_;
  std::vector<Item> items_;
  std::vector<Piece> pieces_;
};

}  // namespace skipw
