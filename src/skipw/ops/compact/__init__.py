"""Pure PyTorch that computes the active rows alone: exact gradients in training, compaction in inference.

Four ways, chosen by the call:

- GRU or LSTM without a gate (a dense model, forced updates): ``forced``, torch's own layers over the gathered inputs;
- no gradient needed: ``inference`` gathers, window by window, each row's own j-th selected input;
- GRU, LSTM or FastGRNN with gradients and a gate: ``training``, one autograd node with a hand-derived backward pass
  over processed rows;
- anything else with gradients: the reference's loop, with the cell's graph built for the active rows only.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from skipw.ops import reference
from skipw.ops.call import Call, Result
from skipw.ops.compact import forced, inference, training
from skipw.ops.plain_cells import PlainCell, plain_cell
from skipw.ops.state import LayerState, SkipState, like, output_of, parts

__all__ = ["run"]


def run(call: Call) -> Result:
    """Run a batch of sequences; same arguments and answer as ``reference.run``."""
    differentiable = torch.is_grad_enabled() and _needs_gradient(call)
    cell = plain_cell(call)
    if call.gate is None and cell is not None and cell.name in forced.FUSED and call.x.shape[1] > 0:
        return forced.run(call)
    if differentiable and (cell is None or call.gate is None or not _plain_selection(call)):
        return reference.scan(call, _active_candidates)
    offsets = call.state.offset
    if call.window is not None and bool((offsets != offsets[0]).any()):
        return _by_offset(call, cell if differentiable else None)
    return _run_aligned(call, cell if differentiable else None)


def _plain_selection(call: Call) -> bool:
    """Whether the gradient through the selection is the identity; any other is the reference's work."""
    return call.gate is None or call.gate.selection_gradient == "identity"


def _run_aligned(call: Call, differentiable: PlainCell | None) -> Result:
    """Rows that share their offset: with gradients for ``differentiable`` cells, or without any."""
    if call.x.shape[1] == 0:
        return reference.run(call)
    return inference.run(call) if differentiable is None else training.run(call, differentiable)


def _needs_gradient(call: Call) -> bool:
    state, gate = call.state, call.gate
    tensors = [call.x, *(part for layer in state.layers for part in parts(layer))]
    tensors += [parameter for cell in call.cells for parameter in cell.parameters()]
    carried = (state.importance, state.accumulated, state.increment, state.last_input)
    tensors += [tensor for tensor in carried if tensor is not None]
    if gate is not None:
        tensors += [gate.weight, gate.bias]
    return any(tensor.requires_grad for tensor in tensors)


def _by_offset(call: Call, differentiable: PlainCell | None) -> Result:
    """Rows that stand at different offsets of their windows are run in groups of equal offset."""
    groups = [(call.state.offset == offset).nonzero().squeeze(1) for offset in call.state.offset.unique()]
    results = [_run_aligned(_rows_of(call, rows), differentiable) for rows in groups]
    back = torch.cat(groups).argsort()

    def merged(pick) -> Tensor:  # type: ignore[no-untyped-def]
        return torch.cat([pick(result) for result in results])[back]

    return Result(
        output=merged(lambda r: r.output),
        updates=merged(lambda r: r.updates),
        importance=merged(lambda r: r.importance),
        state=SkipState.joined([result.state for result in results]).rows(back),
    )


def _rows_of(call: Call, rows: Tensor) -> Call:
    return dataclasses.replace(
        call,
        x=call.x[rows],
        state=call.state.rows(rows),
        lengths=call.lengths[rows],
        updates=None if call.updates is None else call.updates[rows],
        noise=None if call.noise is None else call.noise[:, rows],
    )


def _active_candidates(
    call: Call, x: Tensor, layers: tuple[LayerState, ...], readable: Tensor, mask: Tensor
) -> list[LayerState]:
    """Candidates of any cell: with a graph for the active rows, as plain values for the others.

    Exact, because u_t = 0 multiplies whatever would flow back through the cell at a skipped input.
    """
    if bool(mask.all()):
        return list(reference.all_candidates(call, x, layers, readable, mask))
    active, skipped = mask.nonzero().squeeze(1), (readable & ~mask).nonzero().squeeze(1)
    candidates = []
    below_active, below_skipped = x[active], x[skipped]
    for cell, state in zip(call.cells, layers, strict=True):
        new = [part.detach() for part in parts(state)]
        if len(skipped) and call.gate is not None:
            with torch.no_grad():
                rows = cell(below_skipped, _pick(state, skipped))
            new = [a.index_copy(0, skipped, b) for a, b in zip(new, parts(rows), strict=True)]
            below_skipped = output_of(rows)
        if len(active):
            rows = cell(below_active, _pick(state, active))
            new = [a.index_copy(0, active, b) for a, b in zip(new, parts(rows), strict=True)]
            below_active = output_of(rows)
        candidates.append(like(state, tuple(new)))
    return candidates


def _pick(state: LayerState, rows: Tensor) -> LayerState:
    return like(state, tuple(part[rows] for part in parts(state)))
