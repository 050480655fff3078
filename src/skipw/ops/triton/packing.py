"""Calls as the kernels read them: one tensor for each kind of content, models first (layouts in ``forward``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from skipw.errors import ShapeError
from skipw.operating_point import Schedule
from skipw.ops.call import Call, Gate, GateKind
from skipw.ops.state import parts

__all__ = ["FORCED", "NEVER", "Packed", "Segments", "pack"]

FORCED, WINDOWED, ACCUMULATING = 0, 1, 2
TIMES = {"none": 0, "steps": 1, "window": 2, "since_update": 3}
NEVER = 2**31 - 1


@dataclass(frozen=True)
class Segments:
    """The schedules of all models: S entries each, the last one never begins.

    Attributes:
        table: Int32[M, S, 3], start, budget and number of the operating point.
        thresholds: Float[M, S] in x's dtype.
        budgets, exact_thresholds: Long[M, C] and Float64[M, C], by the number of the operating point.
        points: for each model its distinct (budget, threshold), by number.
    """

    table: Tensor
    thresholds: Tensor
    budgets: Tensor
    exact_thresholds: Tensor
    points: tuple[tuple[tuple[int, float], ...], ...]


@dataclass(frozen=True)
class Packed:
    """What the kernels read. M models of one form, B rows, T inputs of width D, N hidden units, Y layers, P parts.

    Attributes:
        tensors: what gradients flow to, by name: x Float[M or 1, B, T, D], gate_weight, gate_bias, slots (importance,
            Float[M, B, L]), carry (accumulated and increment, Float[M, 2, B]), states Float[M, Y, P, B, N],
            w_in, w_ih, w_hh, b_ih, b_hh.
        rows, flags, slots, noise, settings, segments: see ``forward``.
    """

    tensors: dict[str, Tensor]
    models: int
    batch: int
    steps: int
    hidden: int
    layers: int
    lstm: bool
    gate: int
    window: int
    time: int
    select: str
    keep: bool
    rows: Tensor
    flags: Tensor
    slots: Tensor
    noise: Tensor | None
    settings: Tensor
    segments: Segments

    @property
    def parts(self) -> int:
        return 2 if self.lstm else 1

    @property
    def openings(self) -> int:
        """The most windows that open in any row, W; at least 1, so that no buffer is empty."""
        return max(1, -(-self.steps // self.window)) if self.gate == WINDOWED else 1


def pack(calls: Sequence[Call]) -> Packed:
    """Calls of one form as one.

    Raises:
        ShapeError: if they differ in anything but weights, values, states, lengths, noise and schedules.
    """
    first = calls[0]
    for number, call in enumerate(calls):
        if _form(call) != _form(first):
            raise ShapeError(
                f"calls side by side must be of one form, expected {_form(first)}, got {_form(call)} for call "
                f"{number}; run it apart."
            )
    gate, state = first.gate, first.state
    kind = FORCED if gate is None else WINDOWED if gate.kind is GateKind.WINDOW else ACCUMULATING
    batch, steps, _ = first.x.shape
    segments = _segments(tuple(call.schedule for call in calls), first)
    like = first.x
    return Packed(
        tensors=_tensors(calls, kind),
        models=len(calls),
        batch=batch,
        steps=steps,
        hidden=parts(state.layers[0])[0].shape[-1],
        layers=len(first.cells),
        lstm=isinstance(first.cells[0], nn.LSTMCell),
        gate=kind,
        window=(gate.window or 1) if gate is not None and kind == WINDOWED else 1,
        time=TIMES[gate.time_feature] if gate is not None and kind == WINDOWED else 0,
        select=gate.select if gate is not None else "topk",
        keep=first.outputs == "all",
        rows=torch.stack([_rows(call, segments.points[m]) for m, call in enumerate(calls)]),
        flags=torch.stack([_flags(call) for call in calls]),
        slots=_slots(calls, like) if kind == WINDOWED else like.new_zeros(len(calls), 3, batch, 1),
        noise=_noise(calls),
        settings=_settings(_scales(gate), len(calls), like.dtype, like.device),
        segments=segments,
    )


def _form(call: Call) -> dict[str, Any]:
    """What calls side by side have in common."""
    gate = call.gate
    return {
        "x": (tuple(call.x.shape), call.x.dtype, call.x.device),
        "cells": tuple((type(cell).__name__, cell.input_size, cell.hidden_size) for cell in call.cells),
        "gate": None if gate is None else (gate.kind.value, gate.window, gate.time_feature, gate.select),
        "scales": _scales(gate),
        "window": call.window,
        "forced": call.updates is not None,
        "noise": None if call.noise is None else call.noise.shape[0],
        "outputs": call.outputs,
    }


def _scales(gate: Gate | None) -> tuple[float, float]:
    return (1.0, 1.0) if gate is None else (float(gate.time_scale), float(gate.state_gradient))


def _tensors(calls: Sequence[Call], kind: int) -> dict[str, Tensor]:
    def stacked(pick: Any) -> Tensor:
        return torch.stack([pick(call) for call in calls]) if len(calls) > 1 else pick(calls[0]).unsqueeze(0)

    def of_cells(name: str, start: int = 0) -> Tensor:
        return stacked(lambda call: _stack([getattr(cell, name) for cell in call.cells[start:]]))

    first = calls[0]
    shared = all(call.x is first.x for call in calls)
    blank = first.x.new_zeros(len(calls), 1, 1)
    return {
        "x": first.x.unsqueeze(0) if shared else stacked(lambda call: call.x),
        "gate_weight": blank if kind == FORCED else stacked(lambda call: call.gate.weight),
        "gate_bias": blank if kind == FORCED else stacked(lambda call: call.gate.bias),
        "slots": stacked(lambda call: call.state.importance) if kind == WINDOWED else blank,
        "carry": stacked(lambda call: _stack([call.state.accumulated, call.state.increment]))
        if kind == ACCUMULATING
        else blank,
        "states": stacked(lambda call: _stack([_stack(list(parts(layer))) for layer in call.state.layers])),
        "w_in": stacked(lambda call: call.cells[0].weight_ih),
        "w_ih": of_cells("weight_ih", 1) if len(first.cells) > 1 else blank,
        "w_hh": of_cells("weight_hh"),
        "b_ih": of_cells("bias_ih"),
        "b_hh": of_cells("bias_hh"),
    }


def _stack(tensors: list[Tensor]) -> Tensor:
    return torch.stack(tensors) if len(tensors) > 1 else tensors[0].unsqueeze(0)


def _rows(call: Call, points: tuple[tuple[int, float], ...]) -> Tensor:
    """Long[6, B]: length, offset, step, last_update, used, and the number of the operating point, or -1."""
    state = call.state
    code = torch.full_like(state.step, -1)
    if state.budget is not None and state.threshold is not None and call.gate is not None:
        for number, (budget, threshold) in enumerate(points):
            same = (state.budget == budget) & (state.threshold == threshold)
            code = torch.where(same, number, code)
    return torch.stack([call.lengths, state.offset, state.step, state.last_update, state.used, code])


def _flags(call: Call) -> Tensor:
    """UInt8[T, B]: 1 for a finite input, 2 for one that is processed by order."""
    finite = torch.isfinite(call.x).all(-1).to(torch.uint8)
    forced = 2 if call.updates is None else call.updates.to(torch.uint8) * 2
    return (finite + forced).T.contiguous()


def _slots(calls: Sequence[Call], like: Tensor) -> Tensor:
    """Float[M, 3, B, L]: importance, noise, selected."""
    planes = []
    for call in calls:
        state = call.state
        assert state.importance is not None and state.selected is not None
        noise = torch.zeros_like(state.importance) if state.noise is None else state.noise
        planes.append(torch.stack([state.importance.detach(), noise, state.selected.to(like.dtype)]))
    return torch.stack(planes)


def _noise(calls: Sequence[Call]) -> Tensor | None:
    """Float[M, W', B, L], or None where nothing is drawn or no window opens."""
    drawn = [call.noise for call in calls if call.noise is not None and call.noise.shape[0]]
    return torch.stack(drawn).contiguous() if len(drawn) == len(calls) else None


@lru_cache(maxsize=64)
def _settings(scales: tuple[float, float], models: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor([scales] * models, dtype=dtype, device=device)


def _segments(schedules: tuple[Schedule, ...], call: Call) -> Segments:
    window = call.window or 0
    entries = tuple(
        tuple((start, point.budget_in(window) if window else 0, point.threshold) for start, point in schedule)
        for schedule in schedules
    )
    return _made_segments(entries, call.x.dtype, call.x.device)


@lru_cache(maxsize=64)
def _made_segments(
    entries: tuple[tuple[tuple[int, int, float], ...], ...], dtype: torch.dtype, device: torch.device
) -> Segments:
    """On the device once: a copy at each call would make the program wait for it."""
    width = max(map(len, entries)) + 1
    table, thresholds, points = [], [], []
    for entry in entries:
        distinct = list(dict.fromkeys((budget, threshold) for _, budget, threshold in entry))
        rows = [[start, budget, distinct.index((budget, thr))] for start, budget, thr in entry]
        table.append(rows + [[NEVER, 0, 0]] * (width - len(rows)))
        thresholds.append([thr for _, _, thr in entry] + [0.0] * (width - len(entry)))
        points.append(tuple(distinct))
    most = max(map(len, points))
    padded = [list(known) + [(0, 0.0)] * (most - len(known)) for known in points]
    return Segments(
        table=torch.tensor(table, dtype=torch.int32, device=device),
        thresholds=torch.tensor(thresholds, dtype=dtype, device=device),
        budgets=torch.tensor([[k for k, _ in known] for known in padded], device=device),
        exact_thresholds=torch.tensor(
            [[thr for _, thr in known] for known in padded], dtype=torch.float64, device=device
        ),
        points=tuple(points),
    )
