// One fork for a call: the calling thread takes part, and an exception of any thread comes back to it.
//
// PyTorch's OpenMP threads keep spinning for milliseconds after each of its operations. Threads of our own would have to
// share the cores with them, so the work is given to those same threads where they can be had.
#pragma once

#include <atomic>
#include <cfenv>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace skipw {

// GOMP_parallel, which GCC's and LLVM's OpenMP both have: fn(data) on at most `threads` threads, the caller among them.
using OpenMp = void (*)(void (*fn)(void*), void* data, unsigned threads, unsigned flags);

inline int64_t this_process() {
#if defined(__unix__) || defined(__APPLE__)
  return static_cast<int64_t>(getpid());
#else
  return 0;
#endif
}

// The caller's OpenMP. A child of fork() has none of its parent's threads, and OpenMP would wait for them for ever.
class Lent {
 public:
  static Lent& threads() {
    static Lent lent;
    return lent;
  }
  void set(OpenMp parallel) {
    process_ = this_process();
    parallel_ = parallel;
  }
  OpenMp get() const {
    const OpenMp parallel = parallel_;
    return parallel != nullptr && process_ == this_process() ? parallel : nullptr;
  }

 private:
  std::atomic<OpenMp> parallel_{nullptr};
  std::atomic<int64_t> process_{-1};
};

// Shares of one piece of work, 0 to count - 1. Which thread takes which does not matter to the result.
class Shares {
 public:
  template <class Body>
  Shares(const Body& body, int64_t count)
      : body_(&body),
        run_([](const void* work, int64_t share) { (*static_cast<const Body*>(work))(share); }),
        failures_(static_cast<size_t>(count)) {
    std::fegetenv(&arithmetic_);
  }

  // Takes shares until none is left. A borrowed thread computes as the caller does (denormals flushed or kept), and goes
  // back as it came.
  void work() noexcept {
    std::fenv_t own;
    std::fegetenv(&own);
    std::fesetenv(&arithmetic_);
    const int64_t count = static_cast<int64_t>(failures_.size());
    for (int64_t share = next_.fetch_add(1); share < count; share = next_.fetch_add(1)) {
      try {
        run_(body_, share);
      } catch (...) {
        failures_[static_cast<size_t>(share)] = std::current_exception();
      }
    }
    std::fesetenv(&own);
  }

  void rethrow() const {
    for (const std::exception_ptr& failure : failures_)
      if (failure) std::rethrow_exception(failure);
  }

 private:
  const void* body_;
  void (*run_)(const void*, int64_t);
  std::fenv_t arithmetic_;
  std::atomic<int64_t> next_{0};
  std::vector<std::exception_ptr> failures_;
};

// body(i) for i < count, on as many threads if they are to be had.
template <class Body>
void fork(int64_t count, const Body& body) {
  if (count == 1) return body(int64_t(0));
  Shares shares(body, count);
  if (const OpenMp parallel = Lent::threads().get()) {
    parallel([](void* all) { static_cast<Shares*>(all)->work(); }, &shares, static_cast<unsigned>(count), 0);
  } else {
    std::vector<std::thread> others;
    others.reserve(static_cast<size_t>(count));
    try {
      for (int64_t i = 1; i < count; ++i) others.emplace_back([&shares] { shares.work(); });
    } catch (...) {
      // No more threads to be had: those that there are take all shares.
    }
    shares.work();
    for (std::thread& other : others) other.join();
  }
  shares.rethrow();
}

}  // namespace skipw
