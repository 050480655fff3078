"""GRU, LSTM and FastGRNN with gradients: one autograd node for a whole sequence, its backward over processed rows.

The straight-through gradient of the gate is du_t = Σ <ds_t, c̃ - s_{t-1}> over layers, h and c, also where the input
is skipped. There the candidate is elementwise work on a product that has not changed since the last processed input,
and nothing flows back through the cell. So the recurrent products and the cell's backward run on processed rows only
(READINGS, "Facts that shape the engine").
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from skipw.ops.call import Call, Result
from skipw.ops.compact import fastgrnn, gru, lstm
from skipw.ops.compact.scan import LayerKernel, Scan
from skipw.ops.compact.windows import advanced
from skipw.ops.plain_cells import PlainCell
from skipw.ops.state import LayerState, like, output_of, parts

__all__ = ["run"]

_KERNELS: dict[str, Callable[..., LayerKernel]] = {
    "gru": gru.Layer,
    "lstm": lstm.Layer,
    "fastgrnn": fastgrnn.Layer,
}


def run(call: Call, cell: PlainCell) -> Result:
    """Run a batch of these cells whose rows share their offset, with gradients; T >= 1."""
    state, gate = call.state, call.gate
    assert gate is not None  # without a gate, others serve the call
    weights = [getattr(layer, name) for layer in call.cells for name in cell.weights]
    layer_parts = [part for layer in state.layers for part in parts(layer)]
    scan = Scan(call, _KERNELS[cell.name], len(cell.weights))
    carried = (state.importance, state.accumulated, state.increment, state.last_input)
    answer = _Sequence.apply(scan, call.x, gate.weight, gate.bias, *carried, *layer_parts, *weights)
    output, updates, values, importance, accumulated, increment, *last = answer
    changes = advanced(call, scan.updates, scan.gate.windows)
    if state.importance is not None:
        changes["importance"] = importance
    if state.accumulated is not None:
        changes |= {"accumulated": accumulated, "increment": increment}
    layers = _as_layers(state.layers, last)
    if call.outputs == "last":
        output = output_of(layers[-1])
    else:
        output = output.clone(memory_format=torch.contiguous_format)  # the tape's own must not be written to
    result = dataclasses.replace(state, layers=layers, **changes)  # type: ignore[arg-type]
    return Result(output=output, updates=updates, importance=values, state=result)


def _as_layers(templates: tuple[LayerState, ...], tensors: list[Tensor]) -> tuple[LayerState, ...]:
    remaining = iter(tensors)
    return tuple(like(template, tuple(next(remaining) for _ in parts(template))) for template in templates)


class _Sequence(torch.autograd.Function):
    """Tensors in, tensors out; ``Scan`` holds everything else."""

    @staticmethod
    def forward(ctx: Any, scan: Scan, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        ctx.scan = scan
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)  # so that autograd notices a weight that is changed in place
        return scan.forward(tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        return (None, *ctx.scan.backward(ctx.saved_tensors, grads, ctx.needs_input_grad[1:]))
