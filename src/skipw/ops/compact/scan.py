"""The two loops over time behind the training node: forward over all inputs, backward over the processed ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from skipw.ops.call import Call
from skipw.ops.compact.gates import make_gate
from skipw.ops.compact.windows import spans
from skipw.ops.state import parts

__all__ = ["LayerKernel", "Scan"]


class LayerKernel(Protocol):
    """What ``gru.Layer``, ``lstm.Layer`` and ``fastgrnn.Layer`` offer."""

    history: tuple[Tensor, ...]
    weight_ih: Tensor
    input_bias: Tensor

    def candidate(self, t: int, projected: Tensor) -> tuple[Tensor, ...]: ...
    def refresh(self, t: int, rows: Tensor | None) -> None: ...
    def inner(self, t: int, grad: list[Tensor], blank: Tensor | None) -> Tensor: ...
    def prepare_backward(self, pairs: Tensor) -> None: ...
    def step_backward(
        self, grad: tuple[Tensor, ...], start: int, end: int, below: bool
    ) -> tuple[tuple[Tensor, ...], Tensor | None]: ...
    def weight_grads(self, inputs: Tensor) -> tuple[Tensor, ...]: ...
    def input_grads(self) -> Tensor: ...


class Scan:
    """One call's forward and backward pass.

    Tensor order of the autograd node, in: x, gate weight, gate bias, importance, accumulated, increment, last input,
    the parts of each layer's state, then ``num_weights`` weights a layer. Out: outputs, updates, values, importance,
    accumulated, increment, the parts of each layer's state.
    """

    def __init__(self, call: Call, kernel: Callable[..., LayerKernel], num_weights: int) -> None:
        self.call, self.kernel, self.num_weights = call, kernel, num_weights
        self.num_parts = len(parts(call.state.layers[0]))

    def forward(self, tensors: tuple[Tensor | None, ...]) -> tuple[Tensor, ...]:
        call = self.call
        x = call.x.detach()
        batch, num_steps, _ = x.shape
        count = len(call.cells)
        states, weights = self._grouped(tensors[7:])
        self.layers: list[LayerKernel] = [self.kernel(weights[k], states[k], num_steps) for k in range(count)]
        self.inputs = x.transpose(0, 1).reshape(num_steps * batch, -1)
        first = self.layers[0]
        projected = torch.addmm(first.input_bias, self.inputs, first.weight_ih.T).view(num_steps, batch, -1)
        self.updates = torch.zeros(num_steps, batch, dtype=torch.bool, device=x.device)
        finite = torch.isfinite(x).all(-1)
        self.unreadable = None if bool(finite.all()) else ~finite.T
        self.gate = make_gate(call, self.updates)
        self.rows: list[Tensor | None] = []
        for start, end in spans(call):
            self.gate.begin(start, end, self._view(start))
            for t in range(start, end):
                self._step(t, projected[t])
        return self._answer(x)

    def _step(self, t: int, projected: Tensor) -> None:
        mask, rows = self.gate.decide(t)
        self.updates[t] = mask
        self.rows.append(rows)
        column = mask.unsqueeze(-1)
        kept = None if self.unreadable is None else (self.unreadable[t] & ~mask).unsqueeze(-1)
        candidate: tuple[Tensor, ...] = ()
        for layer in self.layers:
            if layer is not self.layers[0]:
                projected = torch.addmm(layer.input_bias, candidate[0], layer.weight_ih.T)
            candidate = layer.candidate(t, projected)
            if kept is not None:
                candidate = tuple(
                    torch.where(kept, history[t], part)
                    for history, part in zip(layer.history, candidate, strict=True)
                )
            for history, part in zip(layer.history, candidate, strict=True):
                if rows is None:
                    history[t + 1] = part
                else:
                    torch.where(column, part, history[t], out=history[t + 1])
            layer.refresh(t, rows)
        self.gate.after(t, mask, candidate[-1])

    def _view(self, t: int) -> Tensor:
        """What drives the gate before input t: the last part of the top layer's state."""
        return self.layers[-1].history[-1][t]

    def _grouped(
        self, tensors: tuple[Tensor | None, ...]
    ) -> tuple[list[tuple[Tensor, ...]], list[tuple[Tensor, ...]]]:
        count, width = len(self.call.cells), self.num_parts
        flat: list[Tensor] = [tensor for tensor in tensors if tensor is not None]
        states = [tuple(flat[k * width : (k + 1) * width]) for k in range(count)]
        rest, many = flat[count * width :], self.num_weights
        return states, [tuple(rest[many * k : many * (k + 1)]) for k in range(count)]

    def _answer(self, x: Tensor) -> tuple[Tensor, ...]:
        top = self.layers[-1].history[0]
        output = top[1:].transpose(0, 1) if self.call.outputs == "all" else x.new_empty(0)
        last = [history[-1].clone() for layer in self.layers for history in layer.history]
        return (output, self.updates.T.to(x.dtype), *self.gate.outcome(), *last)

    # Backward -----------------------------------------------------------------------------------------------------

    def backward(
        self,
        tensors: tuple[Tensor | None, ...],
        grads: tuple[Tensor | None, ...],
        needed: tuple[bool, ...],
    ) -> tuple[Tensor | None, ...]:
        d_output, d_updates, d_values, *d_gate = grads[:6]
        num_steps = len(self.updates)
        flows = self._last_grads(grads[6:])
        pairs = self.updates.flatten().nonzero().squeeze(1)
        ends = self.updates.sum(1).cumsum(0).tolist()
        for layer in self.layers:
            layer.prepare_backward(pairs)
        unread = None if self.unreadable is None else self.unreadable & ~self.updates
        self.gate.start_backward(pairs, d_updates, d_values, d_gate, self.layers[-1].history[-1])
        for t in range(num_steps - 1, -1, -1):
            if d_output is not None:
                flows[-1][0] = flows[-1][0] + d_output[:, t]
            blank = None if unread is None else unread[t]
            d_update = self.layers[0].inner(t, flows[0], blank)
            for layer, flow in zip(self.layers[1:], flows[1:], strict=True):
                d_update = d_update + layer.inner(t, flow, blank)
            d_view = self.gate.step_backward(t, self.rows[t], d_update)
            start = ends[t - 1] if t else 0
            if ends[t] > start:
                self._cell_backward(self.rows[t], flows, start, ends[t], d_view)
            self.gate.open_backward(t, flows[-1])
        return self._input_grads(flows, pairs, needed, tensors)

    def _last_grads(self, grads: tuple[Tensor | None, ...]) -> list[list[Tensor]]:
        """The gradients of the final state, as running tensors: [layer][part] Float[B, N]."""
        flat = iter(grads)
        flows = []
        for layer in self.layers:
            given = [next(flat) for _ in layer.history]
            flows.append(
                [
                    torch.zeros_like(history[0]) if grad is None else grad
                    for grad, history in zip(given, layer.history, strict=True)
                ]
            )
        return flows

    def _cell_backward(
        self, rows: Tensor | None, flows: list[list[Tensor]], start: int, end: int, d_view: Tensor | None
    ) -> None:
        """Through the cells of one input's processed rows (all, if ``rows`` is None), top layer first."""
        below: Tensor | None = None
        for k in range(len(self.layers) - 1, -1, -1):
            flow = flows[k]
            grad = [part if rows is None else part[rows] for part in flow]
            if below is not None:
                grad[0] = grad[0] + below
            if d_view is not None and k == len(self.layers) - 1:
                grad[-1] = grad[-1] + d_view
            before, below = self.layers[k].step_backward(tuple(grad), start, end, below=k > 0)
            for p, part in enumerate(before):
                flow[p] = part if rows is None else flow[p].index_copy(0, rows, part)

    def _input_grads(
        self,
        flows: list[list[Tensor]],
        pairs: Tensor,
        needed: tuple[bool, ...],
        tensors: tuple[Tensor | None, ...],
    ) -> tuple[Tensor | None, ...]:
        d_x = None
        if needed[0]:
            num_steps, batch = self.updates.shape
            flat = torch.zeros_like(self.inputs)
            flat[pairs] = self.layers[0].input_grads()
            self.gate.add_to_inputs(flat)
            d_x = flat.view(num_steps, batch, -1).transpose(0, 1)
        inputs = self.inputs[pairs]
        d_weights: list[Tensor] = []
        for layer in self.layers:
            d_weights += layer.weight_grads(inputs)
            inputs = layer.history[0][1:].flatten(0, 1)[pairs]
        d_states = [part for flow in flows for part in flow]
        return (d_x, *self.gate.input_grads(), *d_states, *d_weights)
