"""Models and their calls, as the benchmark hands them to a backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from skipw.operating_point import OperatingPoint, Schedule
from skipw.ops.call import Call, Result

__all__ = ["Run", "call_of"]

Run = Callable[[Call], Result]


def call_of(
    model: Any,
    x: Tensor,
    *,
    at: OperatingPoint | Schedule | None = None,
    lengths: list[int] | None = None,
    updates: Tensor | None = None,
    noise: Tensor | None = None,
    state: Any = None,
    outputs: str = "all",
) -> Call:
    """What ``model(x, ...)`` asks of a backend."""
    batch, num_steps, _ = x.shape
    full = torch.full((batch,), num_steps, device=x.device) if lengths is None else None
    return Call(
        x=x,
        cells=tuple(model.cells),
        gate=None if updates is not None else model._gate(),
        state=model._start(state, x),
        lengths=torch.tensor(lengths, device=x.device) if full is None else full,
        schedule=Schedule.of(at),
        updates=updates,
        noise=noise,
        window=model.window,
        outputs=outputs,
    )
