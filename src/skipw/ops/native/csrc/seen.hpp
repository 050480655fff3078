// What a gate sees beside state and time where a window opens: skipw_seen, docs/gates.md.
#pragma once

#include "problem.hpp"

namespace skipw {

// The place in `x` of the last input that was processed, or -1 where that was before this call. `step` and `last_update`
// count from the start of the sequence.
template <class Real>
int64_t last_place(const Shape<Real>& shape, int64_t row, int64_t first_step, int64_t last_update) {
  return last_update < first_step ? -1 : row * shape.steps + last_update - first_step;
}

// K in force at input t of this call.
inline int64_t budget_at(const skipw_call& call, int64_t t) {
  int64_t point = 0;
  while (point + 1 < call.num_switches && call.switch_start[point + 1] <= t) ++point;
  return call.switch_budget[point];
}

// The column that is 1 in the window that opens at `step`, all others of gate_windows being 0.
template <class Real>
int64_t own_column(const Shape<Real>& shape, int64_t step) {
  return std::min(shape.seen_windows_at + step / shape.window, shape.seen - 1);
}

// The values but those of gate_windows, `shape.seen_windows_at` of them. `step` is the window's first input, `importance` that of the window before.
template <class Real>
void look(const skipw_call& call, const Shape<Real>& shape, int64_t row, int64_t first_step, int64_t step,
          int64_t last_update, const Real* importance, Real* values) {
  if (shape.seen_importance_at > 0)
    values[0] = static_cast<Real>(step - std::max<int64_t>(last_update, 0)) / static_cast<Real>(call.time_scale);
  if (shape.sees_importance())
    std::memcpy(values + shape.seen_importance_at, importance, static_cast<size_t>(shape.window) * sizeof(Real));
  if (shape.sees_budget()) {
    const int64_t budget = budget_at(call, step - first_step);
    for (int64_t j = 0; j < shape.seen_windows_at - shape.seen_budget_at; ++j) {
      const Real left = Real(2) - static_cast<Real>(budget << (j + 1)) / static_cast<Real>(shape.window);
      values[shape.seen_budget_at + j] = std::min(std::max(left, Real(0)), Real(1));
    }
  }
  if (!shape.sees_input()) return;
  const int64_t place = last_place(shape, row, first_step, last_update);
  const Real* input = place < 0 ? static_cast<const Real*>(call.last_input) + row * shape.input_size
                                : static_cast<const Real*>(call.x) + place * shape.input_size;
  std::memcpy(values + shape.seen_input_at, input, static_cast<size_t>(shape.input_size) * sizeof(Real));
}

}  // namespace skipw
