// The weights' gradients: rows of gate gradients are collected and multiplied with what they met, many at a time.
#pragma once

#include "tape.hpp"

namespace skipw {

constexpr int64_t kPending = 2 * kShardRows;  // rows collected before a product

template <class Real>
inline void clear(Buffer<Real>& buffer, int64_t size) {
  buffer.resize(size);
  buffer.clear();
}

// One thread's sums for one layer.
template <class Real>
class LayerGradients {
 public:
  // `scatter`: sum by distinct input row first (layer 0 with a table).
  LayerGradients(const Shape<Real>& shape, const Table<Real>& table, int64_t layer, bool scatter)
      : shape_(shape), table_(table), layer_(layer), scatter_(scatter) {
    stride_ = shape.cell->gradient_rows * shape.hp + 16;  // not a power of two: columns are read one by one
    width_ = layer == 0 ? shape.input_size : shape.hidden;
    padded_width_ = layer == 0 ? shape.dp : shape.hp;
    narrow_ = layer == 0 && shape.inputs == InputMode::kNarrow;
    rows_.resize(kPending * stride_);
    before_.resize(static_cast<size_t>(kPending));
    scratch_.resize(kPending * kernels<Real>().panel);
    clear(recurrent_, shape.gates * shape.hp);
    clear(own_, shape.cell->own * shape.hp);
    sums_width_ = shape.cell->gradient_rows * shape.hp;
    clear(sums_, (1 + (narrow_ ? width_ : 0)) * sums_width_);
    if (narrow_) {
      narrow_inputs_.resize(kPending * width_);
    } else {
      met_inputs_.resize(static_cast<size_t>(kPending));
      if (layer == 0) inputs_.resize(kPending * padded_width_);
      clear(projection_, shape.gates * padded_width_);
    }
    if (scatter) {
      tokens_.resize(static_cast<size_t>(kPending));
      touched_.assign(static_cast<size_t>(table.distinct()), 0);
      clear(by_token_, table.distinct() * shape.gates);
    }
  }

  // Room for `count` rows, side by side: where the first stands.
  int64_t room(int64_t count) {
    if (used_ + count > kPending) flush();
    const int64_t first = used_;
    used_ += count;
    return first;
  }

  Real* row(int64_t i) { return rows_.data() + i * stride_; }
  int64_t stride() const { return stride_; }
  Real* own() { return own_.data(); }  // sums for what the cell reads beside its products

  // What row i met: h before it, and the layer's input (a padded h, a row of x, or a token). Both stand in the tape's
  // records until the backward pass ends; a row of x is copied, because a product reads whole vectors of it.
  void met(int64_t i, const Real* h, const Real* input, int32_t token) {
    before_[static_cast<size_t>(i)] = h;
    if (narrow_) {
      std::memcpy(narrow_inputs_.data() + i * width_, input, static_cast<size_t>(width_) * sizeof(Real));
    } else if (scatter_) {
      tokens_[static_cast<size_t>(i)] = token;
      touched_[static_cast<size_t>(token)] = 1;
    } else if (layer_ > 0) {
      met_inputs_[static_cast<size_t>(i)] = input;
    } else {
      put_input(i, input);
    }
  }

  void flush() {
    if (used_ == 0) return;
    const Real* recurrent = rows_.data() + shape_.cell->recurrent_at * shape_.hp;
    const Real* projected = rows_.data() + shape_.cell->projected_at * shape_.hp;
    kernels<Real>().outer(used_, shape_.gates, shape_.hp, recurrent, stride_, before_.data(), recurrent_.data(), shape_.hp,
                           scratch_.data());
    kernels<Real>().add_columns(used_, sums_width_, rows_.data(), stride_, narrow_inputs_.data(), narrow_ ? width_ : 0,
                                sums_.data());
    if (narrow_) {
      // The products with so few inputs are among these sums.
    } else if (scatter_) {
      for (int64_t i = 0; i < used_; ++i)
        kernels<Real>().add(by_token_.data() + tokens_[static_cast<size_t>(i)] * shape_.gates, projected + i * stride_, shape_.gates);
    } else {
      kernels<Real>().outer(used_, shape_.gates, padded_width_, projected, stride_, met_inputs_.data(),
                            projection_.data(), padded_width_, scratch_.data());
    }
    used_ = 0;
  }

  // The product of the sums by token, for the tokens [from, to) and over what all threads have collected and flushed.
  void multiply_tokens(const std::vector<LayerGradients*>& all, int64_t from, int64_t to) {
    for (int64_t start = from; start < to; start += kPending) {
      const int64_t count = std::min(kPending, to - start);
      for (int64_t i = 0; i < count; ++i) add_token(all, static_cast<size_t>(start + i), i);
      kernels<Real>().outer(count, shape_.gates, padded_width_, rows_.data(), stride_, met_inputs_.data(),
                            projection_.data(), padded_width_, scratch_.data());
    }
  }

  // Adds these sums to the caller's arrays, in torch's order of gates; `own` as the cell reads it.
  void add_to(void* const* weights, const Real* own) const {
    const int64_t n = shape_.hidden;
    Real* weight_ih = static_cast<Real*>(weights[0]);
    Real* weight_hh = static_cast<Real*>(weights[1]);
    for (int g = 0; g < shape_.cell->gates; ++g)
      for (int64_t i = 0; i < n; ++i) {
        const int64_t from = g * shape_.hp + i, to = g * n + i, hh = shape_.cell->recurrent_gate[g] * n + i;
        const Real* projected = sums_.data() + shape_.cell->projected_at * shape_.hp + from;
        if (shape_.cell->own == 0) {
          static_cast<Real*>(weights[2])[to] += projected[0];
          static_cast<Real*>(weights[3])[hh] += sums_.data()[shape_.cell->recurrent_at * shape_.hp + from];
        }
        kernels<Real>().add_loose(weight_hh + hh * n, recurrent_.data() + from * shape_.hp, n);
        if (!narrow_)
          kernels<Real>().add_loose(weight_ih + to * width_, projection_.data() + from * padded_width_, width_);
        for (int64_t j = 0; narrow_ && j < width_; ++j)
          weight_ih[to * width_ + j] += projected[(1 + j) * sums_width_];
      }
    if (shape_.cell->own > 0) add_own_to(weights, own);
  }

 private:
  // b_z and b_h, then zeta and nu: through their sigmoids, and spread over lanes.
  void add_own_to(void* const* weights, const Real* own) const {
    for (int k = 0; k < 2; ++k) {
      kernels<Real>().add_loose(static_cast<Real*>(weights[2 + k]), own_.data() + k * shape_.hp, shape_.hidden);
      const Real value = own[(2 + k) * shape_.hp];
      Real sum = 0;
      for (int64_t i = 0; i < shape_.hp; ++i) sum += own_.data()[(2 + k) * shape_.hp + i];
      static_cast<Real*>(weights[4 + k])[0] += sum * value * (1 - value);
    }
  }

  // Where a padded copy of what row i met is written.
  Real* padded_input(int64_t i) {
    Real* to = inputs_.data() + i * padded_width_;
    met_inputs_[static_cast<size_t>(i)] = to;
    return to;
  }

  void put_input(int64_t i, const Real* input) {
    Real* to = padded_input(i);
    std::memcpy(to, input, static_cast<size_t>(width_) * sizeof(Real));
    std::fill(to + width_, to + padded_width_, Real(0));
  }

  // A token's row of gradients, over all threads, and its input to place i. A token that was never processed may hold
  // anything, and 0 times NaN is NaN.
  void add_token(const std::vector<LayerGradients*>& all, size_t token, int64_t i) {
    bool touched = false;
    std::fill_n(row(i), shape_.gates, Real(0));
    for (const LayerGradients* one : all) {
      if (one->touched_[token] == 0) continue;
      touched = true;
      kernels<Real>().add(row(i), one->by_token_.data() + static_cast<int64_t>(token) * shape_.gates, shape_.gates);
    }
    if (touched)
      put_input(i, table_.input(static_cast<int32_t>(token)));
    else
      std::fill_n(padded_input(i), padded_width_, Real(0));
  }

  const Shape<Real>& shape_;
  const Table<Real>& table_;
  int64_t layer_, stride_, width_, padded_width_, sums_width_, used_ = 0;
  bool scatter_, narrow_;
  std::vector<const Real*> before_, met_inputs_;  // what each row collected met
  Buffer<Real> rows_, inputs_, narrow_inputs_, scratch_;
  Buffer<Real> recurrent_, projection_, by_token_, own_;
  Buffer<Real> sums_;  // [1 + D of a narrow input][sums_width_]: the rows' sums, and those times each input
  std::vector<int32_t> tokens_;
  std::vector<uint8_t> touched_;  // distinct rows that were processed
};

}  // namespace skipw
