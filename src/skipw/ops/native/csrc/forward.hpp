// Forward: rounds in which every row of a shard does its next processed input.
//
// Rows do not wait for one another: a row that skips is already at its next window while another still processes, so
// that each round's products have as many rows as there are rows left.
#pragma once

#include "chooser.hpp"
#include "tape.hpp"

namespace skipw {

template <class Real>
class Forward {
 public:
  Forward(const skipw_call& call, const Shape<Real>& shape, const Weights<Real>& weights, const Table<Real>& table,
          Shard<Real>& shard)
      : call_(call),
        shape_(shape),
        weights_(weights),
        table_(table),
        shard_(shard),
        chooser_(call, shape),
        rows_(shard.end - shard.first) {}

  void run() {
    begin();
    while (true) {
      find_events();
      if (events_.empty()) break;
      round();
    }
    end();
  }

 private:
  struct Row {
    Cursor cursor;
    Real* record = nullptr;
    int64_t filled = 0;  // outputs written so far
  };

  // What is kept of a row between its processed inputs: the whole record in training, the state alone in inference.
  int64_t kept() const { return shape_.training ? shape_.record : shape_.flow; }
  int64_t kept_at(int64_t layer) const { return shape_.training ? shape_.at(layer) : shape_.flow_at(layer); }
  int64_t kept_view_at() const { return kept_at(shape_.layers - 1) + (shape_.parts - 1) * shape_.hp; }

  // What is kept before the first input: the state that came in, and in training its recurrent products. Rows that start
  // alike share one.
  void begin() {
    const bool alike = all_start_alike();
    const int64_t records = alike ? 1 : rows_;
    Real* starts = take(records);
    shard_.start = starts;
    shard_.start_stride = alike ? 0 : kept();
    for (int64_t i = 0; i < records; ++i)
      for (int64_t l = 0; l < shape_.layers; ++l)
        for (int p = 0; p < shape_.parts; ++p) {
          Real* to = starts + i * kept() + kept_at(l) + p * shape_.hp;
          std::memcpy(to, first_state(l, p, i), state_bytes());
          std::fill(to + shape_.hidden, to + shape_.hp, Real(0));
        }
    if (shape_.training) {
      for (int64_t l = 0; l < shape_.layers; ++l) recurrent_product(l, records, starts);
    } else {
      homes_ = alike ? take(rows_) : starts;
      round_.resize(kRoundRows * shape_.record);
    }
    active_.resize(static_cast<size_t>(rows_));
    for (int64_t i = 0; i < rows_; ++i) {
      active_[static_cast<size_t>(i)].cursor = chooser_.start(shard_.first + i);
      active_[static_cast<size_t>(i)].record = starts + i * shard_.start_stride;
    }
    walking_.resize(static_cast<size_t>(rows_));
    std::iota(walking_.begin(), walking_.end(), 0);
    shard_.rounds.push_back(0);
  }

  Real* take(int64_t records) {
    return static_cast<Real*>(shard_.arena.take(static_cast<size_t>(records * kept()) * sizeof(Real)));
  }

  size_t state_bytes() const { return static_cast<size_t>(shape_.hidden) * sizeof(Real); }

  // Part p of layer l's state that row i of the shard came in with.
  const Real* first_state(int64_t l, int p, int64_t i) const {
    const Real* all = static_cast<const Real*>(call_.layers_before[l * shape_.parts + p]);
    return all + (shard_.first + i) * shape_.hidden;
  }

  bool all_start_alike() const {
    for (int64_t l = 0; l < shape_.layers; ++l)
      for (int p = 0; p < shape_.parts; ++p)
        for (int64_t i = 1; i < rows_; ++i)
          if (std::memcmp(first_state(l, p, i), first_state(l, p, 0), state_bytes()) != 0) return false;
    return true;
  }

  void recurrent_product(int64_t layer, int64_t rows, Real* records) const {
    const auto& w = weights_.layers[static_cast<size_t>(layer)];
    w.recurrent.product(rows, records + shape_.at(layer), shape_.record, records + shape_.gh_at(layer), shape_.record,
                        Start::kBias, w.recurrent_bias.data());
  }

  // Every row that has not ended goes on to its next processed input.
  void find_events() {
    events_.clear();
    opening_.clear();
    for (const int32_t i : walking_) advance(i);
    while (!opening_.empty()) {
      open_windows();
      pending_.swap(opening_);
      opening_.clear();
      for (const int32_t i : pending_) advance(i);
    }
    walking_.swap(events_);
    events_.assign(walking_.begin(), walking_.end());
  }

  void advance(int32_t i) {
    const Stop stop = chooser_.advance(active_[static_cast<size_t>(i)].cursor);
    if (stop == Stop::kOpening) opening_.push_back(i);
    if (stop == Stop::kProcess) events_.push_back(i);
  }

  void open_windows() {
    const int64_t count = static_cast<int64_t>(opening_.size());
    views_.resize(rows_ * shape_.hp);
    logits_.resize(rows_ * shape_.lp);
    for (int64_t m = 0; m < count; ++m)
      std::memcpy(views_.data() + m * shape_.hp, row_of(opening_, m).record + kept_view_at(),
                  static_cast<size_t>(shape_.hp) * sizeof(Real));
    weights_.gate.product(count, views_.data(), shape_.hp, logits_.data(), shape_.lp, Start::kBias,
                          weights_.gate_bias.data());
    for (int64_t m = 0; m < count; ++m) {
      Row& row = row_of(opening_, m);
      Real* logits = logits_.data() + m * shape_.lp;
      const Real time = chooser_.time(row.cursor);
      for (int64_t i = 0; i < shape_.window; ++i) logits[i] += weights_.gate_time.data()[i] * time;
      if (shape_.seen > 0) add_seen(row.cursor, logits);
      chooser_.open(row.cursor, logits);
    }
  }

  void add_seen(const Cursor& cursor, Real* logits) {
    seen_.resize(static_cast<size_t>(shape_.seen));
    chooser_.look_at(cursor, seen_.data());
    for (int64_t e = 0; e < shape_.seen_windows_at; ++e)
      for (int64_t i = 0; i < shape_.window; ++i)
        logits[i] += weights_.gate_seen.data()[e * shape_.window + i] * seen_[static_cast<size_t>(e)];
    if (!shape_.sees_windows()) return;
    const Real* own = weights_.gate_seen.data() + chooser_.column_of(cursor) * shape_.window;
    for (int64_t i = 0; i < shape_.window; ++i) logits[i] += own[i];
  }

  Row& active_row(int32_t i) { return active_[static_cast<size_t>(i)]; }
  Row& row_of(const std::vector<int32_t>& list, int64_t m) { return active_row(list[static_cast<size_t>(m)]); }

  // One processed input of each row in events_, a few rows at a time: their records stay in the core's nearest caches
  // from the first product to the last.
  void round() {
    const int64_t count = static_cast<int64_t>(events_.size());
    Real* records = shape_.training ? take(count) : round_.data();
    for (int64_t from = 0; from < count; from += kRoundRows)
      process(events_.data() + from, std::min(kRoundRows, count - from),
              shape_.training ? records + from * shape_.record : records);
    if (shape_.training) shard_.rounds.push_back(static_cast<int64_t>(shard_.events.size()));
  }

  // Training makes a record's recurrent products with its state, since skipped inputs read them too; inference makes them
  // when the row's next processed input asks for them.
  void process(const int32_t* rows, int64_t count, Real* records) {
    for (int64_t l = 0; l < shape_.layers; ++l) {
      if (!shape_.training) {
        for (int64_t m = 0; m < count; ++m)
          copy_state(active_row(rows[m]).record + kept_at(l), records + m * shape_.record + shape_.at(l));
        recurrent_product(l, count, records);
      }
      if (l > 0)
        projection_product(l, count, records + shape_.at(l - 1), shape_.record, records);
      else if (shape_.inputs == InputMode::kRows)
        gather_and_project(rows, count, records);
      for (int64_t m = 0; m < count; ++m) candidate(l, active_row(rows[m]), records + m * shape_.record);
      if (shape_.training) recurrent_product(l, count, records);
    }
    for (int64_t m = 0; m < count; ++m) settle(active_row(rows[m]), records + m * shape_.record);
  }

  // All parts of one layer.
  void copy_state(const Real* from, Real* to) const {
    std::memcpy(to, from, static_cast<size_t>(shape_.parts * shape_.hp) * sizeof(Real));
  }

  void projection_product(int64_t layer, int64_t count, const Real* from, int64_t stride, Real* records) const {
    const auto& w = weights_.layers[static_cast<size_t>(layer)];
    w.projection.product(count, from, stride, records + shape_.gx_at(layer), shape_.record, Start::kBias,
                         w.projection_bias.data());
  }

  void gather_and_project(const int32_t* rows, int64_t count, Real* records) {
    const int64_t width = shape_.input_size;
    gathered_.resize(kRoundRows * width);
    for (int64_t m = 0; m < count; ++m) {
      if (m + kNext < count) fetch(input(active_row(rows[m + kNext])), width);
      std::memcpy(gathered_.data() + m * width, input(active_row(rows[m])), static_cast<size_t>(width) * sizeof(Real));
    }
    projection_product(0, count, gathered_.data(), width, records);
  }

  const Real* input(const Row& row) const {
    return static_cast<const Real*>(call_.x) + (row.cursor.row * shape_.steps + row.cursor.step) * shape_.input_size;
  }

  void candidate(int64_t layer, const Row& row, Real* record) const {
    const Real* gx = nullptr;
    if (layer > 0 || shape_.inputs == InputMode::kRows)
      gx = record + shape_.gx_at(layer);
    else if (shape_.inputs == InputMode::kTable)
      gx = table_.projected(table_.index(row.cursor.row * shape_.steps + row.cursor.step));
    const Real* before = shape_.training ? row.record : record;
    shape_.cell->candidate(before + shape_.at(layer), weights_.inputs(shape_, gx, input(row)), weights_.own(layer),
                           shape_.hidden, record + shape_.at(layer));
  }

  // The row's new state is in place: write its outputs up to here, count the input, note it on the tape.
  void settle(Row& row, Real* record) {
    fill_outputs(row, row.cursor.step);
    Real increment = 0, probability = 0;
    if (shape_.accumulating) {
      increment = static_cast<const Real*>(call_.increment)[row.cursor.row];
      probability = logistic(kernels<Real>().dot(record + shape_.view_at(), weights_.gate_rows.data(), shape_.hp) +
                             weights_.gate_bias.data()[0]);
    }
    if (shape_.training) {
      shard_.events.push_back(
          {static_cast<int32_t>(row.cursor.row), row.cursor.step, row.record, record, increment, probability});
      row.record = record;
    } else {
      row.record = homes_ + (row.cursor.row - shard_.first) * kept();
      for (int64_t l = 0; l < shape_.layers; ++l) copy_state(record + shape_.at(l), row.record + kept_at(l));
    }
    chooser_.processed(row.cursor, probability);
  }

  // The top layer's state repeats until `step`.
  void fill_outputs(Row& row, int64_t step) {
    if (call_.output == nullptr) return;
    Real* to = static_cast<Real*>(call_.output) + row.cursor.row * shape_.steps * shape_.hidden;
    for (; row.filled < step; ++row.filled)
      std::memcpy(to + row.filled * shape_.hidden, row.record + kept_at(shape_.layers - 1),
                  static_cast<size_t>(shape_.hidden) * sizeof(Real));
  }

  void end() {
    for (Row& row : active_) {
      fill_outputs(row, shape_.steps);
      chooser_.finish(row.cursor);
      for (int64_t l = 0; l < shape_.layers; ++l)
        for (int p = 0; p < shape_.parts; ++p) {
          Real* to = static_cast<Real*>(call_.layers_after[l * shape_.parts + p]);
          std::memcpy(to + row.cursor.row * shape_.hidden, row.record + kept_at(l) + p * shape_.hp,
                      static_cast<size_t>(shape_.hidden) * sizeof(Real));
        }
    }
  }

  const skipw_call& call_;
  const Shape<Real>& shape_;
  const Weights<Real>& weights_;
  const Table<Real>& table_;
  Shard<Real>& shard_;
  Chooser<Real> chooser_;
  int64_t rows_;
  Real* homes_ = nullptr;
  std::vector<Row> active_;
  std::vector<int32_t> walking_, events_, opening_, pending_;
  Buffer<Real> round_, views_, logits_, gathered_;
  std::vector<Real> seen_;
};

}  // namespace skipw
