// Who is processed next: each row walks at its own pace to its next processed input or window opening (eqs. 1-3, 6-10).
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "seen.hpp"

namespace skipw {

enum class Stop { kEnd, kOpening, kProcess };

struct Cursor {
  int64_t row = 0, step = 0, length = 0;
  int64_t slot = 0;      // offset in the window
  int64_t point = 0;     // index of the operating point in force
  int64_t opened = 0;    // windows opened in this call
  bool is_open = false;  // the window at slot 0 has its importance
};

template <class Real>
class Chooser {
 public:
  Chooser(const skipw_call& call, const Shape<Real>& shape) : call_(call), shape_(shape) {
    if (shape.windowed) order_.resize(static_cast<size_t>(shape.window));
  }

  Cursor start(int64_t row) const {
    Cursor cursor;
    cursor.row = row;
    cursor.length = call_.lengths[row];
    if (shape_.windowed) cursor.slot = call_.offset[row];
    return cursor;
  }

  // On to the next input that is processed (not yet counted), the next window that opens, or the end.
  Stop advance(Cursor& c) {
    if (shape_.windowed) return advance_window(c);
    if (shape_.accumulating) return advance_accumulated(c);
    const uint8_t* forced = call_.forced;
    while (c.step < c.length && forced != nullptr && forced[c.row * shape_.steps + c.step] == 0) ++c.step;
    return c.step < c.length ? Stop::kProcess : Stop::kEnd;
  }

  // The input at the cursor is processed. `probability` is the gate's (accumulate).
  void processed(Cursor& c, Real probability) {
    updates()[c.row * shape_.steps + c.step] = Real(1);
    if (shape_.gated()) {
      call_.last_update[c.row] = call_.step[c.row] + c.step;
      call_.used[c.row] += 1;
    }
    if (shape_.accumulating) {
      static_cast<Real*>(call_.accumulated)[c.row] = probability;
      static_cast<Real*>(call_.increment)[c.row] = probability;
    }
    move_on(c);
  }

  // The time feature of a window that opens at the cursor.
  Real time(const Cursor& c) const {
    return time_at(call_, shape_, call_.step[c.row] + c.step, call_.last_update[c.row]);
  }

  static Real time_at(const skipw_call& call, const Shape<Real>& shape, int64_t step, int64_t last_update) {
    int64_t value = step;
    if (call.time_feature == SKIPW_TIME_NONE) return Real(0);
    if (call.time_feature == SKIPW_TIME_WINDOW) value = step / shape.window;
    if (call.time_feature == SKIPW_TIME_SINCE_UPDATE) value = step - std::max<int64_t>(last_update, 0);
    return static_cast<Real>(value) / static_cast<Real>(call.time_scale);
  }

  // What else the gate sees of a window that opens at the cursor.
  void look_at(const Cursor& c, Real* values) const {
    look(call_, shape_, c.row, call_.step[c.row], call_.step[c.row] + c.step, call_.last_update[c.row],
         importance_of(c.row), values);
  }

  // Its biases' column, where windows have biases of their own.
  int64_t column_of(const Cursor& c) const { return own_column(shape_, call_.step[c.row] + c.step); }

  // A window opens: `logits` hold W_W [s; t] + b_W for its L slots.
  void open(Cursor& c, const Real* logits) {
    Real* importance = importance_of(c.row);
    for (int64_t i = 0; i < shape_.window; ++i) importance[i] = logistic(logits[i]);
    if (call_.noise != nullptr && call_.draw != nullptr) {
      const int64_t drawn = std::min(c.opened, call_.noise_windows - 1);
      std::memcpy(static_cast<Real*>(call_.draw) + c.row * shape_.window,
                  static_cast<const Real*>(call_.noise) + (drawn * shape_.batch + c.row) * shape_.window,
                  static_cast<size_t>(shape_.window) * sizeof(Real));
    }
    call_.used[c.row] = 0;
    c.opened += 1;
    c.is_open = true;
    follow_switches(c);
    choose(c);
  }

  // The counters at the row's end.
  void finish(const Cursor& c) {
    if (!shape_.gated()) return;
    call_.step[c.row] += c.length;
    if (shape_.windowed) call_.offset[c.row] = call_.step[c.row] % shape_.window;
  }

 private:
  Real* updates() const { return static_cast<Real*>(call_.updates); }
  Real* values() const { return static_cast<Real*>(call_.values); }
  Real* importance_of(int64_t row) const { return static_cast<Real*>(call_.importance) + row * shape_.window; }

  void follow_switches(Cursor& c) const {
    while (c.point + 1 < call_.num_switches && call_.switch_start[c.point + 1] <= c.step) ++c.point;
  }

  void move_on(Cursor& c) const {
    ++c.step;
    if (shape_.windowed && ++c.slot == shape_.window) {
      c.slot = 0;
      c.is_open = false;
    }
  }

  Stop advance_window(Cursor& c) {
    const Real* importance = importance_of(c.row);
    const uint8_t* selected = call_.selected + c.row * shape_.window;
    for (; c.step < c.length; move_on(c)) {
      if (c.slot == 0 && !c.is_open) return Stop::kOpening;
      follow_switches(c);
      const double threshold = call_.switch_threshold[c.point];
      if (call_.budget[c.row] != call_.switch_budget[c.point] || call_.threshold[c.row] != threshold) choose(c);
      values()[c.row * shape_.steps + c.step] = importance[c.slot];
      if (selected[c.slot] != 0 && importance[c.slot] >= static_cast<Real>(threshold)) return Stop::kProcess;
    }
    return Stop::kEnd;
  }

  Stop advance_accumulated(Cursor& c) {
    Real& accumulated = static_cast<Real*>(call_.accumulated)[c.row];
    const Real increment = static_cast<const Real*>(call_.increment)[c.row];
    for (; c.step < c.length; ++c.step) {
      follow_switches(c);
      values()[c.row * shape_.steps + c.step] = accumulated;
      if (accumulated >= static_cast<Real>(call_.switch_threshold[c.point])) return Stop::kProcess;
      accumulated += increment;
      if (accumulated > Real(1)) accumulated = Real(1);
    }
    return Stop::kEnd;
  }

  // Eq. 9 by index: the budget - used most important slots still to come. Ties to the earliest; NaN ranks last.
  void choose(Cursor& c) {
    const int64_t slots = shape_.window, budget = call_.switch_budget[c.point];
    uint8_t* selected = call_.selected + c.row * slots;
    const int64_t limit = std::max<int64_t>(0, budget - call_.used[c.row]), ahead = slots - c.slot;
    call_.budget[c.row] = budget;
    call_.threshold[c.row] = call_.switch_threshold[c.point];
    if (call_.bound == SKIPW_ANY) return choose_of_any(c, budget, selected);
    if (limit == 0 || limit >= ahead) {
      for (int64_t i = 0; i < slots; ++i) selected[i] = limit != 0 && i >= c.slot;
      return;
    }
    rank(c);
    const auto first = order_.begin(), end = order_.begin() + ahead;
    std::iota(first, end, static_cast<int32_t>(c.slot));
    std::nth_element(first, first + limit, end, [this](int32_t a, int32_t b) { return comes_first(a, b); });
    std::fill(selected, selected + slots, uint8_t(0));
    for (int64_t i = 0; i < limit; ++i) selected[order_[static_cast<size_t>(i)]] = 1;
  }

  // At most K of any L consecutive inputs (skipw/ops/any_window.py): of the slots that `choose` would select, the most
  // important first, each for which all L inputs that end at it or later in this window may hold one more.
  void choose_of_any(const Cursor& c, int64_t budget, uint8_t* selected) {
    const int64_t slots = shape_.window, ahead = slots - c.slot;
    room_.resize(static_cast<size_t>(slots));
    int64_t left = budget;
    for (int64_t back = 0; back < slots; ++back) {
      if (back > 0 && was_processed(c, back)) --left;
      if (back >= c.slot) room_[static_cast<size_t>(c.slot + slots - 1 - back)] = left;
    }
    std::fill(selected, selected + slots, uint8_t(0));
    const int64_t limit = std::min(std::max<int64_t>(0, room_[static_cast<size_t>(slots - 1)]), ahead);
    if (limit == 0) return;
    rank(c);
    const auto first = order_.begin();
    std::iota(first, first + ahead, static_cast<int32_t>(c.slot));
    std::partial_sort(first, first + limit, first + ahead, [this](int32_t a, int32_t b) { return comes_first(a, b); });
    for (int64_t i = 0; i < limit; ++i) {
      const int32_t slot = order_[static_cast<size_t>(i)];
      const auto later = room_.begin() + slot;
      if (*std::min_element(later, room_.end()) < 1) continue;
      selected[slot] = 1;
      std::for_each(later, room_.end(), [](int64_t& room) { --room; });
    }
  }

  // Whether the input `back` before the cursor was processed, in this call or before it.
  bool was_processed(const Cursor& c, int64_t back) const {
    if (back <= c.step) return updates()[c.row * shape_.steps + c.step - back] != Real(0);
    return call_.recent[(c.row + 1) * (shape_.window - 1) + c.step - back] != 0;
  }

  bool comes_first(int32_t a, int32_t b) const {
    const Real left = keys_[static_cast<size_t>(a)], right = keys_[static_cast<size_t>(b)];
    return left != right ? left > right : a < b;
  }

  // What the slots are ranked by, largest first; a whole ordering whatever the weights.
  void rank(const Cursor& c) {
    const int64_t slots = shape_.window;
    const Real* importance = importance_of(c.row);
    const Real* draw = call_.draw == nullptr ? nullptr : static_cast<const Real*>(call_.draw) + c.row * slots;
    constexpr Real lowest = std::numeric_limits<Real>::lowest();
    const Real threshold = static_cast<Real>(call_.switch_threshold[c.point]);
    keys_.resize(static_cast<size_t>(slots));
    for (int64_t i = 0; i < slots; ++i) {
      const Real v = importance[i];
      Real key = v;
      if (call_.select == SKIPW_SAMPLE) key = std::log(v) + draw[i];
      if (call_.select == SKIPW_RANDOM) key = draw[i];
      if (call_.select == SKIPW_FIRST) key = static_cast<Real>(-i);
      if (call_.select == SKIPW_LAST) key = static_cast<Real>(i);
      if (call_.select == SKIPW_FIRST_ABOVE) key = v >= threshold ? static_cast<Real>(-i) : lowest;
      keys_[static_cast<size_t>(i)] = std::isnan(v) || std::isnan(key) ? lowest : std::max(key, lowest / 2);
    }
  }

  const skipw_call& call_;
  const Shape<Real>& shape_;
  std::vector<int32_t> order_;
  std::vector<Real> keys_;
  std::vector<int64_t> room_;  // how many more the L inputs that end at a slot may hold
};

}  // namespace skipw
