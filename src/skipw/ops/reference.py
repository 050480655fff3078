"""The truth: one step after the other, every equation from ``equations.py``, any cell, any dtype, autograd throughout.

Each input costs a full cell evaluation here, processed or not, as in the paper's own training (Appendix B). The other
backends are judged against this one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from skipw import equations
from skipw.operating_point import OperatingPoint
from skipw.ops.any_window import recent_after, select_k_of_any
from skipw.ops.call import Call, Gate, GateKind, Result
from skipw.ops.selection_gradient import ranked
from skipw.ops.state import LayerState, SkipState, gate_view, like, output_of, parts

__all__ = ["all_candidates", "run", "scan"]

Candidates: TypeAlias = Callable[[Call, Tensor, tuple[LayerState, ...], Tensor, Tensor], Sequence[LayerState]]
"""(call, x_t, layer states, readable, mask) -> c̃ of every layer."""


def run(call: Call) -> Result:
    """Run a batch of sequences.

    Args:
        call: B sequences of T inputs of width D.
    Returns:
        Outputs, updates, importance and the state at each row's end.
    """
    return scan(call, all_candidates)


def scan(call: Call, candidates_of: Candidates) -> Result:
    """The loop over time, given how candidates are computed."""
    state = call.state
    inputs, finite = call.x.unbind(1), torch.isfinite(call.x).all(-1).unbind(1)
    switches = dict(call.schedule)
    opened = torch.zeros_like(state.step)
    outputs: list[Tensor] = []
    updates: list[Tensor] = []
    values: list[Tensor] = []
    point = switches[0]
    for t, x in enumerate(inputs):
        alive = t < call.lengths
        if call.gate is None:
            state = _forced_window(state, alive, call.window)
            value, mask = _forced(call, t, alive)
            update = asked = mask.to(x.dtype)
        else:
            point = switches.get(t, point)
            if call.gate.kind is GateKind.WINDOW:
                state, opened = _open_window(state, call.gate, point, alive, opened, call.noise)
            value, mask = _gate(state, call.gate, point, alive)
            update = equations.straight_through(mask, value)
            asked = _ranked_update(state, call.gate, point, alive, mask, update)
        readable = finite[t] | mask
        readable_x = torch.where(readable.unsqueeze(-1), x, 0)
        candidates = candidates_of(call, readable_x, state.layers, readable, mask)
        if call.gate is not None and call.gate.kind is GateKind.ACCUMULATE:
            state = _accumulate(state, call.gate, update, candidates[-1], alive)
        state = _advance(state, asked, mask, candidates, alive, call.window)
        if state.last_input is not None:
            last_input = torch.where(mask.unsqueeze(-1), x, state.last_input)
            state = dataclasses.replace(state, last_input=last_input)
        outputs.append(output_of(state.layers[-1]))
        updates.append(update)
        values.append(value)
    return _result(call, state, outputs, updates, values)


def _open_window(
    state: SkipState,
    gate: Gate,
    point: OperatingPoint,
    alive: Tensor,
    opened: Tensor,
    noise: Tensor | None,
) -> tuple[SkipState, Tensor]:
    """Compute ũ_W where a window begins (eqs. 6-8); select anew there and where the operating point changed (eq. 9)."""
    opening = alive & (state.offset == 0)
    used = torch.where(opening, 0, state.used)
    importance, draw = state.importance, state.noise
    assert importance is not None and state.selected is not None and gate.window is not None
    assert state.budget is not None and state.threshold is not None
    budget = point.budget_in(gate.window)
    switched = (state.budget != budget) | (state.threshold != point.threshold)
    again = opening | (alive & switched)
    if bool(opening.any()):
        view = equations.scale_gradient(gate_view(state.layers[-1]), gate.state_gradient)
        time = gate.time(state.step, state.last_update)
        extras = gate.extras(state.step, state.last_update, importance, state.last_input, budget)
        fresh = equations.window_importance(view, time, gate.weight, gate.bias, extras)
        importance = torch.where(opening.unsqueeze(-1), fresh, importance)
        if noise is not None and draw is not None:
            rows = torch.arange(noise.shape[1], device=noise.device)
            drawn = noise[opened.clamp(max=noise.shape[0] - 1), rows]
            draw = torch.where(opening.unsqueeze(-1), drawn, draw)
    selected = state.selected
    if bool(again.any()):
        how: dict[str, Any] = {"select": gate.select, "noise": draw, "threshold": point.threshold}
        if gate.bound == "any":
            assert state.recent is not None
            choice = select_k_of_any(importance, budget, state.recent, offset=state.offset, **how)
        else:
            left = (budget - used).clamp(min=0)
            choice = equations.select_k(importance, left, offset=state.offset, **how)
        selected = torch.where(again.unsqueeze(-1), choice, selected)
    state = dataclasses.replace(
        state,
        importance=importance,
        noise=draw,
        selected=selected,
        used=used,
        budget=torch.where(again, budget, state.budget),
        threshold=torch.where(again, point.threshold, state.threshold),
    )
    return state, opened + opening


def _gate(state: SkipState, gate: Gate, point: OperatingPoint, alive: Tensor) -> tuple[Tensor, Tensor]:
    """The value that the gate compares, Float[B], and its decision, Bool[B] (eqs. 1 and 10)."""
    if gate.kind is GateKind.ACCUMULATE:
        assert state.accumulated is not None
        value, allowed = state.accumulated, alive
    else:
        assert state.importance is not None and state.selected is not None
        slot = state.offset.unsqueeze(-1)
        value = state.importance.gather(-1, slot).squeeze(-1)
        allowed = alive & state.selected.gather(-1, slot).squeeze(-1)
    value = torch.where(alive, value, torch.zeros_like(value))
    return value, allowed & equations.binarise(value, point.threshold)


def _ranked_update(
    state: SkipState, gate: Gate, point: OperatingPoint, alive: Tensor, mask: Tensor, update: Tensor
) -> Tensor:
    """u_t as the state uses it: with the selection's gradient, where that is not the paper's identity."""
    if gate.kind is GateKind.ACCUMULATE or gate.selection_gradient == "identity":
        return update
    assert state.importance is not None and gate.window is not None
    budget = point.budget_in(gate.window)
    values = ranked(
        state.importance, budget, point.threshold, gate.selection_gradient, gate.selection_softness
    )
    value = values.gather(-1, state.offset.unsqueeze(-1)).squeeze(-1)
    return equations.straight_through(mask, torch.where(alive, value, torch.zeros_like(value)))


def _forced(call: Call, t: int, alive: Tensor) -> tuple[Tensor, Tensor]:
    """The caller's decision; nothing was compared, so the value is 0."""
    mask = alive if call.updates is None else alive & call.updates[:, t]
    return torch.zeros_like(mask, dtype=call.x.dtype), mask


def _forced_window(state: SkipState, alive: Tensor, window: int | None) -> SkipState:
    """A window that opens under forced updates has importance 0. A gate that returns in mid-window selects anew."""
    if window is None or state.importance is None or state.selected is None or state.budget is None:
        return state
    opening = alive & (state.offset == 0)
    blank = opening.unsqueeze(-1)
    return dataclasses.replace(
        state,
        used=torch.where(opening, 0, state.used),
        importance=torch.where(blank, 0.0, state.importance),
        selected=state.selected & ~blank,
        budget=torch.where(alive, -1, state.budget),
    )


def all_candidates(
    call: Call, x: Tensor, layers: tuple[LayerState, ...], readable: Tensor, mask: Tensor
) -> list[LayerState]:
    """c̃ of every layer, each reading the candidate below (READINGS: "Candidate of a stack").

    A skipped input that is not finite has no candidate: the state stands in for it, so it changes nothing.
    """
    found: list[LayerState] = []
    for cell, state in zip(call.cells, layers, strict=True):
        candidate = cell(x, state)
        kept = tuple(
            torch.where(readable.unsqueeze(-1), new, old)
            for new, old in zip(parts(candidate), parts(state), strict=True)
        )
        candidate = like(state, kept)
        found.append(candidate)
        x = output_of(candidate)
    return found


def _accumulate(
    state: SkipState, gate: Gate, update: Tensor, candidate: LayerState, alive: Tensor
) -> SkipState:
    """ũ_{t+1} and Δũ_t (eqs. 2 and 3), from the candidate; rows that have ended keep theirs."""
    assert state.accumulated is not None and state.increment is not None
    view = equations.scale_gradient(gate_view(candidate), gate.state_gradient)
    probability = equations.gate_probability(view, gate.weight, gate.bias)
    accumulated, increment = equations.accumulate(update, probability, state.accumulated, state.increment)
    return dataclasses.replace(
        state,
        accumulated=torch.where(alive, accumulated, state.accumulated),
        increment=torch.where(alive, increment, state.increment),
    )


def _advance(
    state: SkipState,
    update: Tensor,
    mask: Tensor,
    candidates: Sequence[LayerState],
    alive: Tensor,
    window: int | None,
) -> SkipState:
    """All layers copy or update together (eq. 5); the counters move on where the row is alive."""
    layers = tuple(
        like(
            old,
            tuple(
                equations.copy_or_update(update, a, b)
                for a, b in zip(parts(candidate), parts(old), strict=True)
            ),
        )
        for candidate, old in zip(candidates, state.layers, strict=True)
    )
    step = state.step + alive
    return dataclasses.replace(
        state,
        layers=layers,
        step=step,
        offset=state.offset if window is None else equations.window_offset(step, window),
        used=state.used + mask,
        last_update=torch.where(mask, state.step, state.last_update),
        recent=None if state.recent is None else recent_after(state.recent, mask.unsqueeze(1), alive.long()),
    )


def _result(
    call: Call, state: SkipState, outputs: list[Tensor], updates: list[Tensor], values: list[Tensor]
) -> Result:
    last = output_of(state.layers[-1])
    if not outputs:
        empty = call.x.new_zeros(call.x.shape[0], 0)
        output = last if call.outputs == "last" else last.unsqueeze(1)[:, :0]
        return Result(output=output, updates=empty, importance=empty, state=state)
    output = last if call.outputs == "last" else torch.stack(outputs, dim=1)
    return Result(
        output=output, updates=torch.stack(updates, 1), importance=torch.stack(values, 1), state=state
    )
