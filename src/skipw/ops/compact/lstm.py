"""One LSTM layer over a call: candidates of all rows forward, processed rows alone backward."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Layer"]


class Layer:
    """torch.nn.LSTMCell unrolled over T inputs. B rows, N hidden units, P processed (t, row) pairs.

    i, f, o = σ(gx + gh), g = tanh(gx + gh), c̃ = f c + i g, h̃ = o tanh(c̃), with gh = W_hh h + b_hh kept from the
    last processed input.

    Attributes:
        history: (h, c), Float[T + 1, B, N] each, before each input and after the last.
    """

    gates = 4

    def __init__(self, weights: tuple[Tensor, ...], state: tuple[Tensor, ...], num_steps: int) -> None:
        self.weight_ih, self.weight_hh, self.input_bias, self.bias_hh = (w.detach() for w in weights)
        batch, hidden = state[0].shape
        self.hidden = hidden
        self.history = tuple(part.new_empty(num_steps + 1, batch, hidden) for part in state)
        for history, part in zip(self.history, state, strict=True):
            history[0] = part
        self.activations = state[0].new_empty(num_steps, batch, 4 * hidden)
        self.tanh_cell = state[0].new_empty(num_steps, batch, hidden)
        self.product = torch.addmm(self.bias_hh, state[0], self.weight_hh.T)

    def candidate(self, t: int, projected: Tensor) -> tuple[Tensor, ...]:
        """(h̃, c̃) of all rows from W_ih x_t + b_ih, Float[B, 4N]."""
        n, gates = self.hidden, self.activations[t]
        torch.add(projected, self.product, out=gates)
        gates[:, : 2 * n].sigmoid_()
        gates[:, 2 * n : 3 * n].tanh_()
        gates[:, 3 * n :].sigmoid_()
        cell = torch.mul(gates[:, :n], gates[:, 2 * n : 3 * n])
        cell.addcmul_(gates[:, n : 2 * n], self.history[1][t])
        torch.tanh(cell, out=self.tanh_cell[t])
        return gates[:, 3 * n :] * self.tanh_cell[t], cell

    def refresh(self, t: int, rows: Tensor | None) -> None:
        """Renew the recurrent product of the rows (all, if None) that input t has changed."""
        h = self.history[0][t + 1]
        if rows is None:
            torch.addmm(self.bias_hh, h, self.weight_hh.T, out=self.product)
        elif len(rows):
            self.product[rows] = torch.addmm(self.bias_hh, h[rows], self.weight_hh.T)

    def inner(self, t: int, grad: list[Tensor], blank: Tensor | None) -> Tensor:
        """<ds_t, c̃ - s_{t-1}> over h and c, Float[B]; rows in ``blank`` (Bool[B]) have no candidate and count 0."""
        n, gates = self.hidden, self.activations[t]
        before, cell = self.history[0][t], self.history[1][t]
        hidden = torch.addcmul(-before, gates[:, 3 * n :], self.tanh_cell[t])
        cell = torch.addcmul((gates[:, n : 2 * n] - 1) * cell, gates[:, :n], gates[:, 2 * n : 3 * n])
        if blank is not None:
            hidden.masked_fill_(blank.unsqueeze(-1), 0)
            cell.masked_fill_(blank.unsqueeze(-1), 0)
        return torch.linalg.vecdot(grad[0], hidden) + torch.linalg.vecdot(grad[1], cell)

    def prepare_backward(self, pairs: Tensor) -> None:
        """Local derivatives at the processed ``pairs``, Long[P] into [T · B]."""
        i, f, g, o = self.activations.flatten(0, 1)[pairs].chunk(4, dim=-1)
        tanh_cell = self.tanh_cell.flatten(0, 1)[pairs]
        cell = self.history[1][:-1].flatten(0, 1)[pairs]
        self.before = self.history[0][:-1].flatten(0, 1)[pairs]
        self.forget = f
        self.cell_by_output = o * (1 - tanh_cell * tanh_cell)
        self.by_output = tanh_cell * o * (1 - o)
        self.local = torch.stack([g * i * (1 - i), cell * f * (1 - f), i * (1 - g * g)], dim=1)
        self.grads = torch.empty(len(pairs), 4 * self.hidden, dtype=f.dtype, device=f.device)

    def step_backward(
        self, grad: tuple[Tensor, ...], start: int, end: int, below: bool
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """From (dh̃, dc̃) of the pairs [start, end) to (dh_{t-1}, dc_{t-1}) and, if ``below``, dx."""
        n = self.hidden
        dh, dc = grad
        gates = self.grads[start:end]
        cell = torch.addcmul(dc, dh, self.cell_by_output[start:end])
        gates.view(-1, 4, n)[:, :3] = cell.unsqueeze(1) * self.local[start:end]
        gates[:, 3 * n :] = dh * self.by_output[start:end]
        before = (gates @ self.weight_hh, cell * self.forget[start:end])
        return before, gates @ self.weight_ih if below else None

    def weight_grads(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Gradients of weight_ih, weight_hh, bias_ih, bias_hh; ``inputs`` Float[P, D] are the pairs' inputs."""
        bias = self.grads.sum(0)
        return self.grads.T @ inputs, self.grads.T @ self.before, bias, bias.clone()

    def input_grads(self) -> Tensor:
        """dx of the processed pairs, Float[P, D]."""
        return self.grads @ self.weight_ih
