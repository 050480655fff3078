"""Forced updates and dense models: without a gate a row is torch's own layer over the inputs that it processes."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from skipw.ops.call import Call, Result
from skipw.ops.compact.windows import advanced
from skipw.ops.state import LayerState, output_of, parts

__all__ = ["FUSED", "run"]

FUSED = ("gru", "lstm")
"""The cells of which torch has whole layers."""


def run(call: Call) -> Result:
    """Run a batch of GRU or LSTM layers without a gate, with or without gradients; T >= 1."""
    mask = _masks(call)
    counts = mask.sum(1)
    rows = counts.nonzero().squeeze(1)
    tops: Tensor | None = None
    layers = call.state.layers
    if len(rows):
        x, before = call.x, layers
        if len(rows) < len(counts):
            x, before = x[rows], call.state.rows(rows).layers
        tops, after = _layers(call, _gathered(x, mask[rows], counts[rows]), counts[rows], before)
        layers = _put(layers, rows, after) if len(rows) < len(counts) else after
    state = dataclasses.replace(call.state, layers=layers, **advanced(call, mask.T, None))  # type: ignore[arg-type]
    return Result(
        output=_outputs(call, mask, rows, tops, layers),
        updates=mask.to(call.x.dtype),
        importance=torch.zeros_like(mask, dtype=call.x.dtype),
        state=state,
    )


def _masks(call: Call) -> Tensor:
    """Bool[B, T] that the caller decided (all inputs, for a dense model)."""
    steps = torch.arange(call.x.shape[1], device=call.x.device)
    alive = steps < call.lengths.unsqueeze(-1)
    return alive if call.updates is None else alive & call.updates


def _gathered(x: Tensor, mask: Tensor, counts: Tensor) -> Tensor:
    """Each row's processed inputs brought to its front: Float[b, M, D], M the largest count."""
    most = int(counts.max())
    if bool(mask.all()):
        return x
    index = mask.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
    return x.gather(1, index.unsqueeze(-1).expand(-1, -1, x.shape[2]))


def _layers(
    call: Call, x: Tensor, counts: Tensor, layers: tuple[LayerState, ...]
) -> tuple[Tensor, tuple[LayerState, ...]]:
    """torch's fused layers: the top outputs Float[b, M, N] and every layer's state at its row's end."""
    is_lstm = isinstance(call.cells[0], nn.LSTMCell)
    fused: Any = torch._VF.lstm if is_lstm else torch._VF.gru
    stacked = tuple(torch.stack(same) for same in zip(*map(parts, layers), strict=True))
    weights = [
        getattr(cell, name)
        for cell in call.cells
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    settings = (True, len(call.cells), 0.0, torch.is_grad_enabled(), False)
    if bool((counts == x.shape[1]).all()):
        hx: Any = stacked if is_lstm else stacked[0]
        tops, *last = fused(x, hx, weights, *settings, True)
    elif not is_lstm and len(call.cells) == 1:
        # A single GRU layer's state is its output: padding costs less than packing.
        beyond = torch.arange(x.shape[1], device=x.device) >= counts.unsqueeze(-1)
        tops, _ = fused(x.masked_fill(beyond.unsqueeze(-1), 0), stacked[0], weights, *settings, True)
        ends = (counts - 1).view(-1, 1, 1).expand(-1, 1, tops.shape[2])
        last = [tops.gather(1, ends).transpose(0, 1)]
    else:
        packed = pack_padded_sequence(x, counts.cpu(), batch_first=True, enforce_sorted=False)
        order, back = packed.sorted_indices, packed.unsorted_indices
        sorted_stack = tuple(part[:, order] for part in stacked)
        hx = sorted_stack if is_lstm else sorted_stack[0]
        data, *last = fused(packed.data, packed.batch_sizes, hx, weights, *settings)
        tops = pad_packed_sequence(packed._replace(data=data), batch_first=True)[0]
        last = [part[:, back] for part in last]
    if is_lstm:
        return tops, tuple(zip(last[0].unbind(0), last[1].unbind(0), strict=True))
    return tops, tuple(last[0].unbind(0))


def _put(
    layers: tuple[LayerState, ...], rows: Tensor, after: tuple[LayerState, ...]
) -> tuple[LayerState, ...]:
    """``after`` in the rows that processed something, the old state in the others."""
    merged: list[LayerState] = []
    for old, new in zip(layers, after, strict=True):
        pieces = tuple(a.index_copy(0, rows, b) for a, b in zip(parts(old), parts(new), strict=True))
        merged.append(pieces[0] if isinstance(old, Tensor) else pieces)
    return tuple(merged)


def _outputs(
    call: Call, mask: Tensor, rows: Tensor, tops: Tensor | None, layers: tuple[LayerState, ...]
) -> Tensor:
    """Float[B, T, N], or Float[B, N] with ``outputs="last"``; an output repeats where nothing is processed."""
    if call.outputs == "last":
        return output_of(layers[-1])
    first = output_of(call.state.layers[-1]).unsqueeze(1)
    if tops is None:
        return first.expand(-1, mask.shape[1], -1)
    if bool(mask.all()):
        return tops
    held = mask[rows].cumsum(1)  # 0: nothing yet
    table = torch.cat([first[rows], tops], dim=1)
    output = table.gather(1, held.unsqueeze(-1).expand(-1, -1, table.shape[2]))
    if len(rows) == len(mask):
        return output
    return first.expand(-1, mask.shape[1], -1).index_copy(0, rows, output)
