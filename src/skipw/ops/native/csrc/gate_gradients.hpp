// How the straight-through gradient of the decisions reaches the gate and, through it, the state.
#pragma once

#include "chooser.hpp"
#include "weight_gradients.hpp"

namespace skipw {

// What a tape remembers of the gates at the start and the end of the call.
template <class Real>
struct GateMemory {
  std::vector<int64_t> step, offset, last_update;  // [B], at the start
  std::vector<Real> increment;                     // [B], at the start (accumulate)
  std::vector<Real> importance;                    // [B, L], at the end (window)
};

// One thread's sums of the gate's weights, and the running gradients of the rows that it walks through.
template <class Real>
class GateGradients {
 public:
  GateGradients(const skipw_call& call, const skipw_gradients& gradients, const Shape<Real>& shape,
                const Weights<Real>& weights, const GateMemory<Real>& memory)
      : call_(call), gradients_(gradients), shape_(shape), weights_(weights), memory_(memory) {
    if (!shape.gated()) return;
    const int64_t slots = shape.windowed ? shape.window : 1;
    clear(weight_, slots * shape.hp);
    clear(time_, slots);
    clear(bias_, slots);
    if (shape.windowed) {
      logits_.resize(kPending * shape.lp);
      views_.resize(static_cast<size_t>(kPending));
      factors_.resize(static_cast<size_t>(shape.window));
      seen_.resize(static_cast<size_t>(shape.seen));
      clear(seen_sums_, std::max<int64_t>(shape.seen * shape.window, 1));
      scratch_.resize(kPending * kernels<Real>().panel);
    }
  }

  // Take over the rows [first, end): the gradients of the final state's gate.
  void begin(int64_t first, int64_t end) {
    first_ = first;
    if (!shape_.gated()) return;
    const int64_t rows = end - first;
    slots_.resize(std::max<int64_t>(rows * shape_.lp, 1));
    if (call_.zero_sum != 0) ranked_.resize(slots_.size());
    accumulated_.assign(static_cast<size_t>(rows), Real(0));
    increment_.assign(static_cast<size_t>(rows), Real(0));
    slots_.clear();
    ranked_.clear();
    for (int64_t i = 0; i < rows; ++i) {
      if (shape_.windowed && gradients_.importance != nullptr)
        std::memcpy(slots_.data() + i * shape_.lp,
                    static_cast<const Real*>(gradients_.importance) + (first + i) * shape_.window,
                    static_cast<size_t>(shape_.window) * sizeof(Real));
      if (shape_.accumulating && gradients_.accumulated != nullptr)
        accumulated_[static_cast<size_t>(i)] = static_cast<const Real*>(gradients_.accumulated)[first + i];
      if (shape_.accumulating && gradients_.increment != nullptr)
        increment_[static_cast<size_t>(i)] = static_cast<const Real*>(gradients_.increment)[first + i];
    }
  }

  // Whether a window opens just before input t.
  bool opens_at(int64_t row, int64_t t) const {
    return shape_.windowed && t < call_.lengths[row] &&
           (memory_.offset[static_cast<size_t>(row)] + t) % shape_.window == 0;
  }

  // du_t of input t, whose candidate differs from the state by <ds_t, c - s> = `inner` (window).
  void add_slot(int64_t row, int64_t t, Real inner) {
    const int64_t slot = (memory_.offset[static_cast<size_t>(row)] + t) % shape_.window;
    const int64_t place = (row - first_) * shape_.lp + slot;
    if (call_.zero_sum != 0) {
      ranked_.data()[place] += inner;
      inner = 0;
    }
    slots_.data()[place] += inner + asked(row, t);
  }

  // Back through the opening before input t: the gate's sums, and its gradient into the state's `flow` (eqs. 6, 7).
  bool open(int64_t row, int64_t t, const Real* view, int64_t last_update, Real* flow) {
    Real* slots = slots_.data() + (row - first_) * shape_.lp;
    if (pending_ == kPending) flush();
    Real* logits = logits_.data() + pending_ * shape_.lp;
    const Real* values = static_cast<const Real*>(call_.values) + row * shape_.steps;
    const int64_t window = shape_.window, here = std::min(window, call_.lengths[row] - t);
    if (call_.zero_sum != 0) add_ranked(row, values + t, here, slots);
    for (int64_t i = 0; i < window; ++i) {
      const Real v = i < here ? values[t + i] : memory_.importance[static_cast<size_t>(row * window + i)];
      logits[i] = slots[i] * v * (Real(1) - v);
      slots[i] = 0;
    }
    const Real time =
        Chooser<Real>::time_at(call_, shape_, memory_.step[static_cast<size_t>(row)] + t, last_update);
    const Real factor = static_cast<Real>(call_.state_gradient);
    for (int64_t i = 0; i < window; ++i) {
      bias_.data()[i] += logits[i];
      time_.data()[i] += logits[i] * time;
      factors_[static_cast<size_t>(i)] = factor * logits[i];
    }
    if (factor != Real(0))
      kernels<Real>().add_rows(window, shape_.hp, weights_.gate_rows.data(), shape_.hp, factors_.data(), flow);
    if (shape_.seen > 0) open_seen(row, t, last_update, logits, slots);
    views_[static_cast<size_t>(pending_++)] = view;
    return factor != Real(0);
  }

  // Input t of an accumulating gate (eqs. 1-3). `probability` is sigma(W c + b) of its candidate, `increment` the one
  // before it. Returns the gradient of the gate's logit, which is 0 at a skipped input.
  Real accumulate(int64_t row, int64_t t, Real inner, Real probability, Real increment, bool processed) {
    const Real waiting = static_cast<const Real*>(call_.values)[row * shape_.steps + t] + increment;
    const Real waited = waiting > Real(1) ? Real(1) : waiting;
    Real& d_accumulated = accumulated_[static_cast<size_t>(row - first_)];
    Real& d_increment = increment_[static_cast<size_t>(row - first_)];
    const Real d_gate = inner + d_increment * (probability - increment) + d_accumulated * (probability - waited) +
                        asked(row, t);
    if (!processed) {
      const Real d_waited = waiting > Real(1) ? Real(0) : d_accumulated;
      d_accumulated = d_waited + d_gate;
      d_increment += d_waited;
      return 0;
    }
    const Real d_logit = (d_increment + d_accumulated) * probability * (Real(1) - probability);
    d_accumulated = d_gate;
    d_increment = 0;
    return d_logit;
  }

  // The logit's gradient of a processed input: the gate's sums, and what goes into the candidate's `flow`.
  void add_logit(Real d_logit, const Real* view, Real* flow) {
    bias_.data()[0] += d_logit;
    kernels<Real>().add_rows(1, shape_.hp, view, shape_.hp, &d_logit, weight_.data());
    const Real factor = static_cast<Real>(call_.state_gradient) * d_logit;
    if (call_.state_gradient != 0.0)
      kernels<Real>().add_rows(1, shape_.hp, weights_.gate_rows.data(), shape_.hp, &factor, flow);
  }

  // The gradients of the state that the rows came in with.
  void end(int64_t end) {
    for (int64_t row = first_; row < end; ++row) {
      if (shape_.windowed && gradients_.first_importance != nullptr)
        std::memcpy(static_cast<Real*>(gradients_.first_importance) + row * shape_.window,
                    slots_.data() + (row - first_) * shape_.lp, static_cast<size_t>(shape_.window) * sizeof(Real));
      if (shape_.accumulating && gradients_.first_accumulated != nullptr)
        static_cast<Real*>(gradients_.first_accumulated)[row] = accumulated_[static_cast<size_t>(row - first_)];
      if (shape_.accumulating && gradients_.first_increment != nullptr)
        static_cast<Real*>(gradients_.first_increment)[row] = increment_[static_cast<size_t>(row - first_)];
    }
  }

  void flush() {
    if (pending_ == 0) return;
    kernels<Real>().outer(pending_, shape_.window, shape_.hp, logits_.data(), shape_.lp, views_.data(), weight_.data(), shape_.hp, scratch_.data());
    pending_ = 0;
  }

  void add_to(Real* weight, Real* bias) const {
    if (!shape_.gated()) return;
    const bool timed = shape_.windowed && call_.time_feature != SKIPW_TIME_NONE;
    const int64_t n = shape_.hidden, slots = shape_.windowed ? shape_.window : 1;
    const int64_t width = n + (timed ? 1 : 0) + shape_.seen;
    for (int64_t i = 0; i < slots; ++i) {
      for (int64_t j = 0; j < n; ++j) weight[i * width + j] += weight_.data()[i * shape_.hp + j];
      if (timed) weight[i * width + n] += time_.data()[i];
      for (int64_t e = 0; e < shape_.seen; ++e)
        weight[i * width + width - shape_.seen + e] += seen_sums_.data()[e * slots + i];
      bias[i] += bias_.data()[i];
    }
  }

 private:
  // Back through what else the gate saw: the sums of its columns, the importance of the window before (`slots`), and the
  // input that was the last. `factor` is not for these.
  void open_seen(int64_t row, int64_t t, int64_t last_update, const Real* logits, Real* slots) {
    const int64_t window = shape_.window, first_step = memory_.step[static_cast<size_t>(row)];
    const Real* before = t >= window ? static_cast<const Real*>(call_.values) + row * shape_.steps + t - window
                                     : static_cast<const Real*>(call_.importance_before) + row * window;
    look(call_, shape_, row, first_step, first_step + t, last_update, before, seen_.data());
    const auto asks = [&](int64_t e) {  // the gradient of value e
      Real all = 0;
      for (int64_t i = 0; i < window; ++i) all += logits[i] * weights_.gate_seen.data()[e * window + i];
      return all;
    };
    for (int64_t e = 0; e < shape_.seen_windows_at; ++e)
      for (int64_t i = 0; i < window; ++i)
        seen_sums_.data()[e * window + i] += logits[i] * seen_[static_cast<size_t>(e)];
    if (shape_.sees_windows()) {
      Real* own = seen_sums_.data() + own_column(shape_, first_step + t) * window;
      for (int64_t i = 0; i < window; ++i) own[i] += logits[i];
    }
    if (shape_.sees_importance())
      for (int64_t i = 0; i < window; ++i) slots[i] = asks(shape_.seen_importance_at + i);
    if (!shape_.sees_input()) return;
    const int64_t place = last_place(shape_, row, first_step, last_update);
    void* array = place < 0 ? gradients_.first_last_input : gradients_.x;
    if (array == nullptr) return;
    Real* to = static_cast<Real*>(array) + (place < 0 ? row : place) * shape_.input_size;
    for (int64_t d = 0; d < shape_.input_size; ++d) to[d] += asks(shape_.seen_input_at + d);
  }

  // What the outputs `updates` and `values` ask of u_t and of its importance.
  Real asked(int64_t row, int64_t t) const {
    const int64_t place = row * shape_.steps + t;
    Real all = 0;
    if (gradients_.updates != nullptr) all += static_cast<const Real*>(gradients_.updates)[place];
    if (gradients_.values != nullptr) all += static_cast<const Real*>(gradients_.values)[place];
    return all;
  }

  // zero_sum: what the states ask of a window's slots, less its mean over those that reach the threshold where these
  // are more than the budget; see skipw/ops/selection_gradient.py.
  void add_ranked(int64_t row, const Real* values, int64_t here, Real* slots) {
    Real* ranked = ranked_.data() + (row - first_) * shape_.lp;
    const int64_t window = shape_.window;
    const Real threshold = static_cast<Real>(call_.switch_threshold[0]);
    const auto wanted = [&](int64_t i) {
      return (i < here ? values[i] : memory_.importance[static_cast<size_t>(row * window + i)]) >= threshold;
    };
    int64_t count = 0;
    Real sum = 0;
    for (int64_t i = 0; i < window; ++i) {
      if (!wanted(i)) continue;
      ++count;
      sum += ranked[i];
    }
    const Real mean = count > call_.switch_budget[0] ? sum / static_cast<Real>(count) : Real(0);
    for (int64_t i = 0; i < window; ++i) {
      slots[i] += wanted(i) ? ranked[i] - mean : ranked[i];
      ranked[i] = 0;
    }
  }

  const skipw_call& call_;
  const skipw_gradients& gradients_;
  const Shape<Real>& shape_;
  const Weights<Real>& weights_;
  const GateMemory<Real>& memory_;
  int64_t first_ = 0, pending_ = 0;
  Buffer<Real> slots_;   // [rows][lp]: the gradient of the current window's importance
  Buffer<Real> ranked_;  // likewise, the states' part of it where the selection's gradient is zero_sum
  std::vector<Real> accumulated_, increment_, factors_;
  std::vector<Real> seen_;
  std::vector<const Real*> views_;  // in the tape's records
  Buffer<Real> weight_, time_, bias_, logits_, scratch_, seen_sums_;
};

}  // namespace skipw
