"""What a backend is asked and what it answers: the one signature that all backends share."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from skipw.gate_inputs import columns, halvings
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
        weight, bias: Float[L, N + 1] and Float[L] (WINDOW; Float[L, N] without time feature; more columns with
            ``inputs``), Float[1, N] and Float[1] (ACCUMULATE).
        window: L, for WINDOW.
        time_feature: "steps", "window", "since_update" or "none".
        time_scale: what the time feature is divided by.
        select: a selector of ``equations.select_k``.
        state_gradient: factor on the gradient that the gate sends into the state.
        bound: "aligned" or "any" (``ops.any_window``).
        selection_gradient, selection_softness: how u_t's gradient comes back through the selection, WINDOW only
            (``ops.selection_gradient``).
        inputs: what the gate sees beside state and time (``skipw.gate_inputs``), WINDOW only.
        windows: how many windows of a sequence have biases of their own, WINDOW only.
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
    inputs: tuple[str, ...] = ()
    windows: int = 0

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

    def extras(
        self, step: Tensor, last_update: Tensor, importance: Tensor, last_input: Tensor | None, budget: int
    ) -> Tensor | None:
        """What the gate sees beside state and time at windows that open at ``step``: Float[B, E], or None.

        Gradients flow into ``importance`` and ``last_input`` in full; ``state_gradient`` is not for them. Which input
        was the last, and how long ago, has no gradient.

        Args:
            step: Long[B].
            last_update: Long[B], -1 before any.
            importance: Float[B, L] of the window before; 0 where there was none or its updates were forced.
            last_input: Float[B, D], 0 before any; needed for "input" only.
            budget: K in force, 0 to L.
        """
        if not (self.inputs or self.windows):
            return None
        parts = []
        if "since_update" in self.inputs:
            waited = (step - last_update.clamp(min=0)).to(self.weight.dtype) / self.time_scale
            parts.append(waited.unsqueeze(-1))
        if "importance" in self.inputs:
            parts.append(importance)
        if "input" in self.inputs:
            assert last_input is not None
            parts.append(last_input)
        if "budget" in self.inputs:
            values = self.weight.new_tensor(halvings(budget, self.window or 1))
            parts.append(values.expand(len(step), -1))
        if self.windows:
            own = torch.div(step, self.window or 1, rounding_mode="floor").clamp(max=self.windows - 1)
            parts.append(torch.nn.functional.one_hot(own, self.windows).to(self.weight.dtype))
        return torch.cat(parts, dim=-1)

    def columns_of(self, name: str, input_size: int) -> slice | None:
        """Where in ``weight`` one of ``inputs`` lies; None where the gate does not see it."""
        widths = columns(self.inputs, self.window or 1, input_size, self.windows)
        if name not in widths:
            return None
        names = list(widths)
        end = self.weight.shape[1] - sum(widths[after] for after in names[names.index(name) + 1 :])
        return slice(end - widths[name], end)


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
        budget_gates: pairs (K, gate), K ascending: the gate of windows that open under at most K, in the place of
            ``gate`` (``skipw.gate_budgets``). Backends get calls without any (``ops.by_budget``).
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
    budget_gates: tuple[tuple[int, Gate], ...] = ()


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
