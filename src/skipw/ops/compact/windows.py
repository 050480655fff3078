"""Bookkeeping of one call whose rows stand at the same offset: windows, switches, counters."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from skipw import equations
from skipw.ops.any_window import recent_after, select_k_of_any
from skipw.ops.call import Call, Gate
from skipw.ops.state import SkipState

__all__ = ["Windows", "advanced", "last_input_at", "last_position", "last_update_at", "spans"]


def spans(call: Call) -> list[tuple[int, int]]:
    """The call's inputs cut where a window opens or the operating point switches: [start, end) pairs."""
    num_steps = call.x.shape[1]
    cuts = {0, num_steps}
    if call.gate is not None and call.window is not None:
        first = (call.window - int(call.state.offset[0])) % call.window
        cuts.update(range(first, num_steps, call.window))
        cuts.update(start for start, _ in call.schedule if start < num_steps)
    marks = sorted(cuts)
    return list(pairwise(marks))


class Windows:
    """The importance and the selection of the current window of every row (eqs. 6-10).

    ``updates`` Bool[T, B] is shared with the caller, who fills row t when input t is done; the inputs used in the
    current window are counted from it when they are needed.
    """

    def __init__(self, call: Call, gate: Gate, updates: Tensor) -> None:
        state = call.state
        assert state.importance is not None and state.selected is not None and gate.window is not None
        self.call, self.gate, self.updates = call, gate, updates
        self.importance, self.selected, self.noise = state.importance, state.selected, state.noise
        self.window: int = gate.window
        self.first_offset = int(state.offset[0])
        self.switches = dict(call.schedule)
        assert state.budget is not None and state.threshold is not None
        self.budget, self.threshold = state.budget, state.threshold
        self.point = self.switches[0]
        self.opened = 0
        self.carried = state.used
        self.since = 0

    def slot(self, t: int) -> int:
        """Offset of input t in its window (eq. 8)."""
        return (self.first_offset + t) % self.window

    def begin(self, t: int, view: Tensor) -> tuple[Tensor, Tensor] | None:
        """Make the decisions due before input t, given the gate's view of the state, Float[B, N].

        Returns:
            (opening Bool[B], Float[B, F] of what the gate sees beside the view, F >= 0) if windows opened, else None.
        """
        slot = self.slot(t)
        self.point = self.switches.get(t, self.point)
        alive = t < self.call.lengths
        if slot != 0:
            budget, threshold = self.point.budget_in(self.window), self.point.threshold
            again = alive & ((self.budget != budget) | (self.threshold != threshold))
            if bool(again.any()):
                self._select(t, slot, again)
            return None
        beside = self._open(t, view, alive)
        self._select(t, slot, alive)
        return alive, beside

    def _open(self, t: int, view: Tensor, alive: Tensor) -> Tensor:
        state, gate = self.call.state, self.gate
        waits = gate.time_feature == "since_update" or "since_update" in gate.inputs
        last = last_update_at(self.updates, t, state) if waits else state.step
        time = gate.time(state.step + t, last)
        last_input = last_input_at(self.call, self.updates, t) if "input" in gate.inputs else None
        budget = self.point.budget_in(self.window)
        extras = gate.extras(state.step + t, last, self.importance, last_input, budget)
        fresh = equations.window_importance(view, time, gate.weight, gate.bias, extras)
        column = alive.unsqueeze(-1)
        self.importance = torch.where(column, fresh, self.importance)
        if self.call.noise is not None and self.noise is not None:
            self.noise = torch.where(column, self.call.noise[self.opened], self.noise)
        self.carried = torch.where(alive, 0, self.used(t))
        self.since, self.opened = t, self.opened + 1
        seen = [] if time is None else [time.unsqueeze(-1)]
        return torch.cat([*seen, view.new_zeros(len(view), 0) if extras is None else extras], -1)

    def _select(self, t: int, slot: int, rows: Tensor) -> None:
        point, budget = self.point, self.point.budget_in(self.window)
        offset = torch.full_like(self.call.state.step, slot)
        how: dict[str, Any] = {"select": self.gate.select, "noise": self.noise, "threshold": point.threshold}
        if self.gate.bound == "any":
            before = self.call.state.recent
            assert before is not None
            recent = recent_after(before, self.updates[:t].T, t)
            choice = select_k_of_any(self.importance, budget, recent, offset=offset, **how)
        else:
            limit = (budget - self.used(t)).clamp(min=0)
            choice = equations.select_k(self.importance, limit, offset=offset, **how)
        self.selected = torch.where(rows.unsqueeze(-1), choice, self.selected)
        self.budget = torch.where(rows, budget, self.budget)
        self.threshold = torch.where(rows, point.threshold, self.threshold)

    def used(self, t: int) -> Tensor:
        """Inputs processed so far in each row's current window, Long[B]."""
        return self.carried + self.updates[self.since : t].sum(0)

    def masks(self, start: int, end: int) -> Tensor:
        """Which inputs of [start, end), all in one window, are processed (eq. 10): Bool[B, end - start]."""
        slots = slice(self.slot(start), self.slot(start) + end - start)
        steps = torch.arange(start, end, device=self.selected.device)
        reached = equations.binarise(self.importance[:, slots], self.point.threshold)
        return self.selected[:, slots] & reached & (steps < self.call.lengths.unsqueeze(-1))

    def values(self, start: int, end: int) -> Tensor:
        """The importance that the gate compares at [start, end): Float[B, end - start], 0 beyond the lengths."""
        slots = slice(self.slot(start), self.slot(start) + end - start)
        steps = torch.arange(start, end, device=self.selected.device)
        return torch.where(steps < self.call.lengths.unsqueeze(-1), self.importance[:, slots], 0)


def last_update_at(updates: Tensor, t: int, state: SkipState) -> Tensor:
    """Index of the last input processed before input t of this call, Long[B]; ``updates`` is Bool[T, B]."""
    last = last_position(updates, t)
    return torch.where(last >= 0, state.step + last, state.last_update)


def last_position(updates: Tensor, t: int) -> Tensor:
    """Which of this call's inputs was the last one processed before input t, Long[B]; -1 for none."""
    if t == 0:
        return torch.full(updates.shape[1:], -1, dtype=torch.long, device=updates.device)
    steps = torch.arange(t, device=updates.device).unsqueeze(-1)
    return torch.where(updates[:t], steps, -1).amax(0)


def last_input_at(call: Call, updates: Tensor, t: int) -> Tensor:
    """The last input processed before input t of this call, Float[B, D]; ``updates`` is Bool[T, B]."""
    before = call.state.last_input
    assert before is not None
    last = last_position(updates, t)
    if call.x.shape[1] == 0:
        return before
    found = call.x[torch.arange(len(last), device=last.device), last.clamp(min=0)]
    return torch.where((last >= 0).unsqueeze(-1), found, before)


def advanced(call: Call, updates: Tensor, windows: Windows | None) -> dict[str, object]:
    """The counters of the state after this call, each row at its own end. ``updates`` is Bool[T, B]."""
    state, num_steps = call.state, updates.shape[0]
    step = state.step + call.lengths
    changes: dict[str, object] = {
        "step": step,
        "last_update": last_update_at(updates, num_steps, state),
    }
    if state.recent is not None:
        changes["recent"] = recent_after(state.recent, updates.T, call.lengths)
    if state.last_input is not None:
        changes["last_input"] = last_input_at(call, updates, num_steps)
    if windows is not None:
        changes |= {
            "used": windows.used(num_steps),
            "importance": windows.importance,
            "selected": windows.selected,
            "noise": windows.noise,
            "budget": windows.budget,
            "threshold": windows.threshold,
        }
    elif call.window is None:
        changes["used"] = state.used + updates.sum(0)
    else:
        changes |= _forced_window(call, updates, step)
    if call.window is not None:
        changes["offset"] = equations.window_offset(step, call.window)
    return changes


def _forced_window(call: Call, updates: Tensor, step: Tensor) -> dict[str, object]:
    """Forced updates in a model with windows: a window that opened here has importance 0 and no selection."""
    state, num_steps = call.state, updates.shape[0]
    assert call.window is not None and state.importance is not None
    assert state.selected is not None and state.budget is not None
    last_step = (step - 1).clamp(min=0)
    opened_at = last_step - equations.window_offset(last_step, call.window) - state.step
    opened = (opened_at >= 0) & (call.lengths > 0)
    steps = torch.arange(num_steps, device=updates.device).unsqueeze(-1)
    counted = (updates & (steps >= opened_at)).sum(0)
    return {
        "used": torch.where(opened, counted, state.used + updates.sum(0)),
        "importance": torch.where(opened.unsqueeze(-1), 0.0, state.importance),
        "selected": state.selected & ~opened.unsqueeze(-1),
        "budget": torch.where(call.lengths > 0, -1, state.budget),
    }
