"""From calls to kernels and back to results."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from skipw import equations
from skipw.errors import BackendUnavailableError
from skipw.ops import reference
from skipw.ops.call import Call, Result
from skipw.ops.compact.windows import advanced
from skipw.ops.plain_cells import plain_cell
from skipw.ops.state import LayerState, like, output_of, parts
from skipw.ops.triton.packing import ACCUMULATING, FORCED, WINDOWED, Packed, pack
from skipw.ops.triton.sequence import Answer, interpreted, run_packed

__all__ = ["refusal", "run_calls"]

MOST_HIDDEN = 1024


def run_calls(calls: Sequence[Call]) -> list[Result]:
    """Run calls of one form side by side; see ``skipw.ops.triton.run_many``."""
    if not calls:
        return []
    for call in calls:
        reason = refusal(call)
        if reason is not None:
            raise BackendUnavailableError(
                f"backend 'triton' cannot serve this call: {reason}; use backend='compact' or 'auto'."
            )
    if calls[0].x.shape[1] == 0:
        return [reference.run(call) for call in calls]
    packed = pack(calls)
    train = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in packed.tensors.values())
    answer = run_packed(packed, train)
    return [_result(call, packed, answer, m) for m, call in enumerate(calls)]


def refusal(call: Call) -> str | None:
    """Why the kernels cannot serve this call; None if they can."""
    cell = plain_cell(call)
    if cell is None or cell.name == "fastgrnn":
        names = ", ".join(type(cell).__name__ for cell in call.cells)
        return (
            "it serves plain torch.nn.GRUCell and LSTMCell stacks with biases, without hooks and autocast, "
            f"got {names}"
        )
    if call.gate is not None and call.gate.selection_gradient != "identity":
        return f"it passes gradients straight through the selection, got {call.gate.selection_gradient!r}"
    if call.state.recent is not None:
        return "it bounds aligned windows, got bound='any'"
    if call.gate is not None and call.gate.inputs:
        return f"its gates see state and time alone, not {', '.join(call.gate.inputs)} (gate_inputs)"
    if call.gate is not None and call.gate.windows:
        return "its gates see state and time alone, not which window it is (gate_windows)"
    x = call.x
    place, dtypes = ("cpu", (torch.float32, torch.float64)) if interpreted() else ("cuda", (torch.float32,))
    if x.device.type != place:
        why = (
            "which run in Triton's interpreter" if interpreted() else "move model and input with .to('cuda')"
        )
        return f"it takes tensors on {place} here, {why}; got {x.device}"
    if x.dtype not in dtypes:
        return f"it computes in {' or '.join(map(str, dtypes))} here, got {x.dtype}"
    hidden = parts(call.state.layers[0])[0].shape[-1]
    return (
        f"it holds at most {MOST_HIDDEN} hidden units a layer, got {hidden}" if hidden > MOST_HIDDEN else None
    )


def _result(call: Call, packed: Packed, answer: Answer, m: int) -> Result:
    """The answer of one model."""
    state, masks = call.state, answer.updates[m].detach() > 0
    changes: dict[str, object] = {"layers": _layers(call, answer.states[m])}
    if packed.gate == WINDOWED:
        changes |= _window_state(call, packed, answer, m)
    else:
        changes |= advanced(call, masks, None)
    if packed.gate == ACCUMULATING:
        changes |= {"accumulated": answer.carry[m, 0], "increment": answer.carry[m, 1]}
    result = dataclasses.replace(state, **changes)  # type: ignore[arg-type]
    output = answer.output[m].transpose(0, 1) if packed.keep else output_of(result.layers[-1])
    forced = packed.gate == FORCED
    updates = answer.updates[m].detach() if forced else answer.updates[m]
    return Result(output=output, updates=updates.T, importance=answer.values[m].T, state=result)


def _layers(call: Call, states: Tensor) -> tuple[LayerState, ...]:
    """Float[Y, P, B, N] as the layers' states."""
    return tuple(
        like(layer, tuple(part.unbind(0)))
        for layer, part in zip(call.state.layers, states.unbind(0), strict=True)
    )


def _window_state(call: Call, packed: Packed, answer: Answer, m: int) -> dict[str, object]:
    """The counters and the current window of a SkipW, each row at its own end."""
    state = call.state
    assert state.budget is not None and state.threshold is not None
    last, used, code = answer.rows[m].unbind(0)
    known, number = code >= 0, code.clamp(min=0)
    step = state.step + call.lengths
    return {
        "step": step,
        "offset": equations.window_offset(step, packed.window),
        "last_update": last,
        "used": used,
        "importance": answer.importance[m],
        "selected": answer.slots[m, 2] > 0,
        "noise": None if state.noise is None else answer.slots[m, 1],
        "budget": torch.where(known, packed.segments.budgets[m][number], state.budget),
        "threshold": torch.where(known, packed.segments.exact_thresholds[m][number], state.threshold),
    }
