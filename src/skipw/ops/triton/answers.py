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
from skipw.ops.compact import training
from skipw.ops.compact.windows import advanced
from skipw.ops.state import LayerState, like, output_of, parts
from skipw.ops.triton.packing import ACCUMULATING, FORCED, WINDOWED, Packed, pack
from skipw.ops.triton.sequence import Answer, interpreted, run_packed

__all__ = ["run_calls"]

MOST_HIDDEN = 1024


def run_calls(calls: Sequence[Call]) -> list[Result]:
    """Run calls of one form side by side; see ``skipw.ops.triton.run_many``."""
    if not calls:
        return []
    for call in calls:
        _check(call)
    if calls[0].x.shape[1] == 0:
        return [reference.run(call) for call in calls]
    packed = pack(calls)
    train = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in packed.tensors.values())
    answer = run_packed(packed, train)
    return [_result(call, packed, answer, m) for m, call in enumerate(calls)]


def _check(call: Call) -> None:
    """Refuse what the kernels cannot serve."""
    remedy = "use backend='compact' or 'auto'"
    if not training.serves(call):
        raise BackendUnavailableError(
            "backend 'triton' serves plain torch.nn GRUCell and LSTMCell stacks with biases, without hooks and without "
            f"autocast, got {', '.join(type(cell).__name__ for cell in call.cells)}; {remedy}."
        )
    x = call.x
    wanted = (torch.float32, torch.float64) if interpreted() else (torch.float32,)
    if x.dtype not in wanted:
        names = " or ".join(str(dtype) for dtype in wanted)
        raise BackendUnavailableError(f"backend 'triton' computes in {names} here, got {x.dtype}; {remedy}.")
    place = "cpu" if interpreted() else "cuda"
    if x.device.type != place:
        hint = "it runs in Triton's interpreter" if interpreted() else "move model and input with .to('cuda')"
        raise BackendUnavailableError(
            f"backend 'triton' takes tensors on {place} here, got {x.device}; {hint}, or {remedy}."
        )
    hidden = parts(call.state.layers[0])[0].shape[-1]
    if hidden > MOST_HIDDEN:
        raise BackendUnavailableError(
            f"backend 'triton' holds at most {MOST_HIDDEN} hidden units a layer, got {hidden}; {remedy}."
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
