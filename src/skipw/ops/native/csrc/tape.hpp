// What a forward pass leaves for the backward pass: a record for each processed input, in the order of the rounds.
#pragma once

#include <memory>
#include <vector>

#include "memory.hpp"
#include "table.hpp"

namespace skipw {

// One processed input.
template <class Real>
struct Event {
  int32_t row;  // of the batch
  int64_t step;
  const Real* before;  // records: [state | gh | gx] of every layer
  const Real* after;
  Real increment, probability;  // the gate's increment before and after (accumulate)
};

// Rows [first, end) of the batch, which one thread walks through.
template <class Real>
struct Shard {
  int64_t first = 0, end = 0;
  Arena arena;
  const Real* start = nullptr;  // the records before the first input
  int64_t start_stride = 0;     // from row to row; 0 where all rows start alike
  std::vector<Event<Real>> events;
  std::vector<int64_t> rounds;  // events[rounds[i] .. rounds[i + 1]) happened side by side
};

struct AnyTape {
  virtual ~AnyTape() = default;
  virtual int backward(const skipw_call& call, const skipw_gradients& gradients) const = 0;
  virtual int64_t bytes() const = 0;
};

// Cuts the batch into shards of at most `rows`, and at least one for each thread.
template <class Real>
inline std::vector<std::unique_ptr<Shard<Real>>> make_shards(int64_t batch, int64_t rows, int64_t threads) {
  int64_t count = std::max<int64_t>(threads, (batch + rows - 1) / rows);
  count = std::min(batch, (count + threads - 1) / threads * threads);
  std::vector<std::unique_ptr<Shard<Real>>> shards;
  for (int64_t i = 0; i < count; ++i) {
    shards.push_back(std::make_unique<Shard<Real>>());
    shards.back()->first = batch * i / count;
    shards.back()->end = batch * (i + 1) / count;
  }
  return shards;
}

}  // namespace skipw
