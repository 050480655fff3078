"""Inference by compaction: within a window each row gathers its own j-th selected input.

A window then costs as many cell calls as its busiest row has inputs to process, at most K instead of L, and each
call holds only the rows that still have one.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from skipw import equations
from skipw.ops.call import Call, GateKind, Result
from skipw.ops.compact.windows import Windows, advanced, spans
from skipw.ops.state import LayerState, gate_view, like, output_of, parts

__all__ = ["run"]


@torch.no_grad()
def run(call: Call) -> Result:
    """Run a batch whose rows share their offset, without gradients; T >= 1."""
    if call.gate is not None and call.gate.kind is GateKind.ACCUMULATE:
        return _run_accumulating(call)
    batch, num_steps, _ = call.x.shape
    outputs = _Outputs(call)
    layers = _owned(call.state.layers)
    updates = torch.zeros(num_steps, batch, dtype=torch.bool, device=call.x.device)
    values = call.x.new_zeros(batch, num_steps)
    windows = None if call.gate is None else Windows(call, call.gate, updates)
    for start, end in spans(call):
        if windows is None:
            masks = _forced_masks(call)
        else:
            windows.begin(start, gate_view(layers[-1]))
            masks = windows.masks(start, end)
            values[:, start:end] = windows.values(start, end)
        updates[start:end] = masks.T
        layers = _process_span(call, layers, masks, start, outputs)
    state = dataclasses.replace(call.state, layers=layers, **advanced(call, updates, windows))  # type: ignore[arg-type]
    return Result(
        output=outputs.filled(updates, layers),
        updates=updates.T.to(call.x.dtype),
        importance=values,
        state=state,
    )


def _forced_masks(call: Call) -> Tensor:
    """Bool[B, T] that the caller decided (all inputs, for a dense model)."""
    steps = torch.arange(call.x.shape[1], device=call.x.device)
    alive = steps < call.lengths.unsqueeze(-1)
    return alive if call.updates is None else alive & call.updates


def _process_span(
    call: Call, layers: tuple[LayerState, ...], masks: Tensor, start: int, outputs: _Outputs
) -> tuple[LayerState, ...]:
    """Run the selected inputs of [start, start + S). ``masks`` Bool[B, S]."""
    counts = masks.sum(1)
    order = counts.argsort(descending=True, stable=True)  # rows that have a j-th input are a prefix
    busiest = int(counts.max())
    if busiest == 0:
        return layers
    slots = masks.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :busiest]
    rows_left = (counts.unsqueeze(-1) > torch.arange(busiest, device=counts.device)).sum(0).tolist()
    sorted_layers = [like(layer, tuple(part[order] for part in parts(layer))) for layer in layers]
    for j, count in enumerate(rows_left):
        rows = order[:count]
        steps = slots[rows, j] + start
        x = call.x[rows, steps]
        for cell, layer in zip(call.cells, sorted_layers, strict=True):
            new = cell(x, like(layer, tuple(part[:count] for part in parts(layer))))
            for part, fresh in zip(parts(layer), parts(new), strict=True):
                part[:count] = fresh
            x = output_of(new)
        outputs.put(rows, steps, x)
    for layer, sorted_layer in zip(layers, sorted_layers, strict=True):
        for part, fresh in zip(parts(layer), parts(sorted_layer), strict=True):
            part[order] = fresh
    return layers


def _run_accumulating(call: Call) -> Result:
    """ThrRNN and SkipRNN: the accumulated value is followed input by input, cells see the active rows alone."""
    gate, state = call.gate, call.state
    assert gate is not None and state.accumulated is not None and state.increment is not None
    batch, num_steps, _ = call.x.shape
    outputs, layers = _Outputs(call), _owned(state.layers)
    accumulated, increment = state.accumulated.clone(), state.increment.clone()
    updates = torch.zeros(num_steps, batch, dtype=torch.bool, device=call.x.device)
    values = call.x.new_zeros(num_steps, batch)
    switches = dict(call.schedule)
    point = switches[0]
    ragged = int(call.lengths.min()) < num_steps
    for t in range(num_steps):
        point = switches.get(t, point)
        alive = t < call.lengths
        values[t] = torch.where(alive, accumulated, 0) if ragged else accumulated
        mask = equations.binarise(accumulated, point.threshold) & alive
        updates[t] = mask
        rows = mask.nonzero().squeeze(1)
        waited = torch.clamp(accumulated + increment, max=1.0)
        accumulated = torch.where(alive, waited, accumulated) if ragged else waited
        if len(rows) == 0:
            continue
        x = call.x[rows, t]
        top: LayerState = x
        for cell, layer in zip(call.cells, layers, strict=True):
            top = cell(x, like(layer, tuple(part[rows] for part in parts(layer))))
            for part, fresh in zip(parts(layer), parts(top), strict=True):
                part[rows] = fresh
            x = output_of(top)
        probability = equations.gate_probability(gate_view(top), gate.weight, gate.bias)
        accumulated[rows] = probability
        increment[rows] = probability
        outputs.put(rows, torch.full_like(rows, t), x)
    state = dataclasses.replace(
        state,
        layers=layers,
        accumulated=accumulated,
        increment=increment,
        **advanced(call, updates, None),  # type: ignore[arg-type]
    )
    return Result(
        output=outputs.filled(updates, layers),
        updates=updates.T.to(call.x.dtype),
        importance=values.T,
        state=state,
    )


def _owned(layers: tuple[LayerState, ...]) -> tuple[LayerState, ...]:
    """Copies that may be written to."""
    return tuple(like(layer, tuple(part.detach().clone() for part in parts(layer))) for layer in layers)


class _Outputs:
    """The top layer's outputs: written where an input is processed, repeated in between."""

    def __init__(self, call: Call) -> None:
        self.every = call.outputs == "all"
        first = output_of(call.state.layers[-1]).detach()
        batch, num_steps = call.x.shape[:2]
        self.first = first
        self.buffer = first.new_empty(batch, num_steps, first.shape[1]) if self.every else None

    def put(self, rows: Tensor, steps: Tensor, output: Tensor) -> None:
        if self.buffer is not None:
            self.buffer[rows, steps] = output

    def filled(self, updates: Tensor, layers: tuple[LayerState, ...]) -> Tensor:
        """Float[B, T, N], or the last output, Float[B, N]. ``updates`` is Bool[T, B]."""
        if self.buffer is None:
            return output_of(layers[-1])
        num_steps = updates.shape[0]
        steps = torch.arange(num_steps, device=updates.device)
        latest = torch.where(updates.T, steps, -1).cummax(dim=1).values
        index = latest.clamp(min=0).unsqueeze(-1).expand_as(self.buffer)
        held = self.buffer.gather(1, index)
        return torch.where((latest < 0).unsqueeze(-1), self.first.unsqueeze(1), held)
