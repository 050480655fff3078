"""The gates of the training node: who decides, and how the decision's gradient flows back."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from skipw import equations
from skipw.ops.call import Call, Gate, GateKind
from skipw.ops.compact.windows import Windows, last_position

__all__ = ["TrainingGate", "make_gate"]

Grads = tuple[Tensor | None, ...]
"""Of gate weight, gate bias, importance, accumulated, increment, last input."""


class TrainingGate(ABC):
    """What the two loops of ``Scan`` ask of a gate. B rows, N hidden units."""

    windows: Windows | None = None

    def __init__(self, call: Call, updates: Tensor) -> None:
        self.call, self.updates = call, updates
        self.num_steps, self.batch = updates.shape
        steps = torch.arange(self.num_steps, device=updates.device)
        self.alive = steps.unsqueeze(-1) < call.lengths  # Bool[T, B]
        self.ragged = not bool(self.alive.all())
        self.masks = torch.zeros_like(updates)

    @abstractmethod
    def begin(self, start: int, end: int, view: Tensor) -> None:
        """Before the inputs [start, end), which lie in one window under one operating point."""

    def decide(self, t: int) -> tuple[Tensor, Tensor | None]:
        """Bool[B] and the processed rows, Long[b]; None for all of them."""
        mask = self.masks[t]
        rows = mask.nonzero().squeeze(1)
        return mask, None if len(rows) == self.batch else rows

    def after(self, t: int, mask: Tensor, candidate: Tensor) -> None:
        """After input t; ``candidate`` Float[B, N] is the gate's view of c̃."""
        return

    @abstractmethod
    def outcome(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Values Float[B, T], then importance, accumulated and increment (empty where there is none)."""

    def start_backward(
        self,
        pairs: Tensor,
        d_updates: Tensor | None,
        d_values: Tensor | None,
        d_gate: list[Tensor | None],
        views: Tensor,
    ) -> None:
        """Take the gradients of the outputs; ``views`` Float[T + 1, B, N] is the gate's view of the states."""
        return

    def step_backward(self, t: int, rows: Tensor | None, d_update: Tensor) -> Tensor | None:
        """Input t: from du_t, Float[B], to the gradient of the processed rows' candidate view, if any."""
        return None

    def open_backward(self, t: int, flow: list[Tensor]) -> None:
        """A window's opening before input t: add to the running gradient of the top layer's state."""
        return

    @abstractmethod
    def input_grads(self) -> Grads:
        """The gradients of what the gate got from outside."""

    def add_to_inputs(self, d_inputs: Tensor) -> None:
        """Add what the gate asks of the inputs that it saw itself; ``d_inputs`` Float[T * B, D]."""
        return


def make_gate(call: Call, updates: Tensor) -> TrainingGate:
    """The gate of a call; ``updates`` Bool[T, B] is shared with the loop."""
    assert call.gate is not None  # without a gate, ``forced`` serves the call
    if call.gate.kind is GateKind.WINDOW:
        return WindowGate(call, call.gate, updates)
    return AccumulatingGate(call, call.gate, updates)


class WindowGate(TrainingGate):
    """SkipW (eqs. 6-10)."""

    def __init__(self, call: Call, gate: Gate, updates: Tensor) -> None:
        super().__init__(call, updates)
        self.gate = gate
        self.windows = Windows(call, gate, updates)
        self.values = call.x.new_zeros(self.batch, self.num_steps)
        self.openings: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        width = call.x.shape[2]
        self.sees_importance = gate.columns_of("importance", width)
        self.sees_input = gate.columns_of("input", width)
        self.seen: list[tuple[Tensor, Tensor]] = []  # backward: which input each row's gate saw, its gradient

    def begin(self, start: int, end: int, view: Tensor) -> None:
        windows = self.windows
        assert windows is not None
        opened = windows.begin(start, view)
        if opened is not None:
            alive, beside = opened
            features = torch.cat([view, beside], -1) if beside.shape[1] else view
            self.openings[start] = (alive, features, windows.importance)
        self.masks[start:end] = windows.masks(start, end).T
        self.values[:, start:end] = windows.values(start, end)

    def outcome(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        assert self.windows is not None
        empty = self.values.new_zeros(0)
        # Copies: what the node returns must not be what it keeps, or the two would keep each other alive.
        return self.values.clone(), self.windows.importance.clone(), empty, empty

    def start_backward(
        self,
        pairs: Tensor,
        d_updates: Tensor | None,
        d_values: Tensor | None,
        d_gate: list[Tensor | None],
        views: Tensor,
    ) -> None:
        assert self.windows is not None
        importance = self.windows.importance
        self.d_importance = torch.zeros_like(importance) if d_gate[0] is None else d_gate[0]
        # du_t plus what values and updates ask
        self.d_slots = importance.new_zeros(self.batch, self.num_steps)
        for given in (d_updates, d_values):
            if given is not None:
                self.d_slots = self.d_slots + given
        self.d_weight = torch.zeros_like(self.gate.weight)
        self.d_bias = torch.zeros_like(self.gate.bias)
        self.seen = []
        self.pending = self.num_steps

    def step_backward(self, t: int, rows: Tensor | None, d_update: Tensor) -> Tensor | None:
        self.d_slots[:, t] += d_update
        return None

    def _collect(self, start: int) -> None:
        """Bring the gradients of [start, pending) to their slots of the window's importance."""
        assert self.windows is not None
        slot = self.windows.slot(start)
        width = self.pending - start
        arrived = self.d_slots[:, start : self.pending]
        if self.ragged:
            arrived = torch.where(self.alive[start : self.pending].T, arrived, 0)
        padded = torch.zeros_like(self.d_importance)
        padded[:, slot : slot + width] = arrived
        self.d_importance = self.d_importance + padded
        self.pending = start

    def open_backward(self, t: int, flow: list[Tensor]) -> None:
        opening = self.openings.get(t)
        if opening is None:
            return
        self._collect(t)
        alive, features, importance = opening
        column = alive.unsqueeze(-1)
        d_logit = torch.where(column, self.d_importance * importance * (1 - importance), 0)
        weight = self.gate.weight.detach()
        before = 0 if self.sees_importance is None else d_logit @ weight[:, self.sees_importance]
        self.d_importance = torch.where(column, before, self.d_importance)
        if self.sees_input is not None:
            self.seen.append((last_position(self.updates, t), d_logit @ weight[:, self.sees_input]))
        self.d_weight += d_logit.T @ features
        self.d_bias += d_logit.sum(0)
        factor = self.gate.state_gradient
        if factor != 0:
            hidden = flow[-1].shape[1]
            flow[-1] = flow[-1] + factor * (d_logit @ weight[:, :hidden])

    def input_grads(self) -> Grads:
        if self.pending > 0:
            self._collect(0)
        d_last: Tensor | None = None
        if self.call.state.last_input is not None:
            d_last = torch.zeros_like(self.call.state.last_input)
            for last, grad in self.seen:
                d_last += torch.where((last < 0).unsqueeze(-1), grad, 0)
        return self.d_weight, self.d_bias, self.d_importance, None, None, d_last

    def add_to_inputs(self, d_inputs: Tensor) -> None:
        rows = torch.arange(self.batch, device=d_inputs.device)
        for last, grad in self.seen:
            here = last >= 0
            d_inputs.index_add_(0, last[here] * self.batch + rows[here], grad[here])


class AccumulatingGate(TrainingGate):
    """ThrRNN and SkipRNN (eqs. 1-3)."""

    def __init__(self, call: Call, gate: Gate, updates: Tensor) -> None:
        super().__init__(call, updates)
        self.gate = gate
        assert call.state.accumulated is not None and call.state.increment is not None
        self.accumulated, self.increment = call.state.accumulated.detach(), call.state.increment.detach()
        shape = (self.num_steps, self.batch)
        self.values = call.x.new_zeros(shape)  # ũ_t
        self.increments = call.x.new_zeros(shape)  # Δũ_{t-1}
        self.probabilities = call.x.new_zeros(shape)
        self.switches = dict(call.schedule)
        self.point = self.switches[0]

    def begin(self, start: int, end: int, view: Tensor) -> None:
        return

    def decide(self, t: int) -> tuple[Tensor, Tensor | None]:
        self.point = self.switches.get(t, self.point)
        self.values[t], self.increments[t] = self.accumulated, self.increment
        mask = equations.binarise(self.accumulated, self.point.threshold)
        self.masks[t] = mask & self.alive[t] if self.ragged else mask
        return super().decide(t)

    def after(self, t: int, mask: Tensor, candidate: Tensor) -> None:
        probability = equations.gate_probability(candidate, self.gate.weight, self.gate.bias)
        self.probabilities[t] = probability
        waited = torch.clamp(self.accumulated + self.increment, max=1.0)
        accumulated = torch.where(mask, probability, waited)
        increment = torch.where(mask, probability, self.increment)
        if self.ragged:
            accumulated = torch.where(self.alive[t], accumulated, self.accumulated)
            increment = torch.where(self.alive[t], increment, self.increment)
        self.accumulated, self.increment = accumulated, increment

    def outcome(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        values = torch.where(self.alive, self.values, 0).T
        return values, values.new_zeros(0), self.accumulated.clone(), self.increment.clone()

    def start_backward(
        self,
        pairs: Tensor,
        d_updates: Tensor | None,
        d_values: Tensor | None,
        d_gate: list[Tensor | None],
        views: Tensor,
    ) -> None:
        zero = torch.zeros_like(self.accumulated)
        self.d_accumulated = zero if d_gate[1] is None else d_gate[1]
        self.d_increment = zero if d_gate[2] is None else d_gate[2]
        self.d_updates, self.d_values, self.views = d_updates, d_values, views
        waiting = self.values + self.increments
        self.passes = (waiting <= 1).to(waiting.dtype)
        self.waited = waiting.clamp(max=1.0)
        self.slopes = self.probabilities * (1 - self.probabilities)
        self.d_logits = torch.zeros_like(self.values)

    def step_backward(self, t: int, rows: Tensor | None, d_update: Tensor) -> Tensor | None:
        d_accumulated, d_increment = self.d_accumulated, self.d_increment
        p, alive, mask = self.probabilities[t], self.alive[t], self.updates[t]
        d_gate = d_update + d_increment * (p - self.increments[t]) + d_accumulated * (p - self.waited[t])
        if self.d_updates is not None:
            d_gate = d_gate + self.d_updates[:, t]
        if self.d_values is not None:
            d_gate = d_gate + self.d_values[:, t]
        d_waited = torch.where(mask, 0, d_accumulated * self.passes[t])
        d_probability = torch.where(mask, d_increment + d_accumulated, 0)
        accumulated, increment = d_waited + d_gate, torch.where(mask, 0, d_increment) + d_waited
        if self.ragged:
            accumulated = torch.where(alive, accumulated, d_accumulated)
            increment = torch.where(alive, increment, d_increment)
        self.d_accumulated, self.d_increment = accumulated, increment
        d_logit = d_probability * self.slopes[t]
        self.d_logits[t] = d_logit
        if self.gate.state_gradient == 0:
            return None
        chosen = d_logit if rows is None else d_logit[rows]
        return self.gate.state_gradient * chosen.unsqueeze(-1) * self.gate.weight.detach()

    def input_grads(self) -> Grads:
        # A candidate that was processed is the state after its input.
        logits = self.d_logits.flatten()
        d_weight = logits @ self.views[1:].flatten(0, 1)
        d_bias = logits.sum().unsqueeze(0)
        return d_weight.unsqueeze(0), d_bias, None, self.d_accumulated, self.d_increment, None
