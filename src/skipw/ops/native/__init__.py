"""C++ on the CPU: training and inference whose cost follows the inputs processed.

GRU, LSTM and FastGRNN, one or several layers, every gate and selector, whatever the gate sees; float32 and float64.
Whole sequences run in one call of a small library (``csrc/``, built when the package is installed) that shards the
batch over ``torch.get_num_threads()`` threads.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from skipw.errors import BackendUnavailableError
from skipw.ops.call import Call, GateKind, Result
from skipw.ops.native import library
from skipw.ops.native.forms import check_forms
from skipw.ops.plain_cells import plain_cell

__all__ = ["run", "serve", "why_not"]


def why_not(call: Call) -> str | None:
    """None if this backend can run ``call``, else one sentence: the reason and the remedy."""
    if call.x.device.type != "cpu":
        return f"the native backend runs on the CPU, x is on {call.x.device}."
    if call.x.dtype not in (torch.float32, torch.float64):
        return f"the native backend takes float32 and float64, x is {call.x.dtype}."
    if plain_cell(call) is None:
        return "the native backend serves plain GRU, LSTM and FastGRNN cells with biases, without hooks or autocast."
    if call.gate is not None and call.gate.bias is None:
        return "the native backend needs a gate with a bias."
    if call.gate is not None and not plain_selection(call):
        if call.gate.selection_gradient != "zero_sum":
            kind = f"selection_gradient={call.gate.selection_gradient!r}"
            return f"the native backend has no {kind}, only 'identity' and 'zero_sum'."
        return "the native backend has selection_gradient='zero_sum' for whole windows at one operating point only."
    return library.why_not()


def plain_selection(call: Call) -> bool:
    """Whether the selection's gradient is one that the library has."""
    gate = call.gate
    if gate is None or gate.selection_gradient == "identity":
        return True
    whole = len(call.schedule) == 1 and not bool(call.state.offset.any())
    return gate.selection_gradient == "zero_sum" and whole


def run(call: Call) -> Result:
    """Run a batch of sequences; same arguments and answer as ``reference.run``.

    Raises:
        BackendUnavailableError: if there is no library here, or the call is none for it; ``why_not`` says it first.
        ShapeError: if a weight or a part of the state has another dtype or shape than the rest.
    """
    reason = why_not(call)
    if reason is not None:
        raise BackendUnavailableError(f"{reason} Use backend='compact' or 'auto'.")
    return serve(call)


def serve(call: Call) -> Result:
    """``run`` for a call of which ``why_not`` said None a moment ago."""
    from skipw.ops import reference
    from skipw.ops.any_window import recent_after
    from skipw.ops.compact.windows import last_input_at
    from skipw.ops.native.node import Node, Tensors

    if call.x.shape[1] == 0:
        return reference.run(call)
    state, gate = call.state, call.gate
    cell = plain_cell(call)
    assert cell is not None  # why_not has seen to it
    tensors = Tensors(call, cell)
    check_forms(call, cell, tensors.layers[0].shape[-1], tensors.inputs)
    changes: dict[str, Any] = {}
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors.inputs):
        tensors.training = True
        answer = Node.apply(tensors, changes, *tensors.inputs)
    else:
        answer = Node.forward(None, tensors, changes, *tensors.inputs)
    output, updates, values, importance, accumulated, increment, *last = answer
    if gate is None:
        changes = _forced_changes(call, updates)
    elif gate.kind is GateKind.WINDOW:
        changes["importance"] = importance
        if state.last_input is not None:
            changes["last_input"] = last_input_at(call, updates.detach().T != 0, call.x.shape[1])
        if state.recent is not None:
            changes["recent"] = recent_after(state.recent, updates.detach() != 0, call.lengths)
    else:
        changes |= {"accumulated": accumulated, "increment": increment}
    width = len(last) // len(call.cells)
    layers = tuple(
        last[k * width] if width == 1 else tuple(last[k * width : (k + 1) * width])
        for k in range(len(call.cells))
    )
    return Result(
        output=last[-width] if call.outputs == "last" else output,
        updates=updates.detach() if gate is None else updates,
        importance=values,
        state=dataclasses.replace(state, **(changes | {"layers": layers})),
    )


def _forced_changes(call: Call, updates: Tensor) -> dict[str, Any]:
    """The counters after forced updates, which need no gate."""
    from skipw.ops.compact.windows import advanced

    return advanced(call, updates.detach().T != 0, None)
