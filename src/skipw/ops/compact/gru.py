"""One GRU layer over a call: candidates of all rows forward, processed rows alone backward."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Layer"]


class Layer:
    """torch.nn.GRUCell unrolled over T inputs. B rows, N hidden units, P processed (t, row) pairs.

    r, z = σ(gx + gh), n = tanh(gx_n + r gh_n), c̃ = n + z (h - n), with gh = W_hh h + b_hh kept from the last
    processed input.

    Attributes:
        history: (Float[T + 1, B, N],), h before each input and after the last.
    """

    gates = 3

    def __init__(self, weights: tuple[Tensor, ...], state: tuple[Tensor, ...], num_steps: int) -> None:
        self.weight_ih, self.weight_hh, self.input_bias, self.bias_hh = (w.detach() for w in weights)
        (first,) = state
        batch, hidden = first.shape
        self.hidden = hidden
        self.history: tuple[Tensor, ...] = (first.new_empty(num_steps + 1, batch, hidden),)
        self.history[0][0] = first
        self.sigmoids = first.new_empty(num_steps, batch, 2 * hidden)
        self.news = first.new_empty(num_steps, batch, hidden)
        self.recurrent_new = first.new_empty(num_steps, batch, hidden)
        self.product = torch.addmm(self.bias_hh, first, self.weight_hh.T)

    def candidate(self, t: int, projected: Tensor) -> tuple[Tensor, ...]:
        """c̃ of all rows from W_ih x_t + b_ih, Float[B, 3N]."""
        n = self.hidden
        h, sigmoids, recurrent_new = self.history[0][t], self.sigmoids[t], self.recurrent_new[t]
        torch.sigmoid(projected[:, : 2 * n] + self.product[:, : 2 * n], out=sigmoids)
        recurrent_new.copy_(self.product[:, 2 * n :])
        new = torch.addcmul(projected[:, 2 * n :], sigmoids[:, :n], recurrent_new)
        torch.tanh(new, out=self.news[t])
        return (torch.lerp(self.news[t], h, sigmoids[:, n:]),)

    def refresh(self, t: int, rows: Tensor | None) -> None:
        """Renew the recurrent product of the rows (all, if None) that input t has changed."""
        h = self.history[0][t + 1]
        if rows is None:
            torch.addmm(self.bias_hh, h, self.weight_hh.T, out=self.product)
        elif len(rows):
            self.product[rows] = torch.addmm(self.bias_hh, h[rows], self.weight_hh.T)

    def inner(self, t: int, grad: list[Tensor], blank: Tensor | None) -> Tensor:
        """<ds_t, c̃ - s_{t-1}>, Float[B]; rows in ``blank`` (Bool[B]) have no candidate and count 0."""
        difference = self.news[t] - self.history[0][t]
        difference.addcmul_(difference, self.sigmoids[t, :, self.hidden :], value=-1)
        if blank is not None:
            difference.masked_fill_(blank.unsqueeze(-1), 0)
        return torch.linalg.vecdot(grad[0], difference)

    def prepare_backward(self, pairs: Tensor) -> None:
        """Local derivatives at the processed ``pairs``, Long[P] into [T · B]."""
        n = self.hidden
        sigmoids, new = self.sigmoids.flatten(0, 1)[pairs], self.news.flatten(0, 1)[pairs]
        recurrent_new = self.recurrent_new.flatten(0, 1)[pairs]
        self.before = self.history[0][:-1].flatten(0, 1)[pairs]
        reset, self.keep = sigmoids[:, :n], sigmoids[:, n:]
        by_new = (1 - self.keep) * (1 - new * new)
        by_update = (self.before - new) * self.keep * (1 - self.keep)
        by_reset = by_new * recurrent_new * reset * (1 - reset)
        # Order: recurrent new | reset | update | input new, so that both products read one contiguous block.
        self.local = torch.stack([by_new * reset, by_reset, by_update, by_new], dim=1)
        self.grads = torch.empty_like(self.local).flatten(1)
        rolled = self.weight_hh.view(3, n, n)[[2, 0, 1]]
        self.weight_rolled = rolled.reshape(3 * n, n)

    def step_backward(
        self, grad: tuple[Tensor, ...], start: int, end: int, below: bool
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """From dc̃ of the pairs [start, end) to (ds_{t-1},) and, if ``below``, dx."""
        n = self.hidden
        (dh,) = grad
        gates = self.grads[start:end]
        torch.mul(dh.unsqueeze(1), self.local[start:end], out=gates.view(-1, 4, n))
        before = torch.addmm(dh * self.keep[start:end], gates[:, : 3 * n], self.weight_rolled)
        return (before,), gates[:, n:] @ self.weight_ih if below else None

    def weight_grads(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Gradients of weight_ih, weight_hh, bias_ih, bias_hh; ``inputs`` Float[P, D] are the pairs' inputs."""
        n = self.hidden
        recurrent, projected = self.grads[:, : 3 * n], self.grads[:, n:]
        weight_hh = (recurrent.T @ self.before).view(3, n, n)[[1, 2, 0]].reshape(3 * n, n)
        bias_hh = recurrent.sum(0).view(3, n)[[1, 2, 0]].reshape(3 * n)
        return projected.T @ inputs, weight_hh, projected.sum(0), bias_hh

    def input_grads(self) -> Tensor:
        """dx of the processed pairs, Float[P, D]."""
        return self.grads[:, self.hidden :] @ self.weight_ih
