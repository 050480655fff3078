// The C interface: picks the number type and the cell, shares the rows out over threads, turns exceptions into codes.
#include <memory>
#include <new>
#include <utility>

#include "backward.hpp"
#include "forward.hpp"

#ifndef SKIPW_SOURCE_HASH
#define SKIPW_SOURCE_HASH ""
#endif

namespace skipw {
namespace {

InputMode input_mode(const skipw_call& call) {
  return call.input_size <= kInlineInputs ? InputMode::kNarrow : InputMode::kRows;
}

template <class Real>
class Tape final : public AnyTape {
 public:
  Tape(const skipw_call& call, Table<Real>&& table)
      : shape_(call, table.used() ? InputMode::kTable : input_mode(call)),
        threads_(call.num_threads),
        table_(std::move(table)) {}

  void forward(const skipw_call& call) {
    remember(call);
    weights_.fill(call, shape_);
    if (table_.used()) table_.project(shape_, weights_, threads_);
    shards_ = make_shards<Real>(shape_.batch, shape_.training ? kShardRows : kInferenceRows, threads_);
    fork(threads_, [&](int64_t thread) {
      for (size_t i = static_cast<size_t>(thread); i < shards_.size(); i += static_cast<size_t>(threads_))
        Forward<Real>(call, shape_, weights_, table_, *shards_[i]).run();
    });
    if (shape_.windowed && shape_.training) {
      const Real* importance = static_cast<const Real*>(call.importance);
      memory_.importance.assign(importance, importance + shape_.batch * shape_.window);
    }
  }

  int backward(const skipw_call& call, const skipw_gradients& gradients) const override {
    const BackWeights<Real> back(shape_, weights_, gradients.x != nullptr);
    const bool scatter = table_.used() && events() > table_.distinct();
    std::vector<std::unique_ptr<Backward<Real>>> workers(static_cast<size_t>(threads_));
    fork(threads_, [&](int64_t thread) {
      auto& worker = workers[static_cast<size_t>(thread)];
      worker = std::make_unique<Backward<Real>>(call, gradients, shape_, weights_, back, table_, memory_, scatter);
      for (size_t i = static_cast<size_t>(thread); i < shards_.size(); i += static_cast<size_t>(threads_))
        worker->run(*shards_[i]);
      worker->flush();
    });
    if (scatter)
      fork(threads_, [&](int64_t thread) {
        Backward<Real>::multiply_tokens(workers, static_cast<size_t>(thread), table_.distinct());
      });
    for (auto& worker : workers) worker->add_to(gradients);
    return SKIPW_OK;
  }

  int64_t bytes() const override {
    size_t all = table_.used() ? table_.bytes() : 0;
    for (const auto& shard : shards_) all += shard->arena.bytes() + shard->events.size() * sizeof(Event<Real>);
    return static_cast<int64_t>(all);
  }

 private:
  void remember(const skipw_call& call) {
    if (!shape_.gated() || !shape_.training) return;
    memory_.step.assign(call.step, call.step + shape_.batch);
    memory_.last_update.assign(call.last_update, call.last_update + shape_.batch);
    if (shape_.windowed) memory_.offset.assign(call.offset, call.offset + shape_.batch);
    if (shape_.accumulating) {
      const Real* increment = static_cast<const Real*>(call.increment);
      memory_.increment.assign(increment, increment + shape_.batch);
    }
  }

  int64_t events() const {
    size_t all = 0;
    for (const auto& shard : shards_) all += shard->events.size();
    return static_cast<int64_t>(all);
  }

  Shape<Real> shape_;
  int64_t threads_;
  Weights<Real> weights_;  // of the forward pass: autograd refuses a backward pass after they were changed
  Table<Real> table_;
  GateMemory<Real> memory_;
  std::vector<std::unique_ptr<Shard<Real>>> shards_;
};

template <class Real>
std::unique_ptr<AnyTape> run(const skipw_call& call) {
  Table<Real> table;
  // A dense model or forced updates need no candidates of skipped inputs, and inference none at all.
  if (call.training != 0 && call.gate != SKIPW_NO_GATE && call.distinct != 0) table.find(call);
  auto tape = std::make_unique<Tape<Real>>(call, std::move(table));
  tape->forward(call);
  return tape;
}

bool is_sound(const skipw_call& call) {
  return (call.float_bytes == 4 || call.float_bytes == 8) && call.num_threads >= 1 && call.batch >= 1 &&
         call.steps >= 1 && call.input_size >= 1 && call.hidden >= 1 && call.layers >= 1 &&
         call.cell >= SKIPW_GRU && call.cell <= SKIPW_FASTGRNN && call.batch < INT32_MAX &&
         (call.gate == SKIPW_NO_GATE || call.num_switches >= 1) && (call.gate != SKIPW_WINDOW || call.window >= 1) &&
         ((call.seen == 0 && call.gate_windows == 0) || call.gate == SKIPW_WINDOW) && call.gate_windows >= 0 &&
         (call.bound == SKIPW_ALIGNED || (call.gate == SKIPW_WINDOW && call.zero_sum == 0 &&
                                           (call.recent != nullptr || call.window == 1))) &&
         ((call.seen & SKIPW_SEES_IMPORTANCE) == 0 || call.importance_before != nullptr) &&
         ((call.seen & SKIPW_SEES_INPUT) == 0 || call.last_input != nullptr);
}

template <class Body>
int guarded(Body body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return SKIPW_NO_MEMORY;
  } catch (...) {
    return SKIPW_FAILED;
  }
}

}  // namespace
}  // namespace skipw

extern "C" {

int skipw_abi_version(void) { return SKIPW_ABI_VERSION; }

const char* skipw_variant(void) { return skipw::variant(); }

const char* skipw_source_hash(void) { return SKIPW_SOURCE_HASH; }

int skipw_cpu_level(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  return avx2 && avx512 ? 2 : avx2 ? 1 : 0;
#else
  return 0;
#endif
}

void skipw_use_openmp(skipw::OpenMp parallel) { skipw::Lent::threads().set(parallel); }

int skipw_forward(skipw_call* call) {
  return skipw::guarded([&]() -> int {
    if (!skipw::is_sound(*call)) return SKIPW_BAD_CALL;
    call->tape = nullptr;
    auto tape = call->float_bytes == 4 ? skipw::run<float>(*call) : skipw::run<double>(*call);
    if (call->training != 0) call->tape = tape.release();
    return SKIPW_OK;
  });
}

int skipw_backward(const skipw_call* call, const skipw_gradients* gradients) {
  return skipw::guarded([&]() -> int {
    if (call->tape == nullptr) return SKIPW_BAD_CALL;
    return static_cast<const skipw::AnyTape*>(call->tape)->backward(*call, *gradients);
  });
}

void skipw_release(void* tape) { delete static_cast<skipw::AnyTape*>(tape); }

void skipw_trim(void) { skipw::Pool::shared().trim(); }

int64_t skipw_tape_bytes(const void* tape) {
  return tape == nullptr ? 0 : static_cast<const skipw::AnyTape*>(tape)->bytes();
}

}  // extern "C"
