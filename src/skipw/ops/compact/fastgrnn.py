"""One FastGRNN layer over a call: candidates of all rows forward, processed rows alone backward."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Layer"]


class Layer:
    """``skipw.fastgrnn.FastGRNNCell`` unrolled over T inputs. B rows, N hidden units, P processed (t, row) pairs.

    z = σ(s + b_z), n = tanh(s + b_h), c̃ = h + (1 - z)(ζ n - h) + ν n, with s = W x + U h and U h kept from the last
    processed input.

    Attributes:
        history: (Float[T + 1, B, N],), h before each input and after the last.
        input_bias: b_h, which the input products have.
    """

    def __init__(self, weights: tuple[Tensor, ...], state: tuple[Tensor, ...], num_steps: int) -> None:
        self.weight_ih, self.weight_hh, bias_z, self.input_bias, zeta, nu = (w.detach() for w in weights)
        self.further = bias_z - self.input_bias
        self.zeta, self.nu = torch.sigmoid(zeta), torch.sigmoid(nu)
        (first,) = state
        batch, hidden = first.shape
        self.history: tuple[Tensor, ...] = (first.new_empty(num_steps + 1, batch, hidden),)
        self.history[0][0] = first
        self.fresh = first.new_empty(num_steps, batch, hidden)  # 1 - z
        self.news = first.new_empty(num_steps, batch, hidden)
        self.product = first @ self.weight_hh.T

    def candidate(self, t: int, projected: Tensor) -> tuple[Tensor, ...]:
        """c̃ of all rows from W x_t + b_h, Float[B, N]."""
        shared = projected + self.product
        torch.tanh(shared, out=self.news[t])
        torch.sigmoid(shared.add_(self.further).neg_(), out=self.fresh[t])
        return (self.history[0][t] + self._change(t),)

    def _change(self, t: int) -> Tensor:
        """c̃ - s_{t-1}, Float[B, N]."""
        new = self.news[t]
        return torch.addcmul(self.nu * new, self.fresh[t], self.zeta * new - self.history[0][t])

    def refresh(self, t: int, rows: Tensor | None) -> None:
        """Renew the recurrent product of the rows (all, if None) that input t has changed."""
        h = self.history[0][t + 1]
        if rows is None:
            torch.mm(h, self.weight_hh.T, out=self.product)
        elif len(rows):
            self.product[rows] = h[rows] @ self.weight_hh.T

    def inner(self, t: int, grad: list[Tensor], blank: Tensor | None) -> Tensor:
        """<ds_t, c̃ - s_{t-1}>, Float[B]; rows in ``blank`` (Bool[B]) have no candidate and count 0."""
        change = self._change(t)
        if blank is not None:
            change.masked_fill_(blank.unsqueeze(-1), 0)
        return torch.linalg.vecdot(grad[0], change)

    def prepare_backward(self, pairs: Tensor) -> None:
        """Local derivatives at the processed ``pairs``, Long[P] into [T · B]."""
        fresh, new = self.fresh.flatten(0, 1)[pairs], self.news.flatten(0, 1)[pairs]
        self.before = self.history[0][:-1].flatten(0, 1)[pairs]
        self.keep = 1 - fresh
        by_update = (self.before - self.zeta * new) * self.keep * fresh
        by_new = (self.zeta * fresh + self.nu) * (1 - new * new)
        # Order: update | new | ζ | ν; both products read the sum of the first two.
        self.local = torch.stack([by_update, by_new, fresh * new, new], dim=1)
        self.grads = torch.empty_like(self.local)
        self.shared = torch.empty_like(self.before)

    def step_backward(
        self, grad: tuple[Tensor, ...], start: int, end: int, below: bool
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """From dc̃ of the pairs [start, end) to (ds_{t-1},) and, if ``below``, dx."""
        (dh,) = grad
        gates, shared = self.grads[start:end], self.shared[start:end]
        torch.mul(dh.unsqueeze(1), self.local[start:end], out=gates)
        torch.add(gates[:, 0], gates[:, 1], out=shared)
        before = torch.addmm(dh * self.keep[start:end], shared, self.weight_hh)
        return (before,), shared @ self.weight_ih if below else None

    def weight_grads(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Gradients of W, U, b_z, b_h, zeta, nu; ``inputs`` Float[P, D] are the pairs' inputs."""
        by_bias = self.grads[:, :2].sum(0)
        by_scale = self.grads[:, 2:].sum((0, 2))
        scales = torch.cat([self.zeta, self.nu])
        by_scale = by_scale * scales * (1 - scales)
        shared = self.shared
        return shared.T @ inputs, shared.T @ self.before, by_bias[0], by_bias[1], by_scale[:1], by_scale[1:]

    def input_grads(self) -> Tensor:
        """dx of the processed pairs, Float[P, D]."""
        return self.shared @ self.weight_ih
