"""What a backend is asked and what it answers: the one signature that all backends share."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from skipw.operating_point import OperatingPoint, Schedule
from skipw.ops.state import SkipState

__all__ = ["Call", "Gate", "GateKind", "Result", "windows_opened"]


class GateKind(enum.Enum):
    """How inputs are chosen."""

    WINDOW = "window"  # SkipW: importance of a whole window at its first input (eqs. 5-10)
    ACCUMULATE = "accumulate"  # ThrRNN and SkipRNN: an increment after each processed input (eqs. 1-4)


@dataclass(frozen=True)
class Gate:
    """The gate's parameters and settings.

    Attributes:
        kind: which equations.
        weight, bias: Float[L, N + 1] and Float[L] (WINDOW; Float[L, N] without time feature), Float[1, N] and
            Float[1] (ACCUMULATE).
        window: L, for WINDOW.
        time_feature: "steps", "window", "since_update" or "none".
        time_scale: what the time feature is divided by.
        select: a selector of ``equations.select_k``.
        state_gradient: factor on the gradient that the gate sends into the state.
        bound: "aligned" or "any" (``ops.any_window``).
        selection_gradient, selection_softness: how u_t's gradient comes back through the selection, WINDOW only
            (``ops.selection_gradient``).
    """

    kind: GateKind
    weight: Tensor
    bias: Tensor
    window: int | None = None
    time_feature: str = "steps"
    time_scale: float = 100.0
    select: str = "topk"
    bound: str = "aligned"
    state_gradient: float = 1.0
    selection_gradient: str = "identity"
    selection_softness: float = 0.1

    def time(self, step: Tensor, last_update: Tensor) -> Tensor | None:
        """The time feature at windows that open at ``step`` (Long[B]): Float[B], or None."""
        match self.time_feature:
            case "none":
                return None
            case "window":
                value = torch.div(step, self.window or 1, rounding_mode="floor")
            case "since_update":
                value = step - last_update.clamp(min=0)
            case _:
                value = step
        return value.to(self.weight.dtype) / self.time_scale


@dataclass(frozen=True)
class Call:
    """One batch of sequences, validated.

    Attributes:
        x: Float[B, T, D].
        cells: one a layer, ``cell(x, state) -> state``.
        gate: None with forced updates or for a dense model.
        state: where each row starts.
        lengths: Long[B], 0 <= length <= T.
        schedule: operating points, from this call's first input on.
        updates: Bool[B, T], process exactly those; None lets the gate decide (without gate: all).
        noise: Float[W, B, L], for each window that opens in this call; None where nothing is drawn.
        window: L for the bookkeeping of forced updates; None for models without one.
        outputs: "all" or "last".
    """

    x: Tensor
    cells: Sequence[nn.Module]
    gate: Gate | None
    state: SkipState
    lengths: Tensor
    schedule: Schedule = field(default_factory=lambda: Schedule([(0, OperatingPoint())]))
    updates: Tensor | None = None
    noise: Tensor | None = None
    window: int | None = None
    outputs: str = "all"


@dataclass(frozen=True)
class Result:
    """What every backend answers.

    Attributes:
        output: Float[B, T, N] of the top layer, or Float[B, N] with ``outputs="last"``.
        updates: Float[B, T], u_t with its straight-through gradient.
        importance: Float[B, T], the value each gate compared; 0 where nothing was compared.
        state: where each row ends.
    """

    output: Tensor
    updates: Tensor
    importance: Tensor
    state: SkipState


def windows_opened(offset: Tensor, num_steps: int, window: int) -> int:
    """The most windows that open in any row within ``num_steps`` inputs, starting at ``offset`` (Long[B])."""
    first = int(((window - offset) % window).min())
    return max(0, -((first - num_steps) // window))
