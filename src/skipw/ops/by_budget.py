"""A call whose budgets have gates of their own (``skipw.gate_budgets``), as calls of one gate each.

A window's gate is the one of the K in force at its first input. So a call falls into stretches of whole windows under
one gate, cut where a window opens under another one than the window before; each is a call of its own that goes on from
the state before. Backends know nothing of it, and gradients flow from stretch to stretch through the state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from skipw.gate_budgets import gate_of
from skipw.ops.call import Call, Result, windows_opened
from skipw.ops.state import SkipState

__all__ = ["run"]

Run = Callable[[Call], Result]


def run(call: Call, backend: Run) -> Result:
    """Run a call with ``budget_gates``.

    Args:
        call: with a gate of windows.
        backend: runs a call of one gate.
    """
    ruling = {_gate_at(call, start) for start, _ in call.schedule}
    if len(ruling) == 1 or call.x.shape[1] == 0:
        return backend(_under(call, ruling.pop()))
    offsets = call.state.offset.unique().tolist()
    if len(offsets) == 1:
        return _run_stretches(call, offsets[0], backend)
    return _joined_rows(
        call, [(call.state.offset == offset).nonzero().squeeze(1) for offset in offsets], backend
    )


def _gate_at(call: Call, step: int) -> int:
    """The gate that a window gets which opens at input ``step`` of the call."""
    assert call.gate is not None and call.gate.window is not None
    limits = [most for most, _ in call.budget_gates]
    return gate_of(call.schedule.at(step).budget_in(call.gate.window), limits)


def _under(call: Call, index: int) -> Call:
    """The call under one of its gates alone."""
    gates = [call.gate, *(gate for _, gate in call.budget_gates)]
    return replace(call, gate=gates[index], budget_gates=())


def _run_stretches(call: Call, offset: int, backend: Run) -> Result:
    """Rows that open their windows at the same inputs."""
    results: list[Result] = []
    state = call.state
    for begin, end, gate in _stretches(call, offset):
        part = _under(_cut(call, begin, end, offset, state), gate)
        results.append(backend(part))
        state = results[-1].state
    outputs = [one.output for one in results]
    return Result(
        output=outputs[-1] if call.outputs == "last" else torch.cat(outputs, dim=1),
        updates=torch.cat([one.updates for one in results], dim=1),
        importance=torch.cat([one.importance for one in results], dim=1),
        state=state,
    )


def _stretches(call: Call, offset: int) -> Iterator[tuple[int, int, int]]:
    """(first input, input after the last, gate) of each, in order; what is left of a window goes to the next."""
    assert call.gate is not None and call.gate.window is not None
    steps = call.x.shape[1]
    opened = range(-offset % call.gate.window, steps, call.gate.window)
    gates = [_gate_at(call, step) for step in opened] or [0]
    changed = [index for index in range(1, len(gates)) if gates[index] != gates[index - 1]]
    begins = [0, *(opened[index] for index in changed), steps]
    for (begin, end), index in zip(pairwise(begins), [0, *changed], strict=True):
        yield begin, end, gates[index]


def _cut(call: Call, begin: int, end: int, offset: int, state: SkipState) -> Call:
    """Inputs ``begin`` to ``end`` of a call whose rows all start at this offset in their window."""
    noise = call.noise
    if noise is not None:
        assert call.gate is not None and call.gate.window is not None
        window, origin = call.gate.window, torch.tensor([offset])
        before = windows_opened(origin, begin, window)
        noise = noise[before : windows_opened(origin, end, window)]
    return replace(
        call,
        x=call.x[:, begin:end],
        lengths=(call.lengths - begin).clamp(0, end - begin),
        schedule=call.schedule.after(begin),
        state=state,
        noise=noise,
    )


def _joined_rows(call: Call, groups: list[Tensor], backend: Run) -> Result:
    """Groups of rows one after the other, and their answers in the order of the batch."""
    results = [
        run(
            replace(
                call,
                x=call.x[rows],
                lengths=call.lengths[rows],
                state=call.state.rows(rows),
                noise=None if call.noise is None else call.noise[:, rows],
            ),
            backend,
        )
        for rows in groups
    ]
    back = torch.cat(groups).argsort()
    return Result(
        output=torch.cat([one.output for one in results])[back],
        updates=torch.cat([one.updates for one in results])[back],
        importance=torch.cat([one.importance for one in results])[back],
        state=SkipState.joined([one.state for one in results]).rows(back),
    )
