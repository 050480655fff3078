"""The library reads plain memory: every tensor that it is handed has to be of the type and shape that it takes."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from torch import Tensor

from skipw.errors import ShapeError
from skipw.gate_inputs import columns
from skipw.ops.call import Call, GateKind
from skipw.ops.plain_cells import PlainCell

__all__ = ["check_forms"]

Form = tuple[str, tuple[int, ...]]
MAY_BE_ABSENT = 6  # of the forms: the gate's two and what a state carries beside its layers


def check_forms(call: Call, cell: PlainCell, hidden: int, inputs: Sequence[Tensor | None]) -> None:
    """Weights, gate and state are of x's dtype, on its device, and of the shapes that they have to each other.

    Args:
        call: whose ``x`` was checked.
        cell: what its layers are.
        hidden: N.
        inputs: x, gate weight and bias, importance, accumulated, increment, last input, the parts of each layer's
            state, the weights of each layer; None for what the call does not have.
    Raises:
        ShapeError: naming the first that is not.
    """
    gate, (batch, _, width) = call.gate, call.x.shape
    kind = None if gate is None else gate.kind
    timed = gate is not None and gate.time_feature != "none"
    seen, own = ((), 0) if gate is None else (gate.inputs, gate.windows)
    forms = _forms(cell, batch, width, hidden, len(call.cells), call.window or 0, kind, timed, seen, own)
    dtype, device = call.x.dtype, call.x.device
    for place, (tensor, (name, shape)) in enumerate(zip(inputs[1:], forms, strict=True)):
        if tensor is None:
            if place < MAY_BE_ABSENT:
                continue
            raise ShapeError(f"{name} must be {dtype} {list(shape)}, got None; use backend='compact'.")
        if tensor.shape == shape and tensor.dtype is dtype and tensor.device == device:
            continue
        raise ShapeError(
            f"{name} must be {dtype} {list(shape)} on {device}, got {tensor.dtype} {list(tensor.shape)} on "
            f"{tensor.device}; convert the whole model with model.to(...), and a state with it."
        )


@functools.lru_cache(maxsize=256)
def _forms(
    cell: PlainCell,
    batch: int,
    width: int,
    hidden: int,
    layers: int,
    window: int,
    kind: GateKind | None,
    timed: bool,
    seen: tuple[str, ...],
    own: int,
) -> tuple[Form, ...]:
    """Name and shape of each of ``inputs`` but x."""
    rows, reads = 1, hidden
    if kind is GateKind.WINDOW:
        rows, reads = window, hidden + timed + sum(columns(seen, window, width, own).values())
    forms: list[Form] = [
        ("the gate's weight", (rows, reads)),
        ("the gate's bias", (rows,)),
        ("state.importance", (batch, window)),
        ("state.accumulated", (batch,)),
        ("state.increment", (batch,)),
        ("state.last_input", (batch, width)),
    ]
    forms += [(f"state.layers[{k}]", (batch, hidden)) for k in range(layers) for _ in range(cell.parts)]
    for k in range(layers):
        shapes = cell.shapes(hidden if k else width, hidden)
        forms += [(f"cells[{k}].{name}", shape) for name, shape in zip(cell.weights, shapes, strict=True)]
    return tuple(forms)
