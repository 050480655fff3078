// Repeated input rows (the same token in many places): found by their content, projected once each.
#pragma once

#include <cstring>
#include <vector>

#include "problem.hpp"
#include "threads.hpp"

namespace skipw {

constexpr int64_t kWideInputs = 16;   // narrower rows are not worth a search
constexpr int64_t kSample = 512;      // rows looked at before the search
constexpr int64_t kProbes = 8;        // rows that may share their first bytes before one is given up on
constexpr int64_t kAhead = 8;         // rows between a hash and its comparison
constexpr int64_t kNext = 2;          // rows between asking for one and reading it, where rows lie scattered

template <class Real>
class Table {
 public:
  bool used() const { return !rows_.empty(); }
  int64_t distinct() const { return static_cast<int64_t>(rows_.size()); }
  int32_t index(int64_t place) const { return index_[static_cast<size_t>(place)]; }
  const Real* input(int32_t row) const { return rows_[static_cast<size_t>(row)]; }
  const Real* projected(int32_t row) const { return projected_.data() + row * stride_; }
  bool finite(int32_t row) const { return finite_[static_cast<size_t>(row)] != 0; }
  size_t bytes() const { return static_cast<size_t>(projected_.size()) * sizeof(Real) + 4 * index_.size(); }

  // Fill in the index if enough rows repeat; else there is no table. Each thread looks through a part of the batch, then
  // what the parts have found is put together, in the order of first appearance.
  void find(const skipw_call& call) {
    const Real* x = static_cast<const Real*>(call.x);
    const int64_t width = call.input_size, parts = std::min(static_cast<int64_t>(call.num_threads), call.batch);
    if (width < kWideInputs || call.batch * call.steps >= INT32_MAX || !worth_it(call, x)) return;
    index_.assign(static_cast<size_t>(call.batch * call.steps), -1);
    std::vector<Finder> found(static_cast<size_t>(parts));
    fork(parts, [&](int64_t part) {
      find_part(call, call.batch * part / parts, call.batch * (part + 1) / parts, found[static_cast<size_t>(part)]);
    });
    for (int64_t part = 1; part < parts; ++part)
      take_in(call, found[static_cast<size_t>(part)], call.batch * part / parts, call.batch * (part + 1) / parts, parts,
              found[0]);
    rows_ = std::move(found[0].rows);
  }

  // The product of all distinct rows, shared out over the threads.
  void project(const Shape<Real>& shape, const Weights<Real>& weights, int64_t threads) {
    stride_ = shape.gates;
    projected_.resize(distinct() * stride_);
    finite_.resize(rows_.size());
    const auto& layer = weights.layers[0];
    constexpr int64_t kBlock = 96;
    fork(threads, [&](int64_t thread) {
      Buffer<Real> gathered(kBlock * shape.input_size);
      for (int64_t start = thread * kBlock; start < distinct(); start += threads * kBlock) {
        const int64_t count = std::min(kBlock, distinct() - start);
        for (int64_t i = 0; i < count; ++i) {
          const Real* row = rows_[static_cast<size_t>(start + i)];
          if (i + kNext < count) skipw::fetch(rows_[static_cast<size_t>(start + i + kNext)], shape.input_size);
          std::memcpy(gathered.data() + i * shape.input_size, row,
                      static_cast<size_t>(shape.input_size) * sizeof(Real));
          finite_[static_cast<size_t>(start + i)] = kernels<Real>().all_finite(row, shape.input_size);
        }
        layer.projection.product(count, gathered.data(), shape.input_size, projected_.data() + start * stride_,
                                 stride_, Start::kBias, layer.projection_bias.data());
      }
    });
  }

 private:
  static uint64_t hash(const Real* row) {
    uint64_t words[8], all = 0x9e3779b97f4a7c15ull;
    std::memcpy(words, row, sizeof(words));
    for (const uint64_t word : words) all = (all ^ word) * 0xff51afd7ed558ccdull, all ^= all >> 32;
    return all;
  }

  bool worth_it(const skipw_call& call, const Real* x) const {
    const int64_t places = call.batch * call.steps, step = std::max<int64_t>(1, places / kSample);
    std::vector<uint64_t> seen;
    for (int64_t place = 0; place < places; place += step)
      if (place % call.steps < call.lengths[place / call.steps]) seen.push_back(hash(x + place * call.input_size));
    const size_t looked_at = seen.size();
    std::sort(seen.begin(), seen.end());
    seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
    return seen.size() * 10 < looked_at * 9;
  }

  // Distinct rows by their content.
  struct Finder {
    std::vector<int32_t> slots;
    std::vector<const Real*> rows;
    std::vector<uint64_t> hashes;

    uint64_t hash(int64_t i) const { return hashes[static_cast<size_t>(i)]; }
    const Real* row(int64_t i) const { return rows[static_cast<size_t>(i)]; }

    // Room for so many rows.
    void expect(int64_t most) {
      size_t size = 64;
      while (size < static_cast<size_t>(2 * most)) size *= 2;
      slots.assign(size, -1);
    }

    size_t place(uint64_t hash) const { return hash & (slots.size() - 1); }

    // Into the cache with the row that one of this hash will be compared with first.
    void fetch(uint64_t hash, int64_t width) const {
      const int32_t found = slots[place(hash)];
      if (found >= 0) skipw::fetch(rows[static_cast<size_t>(found)], width);
    }

    // The row of this content, or -1; `at` becomes its slot, or the empty one where it belongs.
    int32_t look_up(uint64_t hash, const Real* row, int64_t width, size_t& at) const {
      const size_t bytes = static_cast<size_t>(width) * sizeof(Real);
      at = place(hash);
      for (int64_t probe = 0; slots[at] >= 0; ++probe, at = place(at + 1))
        if (probe < kProbes && std::memcmp(rows[static_cast<size_t>(slots[at])], row, bytes) == 0) return slots[at];
      return -1;
    }

    int32_t insert(uint64_t hash, const Real* row, int64_t width) {
      size_t at;
      const int32_t found = look_up(hash, row, width, at);
      return found >= 0 ? found : append(hash, row, at);
    }

    // A row that is not there yet, to the first empty slot from `at` on.
    int32_t append(uint64_t hash, const Real* row, size_t at) {
      while (slots[at] >= 0) at = place(at + 1);
      slots[at] = static_cast<int32_t>(rows.size());
      rows.push_back(row);
      hashes.push_back(hash);
      return slots[at];
    }
  };

  // What another part, the batch's rows [first, end), has found becomes part of `all`, and the index follows. The threads
  // share the comparisons; what `all` lacks is then appended without any, since a part's rows differ from one another.
  void take_in(const skipw_call& call, const Finder& part, int64_t first, int64_t end, int64_t threads, Finder& all) {
    const int64_t count = static_cast<int64_t>(part.rows.size());
    std::vector<int32_t> names(static_cast<size_t>(count));
    fork(threads, [&](int64_t thread) {
      const int64_t stop = count * (thread + 1) / threads;
      for (int64_t i = count * thread / threads; i < stop; ++i) {
        if (i + kAhead < stop) __builtin_prefetch(all.slots.data() + all.place(part.hash(i + kAhead)));
        if (i + kAhead / 2 < stop) {
          all.fetch(part.hash(i + kAhead / 2), call.input_size);
          skipw::fetch(part.row(i + kAhead / 2), call.input_size);
        }
        size_t at;
        names[static_cast<size_t>(i)] = all.look_up(part.hash(i), part.row(i), call.input_size, at);
      }
    });
    for (int64_t i = 0; i < count; ++i) {
      int32_t& name = names[static_cast<size_t>(i)];
      if (name < 0) name = all.append(part.hash(i), part.row(i), all.place(part.hash(i)));
    }
    for (int64_t place = first * call.steps; place < end * call.steps; ++place) {
      int32_t& name = index_[static_cast<size_t>(place)];
      if (name >= 0) name = names[static_cast<size_t>(name)];
    }
  }

  // The rows [first, end) of the batch. What a row is compared with lies anywhere: it is asked for while the rows before
  // it are compared.
  void find_part(const skipw_call& call, int64_t first, int64_t end, Finder& found) {
    const int64_t width = call.input_size;
    found.expect(first == 0 ? call.batch * call.steps : (end - first) * call.steps);  // the first takes in all others
    uint64_t hashes[kAhead];
    for (int64_t b = first; b < end; ++b) {
      const Real* rows = static_cast<const Real*>(call.x) + b * call.steps * width;
      const int64_t length = call.lengths[b];
      for (int64_t t = 0; t < std::min(kAhead, length); ++t) hashes[t] = hash(rows + t * width);
      for (int64_t t = 0; t < length; ++t) {
        if (t + kAhead / 2 < length) {
          found.fetch(hashes[(t + kAhead / 2) % kAhead], width);
          skipw::fetch(rows + (t + kAhead / 2) * width, width);
        }
        index_[static_cast<size_t>(b * call.steps + t)] = found.insert(hashes[t % kAhead], rows + t * width, width);
        if (t + kAhead < length) {
          hashes[t % kAhead] = hash(rows + (t + kAhead) * width);
          __builtin_prefetch(found.slots.data() + found.place(hashes[t % kAhead]));
        }
      }
    }
  }

  std::vector<int32_t> index_;     // [B * T], -1 beyond the lengths
  std::vector<const Real*> rows_;  // into x
  std::vector<uint8_t> finite_;
  Buffer<Real> projected_;
  int64_t stride_ = 0;
};

}  // namespace skipw
