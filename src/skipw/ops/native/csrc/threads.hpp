// One fork for a call: the calling thread takes part, and an exception of any thread comes back to it.
#pragma once

#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

namespace skipw {

// body(thread) on `threads` threads.
template <class Body>
void fork(int64_t threads, Body body) {
  std::vector<std::exception_ptr> failures(static_cast<size_t>(threads));
  const auto guarded = [&](int64_t thread) {
    try {
      body(thread);
    } catch (...) {
      failures[static_cast<size_t>(thread)] = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  others.reserve(static_cast<size_t>(threads));
  int64_t started = 1;
  try {
    for (; started < threads; ++started) others.emplace_back(guarded, started);
  } catch (...) {
    // No more threads to be had: the work of those that are missing is done here.
  }
  guarded(0);
  for (int64_t thread = started; thread < threads; ++thread) guarded(thread);
  for (std::thread& other : others) other.join();
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
}

}  // namespace skipw
