// Memory that is aligned, reused from call to call, and handed out without being cleared.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace skipw {

// Asks for `count` values, so that they are in the nearest cache by the time they are read.
template <class Real>
inline void fetch(const Real* values, int64_t count) {
  constexpr int64_t kLine = 64 / sizeof(Real);
  for (int64_t i = 0; i < count; i += kLine) __builtin_prefetch(values + i);
}

constexpr size_t kPage = size_t(1) << 21;         // of a huge page
constexpr size_t kKept = size_t(1) << 30;         // most bytes that are kept for the next call
constexpr size_t kLargestBlock = size_t(1) << 26;
constexpr size_t kPooled = size_t(1) << 16;       // buffers from this size on come from the pool

// Blocks by their size. What is given back is kept for the next call, up to kKept bytes: fresh pages cost more than
// what is computed on them.
class Pool {
 public:
  static Pool& shared() {
    static Pool* pool = new Pool;  // never destroyed: threads may still give blocks back at exit
    return *pool;
  }

  void* take(size_t bytes) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      for (size_t i = free_.size(); i-- > 0;)
        if (free_[i].bytes == bytes) {
          void* block = free_[i].start;
          kept_ -= bytes;
          free_.erase(free_.begin() + static_cast<std::ptrdiff_t>(i));
          return block;
        }
    }
    void* block = nullptr;
    const bool huge = bytes >= kPage;
    if (posix_memalign(&block, huge ? kPage : 64, bytes) != 0) throw std::bad_alloc();
#if defined(__linux__)
    if (huge) madvise(block, bytes, MADV_HUGEPAGE);
#endif
    return block;
  }

  void give(void* block, size_t bytes) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (kept_ + bytes <= kKept) {
        free_.push_back({block, bytes});
        kept_ += bytes;
        return;
      }
    }
    free(block);
  }

  void trim() {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const Block& block : free_) free(block.start);
    free_.clear();
    kept_ = 0;
  }

 private:
  struct Block {
    void* start;
    size_t bytes;
  };
  std::mutex mutex_;
  std::vector<Block> free_;
  size_t kept_ = 0;
};

// A heap of records that only grows; everything is given back at once.
class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() {
    for (const Block& block : blocks_) Pool::shared().give(block.start, block.bytes);
  }

  // `bytes` in one piece, aligned to 64.
  void* take(size_t bytes) {
    bytes = (bytes + 63) / 64 * 64;
    if (bytes > left_) grow(bytes);
    char* start = next_;
    next_ += bytes;
    left_ -= bytes;
#ifdef SKIPW_POISON
    std::memset(start, 0xff, bytes);
#endif
    return start;
  }

  size_t bytes() const {
    size_t all = 0;
    for (const Block& block : blocks_) all += block.bytes;
    return all;
  }

 private:
  struct Block {
    void* start;
    size_t bytes;
  };

  void grow(size_t bytes) {
    size_t size = blocks_.empty() ? kPage : std::min(2 * blocks_.back().bytes, kLargestBlock);
    size = std::max(size, (bytes + kPage - 1) / kPage * kPage);
    blocks_.reserve(blocks_.size() + 1);
    blocks_.push_back({Pool::shared().take(size), size});
    next_ = static_cast<char*>(blocks_.back().start);
    left_ = size;
  }

  std::vector<Block> blocks_;
  char* next_ = nullptr;
  size_t left_ = 0;
};

// An aligned array that is not cleared.
template <class Real>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t size) { resize(size); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  Buffer(Buffer&& other) noexcept : data_(other.data_), size_(other.size_) {
    other.data_ = nullptr;
    other.size_ = 0;
  }
  ~Buffer() { give_back(); }

  void resize(int64_t size) {
    if (size <= size_) return;
    give_back();
    const size_t bytes = static_cast<size_t>(size) * sizeof(Real);
    void* block = nullptr;
    if (bytes >= kPooled)
      block = Pool::shared().take(bytes);
    else if (posix_memalign(&block, 64, bytes) != 0)
      throw std::bad_alloc();
    data_ = static_cast<Real*>(block);
    size_ = size;
#ifdef SKIPW_POISON
    std::memset(block, 0xff, bytes);
#endif
  }

  void clear() {
    if (size_ > 0) std::memset(static_cast<void*>(data_), 0, static_cast<size_t>(size_) * sizeof(Real));
  }
  Real* data() { return data_; }
  const Real* data() const { return data_; }
  int64_t size() const { return size_; }

 private:
  void give_back() {
    const size_t bytes = static_cast<size_t>(size_) * sizeof(Real);
    if (bytes >= kPooled)
      Pool::shared().give(data_, bytes);
    else
      free(data_);
    data_ = nullptr;
    size_ = 0;
  }

  Real* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace skipw
