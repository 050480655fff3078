"""Who decides in a stream which inputs are processed: one small state machine for each family of models.

A gate is told after each input whether it was processed, and knows at any time whether the next one is due.
L is the window, K the budget, thr the threshold.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from skipw.gate_budgets import gate_of
from skipw.gate_inputs import halvings, which_window
from skipw.models.architecture import Architecture
from skipw.operating_point import OperatingPoint
from skipw.runtime.selection import (
    DRAWING,
    draw_noise,
    ranking_keys,
    select_slots,
    select_slots_of_any,
)
from skipw.runtime.step import State, Step

__all__ = ["AccumulatingGate", "Gate", "OpenGate", "WindowGate"]

Array: TypeAlias = npt.NDArray[Any]


class Gate(Protocol):
    """What a stream asks of a gate.

    Attributes:
        due: whether the next input is to be processed.
        inputs, processed: how many there were since the start.
    """

    due: bool
    inputs: int
    processed: int

    @property
    def max_in_window(self) -> int | None:
        """Most inputs processed in any window so far, None without windows."""

    @property
    def plan(self) -> tuple[int, ...]:
        """Offsets still to be processed in this window, ascending; empty without windows."""

    def skip(self) -> None:
        """The next input was skipped."""

    def process(self, state: State, x: Array) -> None:
        """The next input, ``x`` as the cells read it (Float[D]), was processed and left ``state``."""

    def switch(self, point: OperatingPoint | None) -> None:
        """From the next input on, run at ``point``, which the model can follow."""


class WindowGate:
    """SkipW: at most K of every L inputs (eqs. 5 to 10), of any L in a row where the model's bound is that.

    The importance of a window's inputs is computed as soon as the window before it has ended.

    Args:
        step: computes the importance.
        architecture: of a SkipW.
        point: K and thr.
        generator: what the selectors "sample" and "random" draw from.
    """

    __slots__ = (
        "_architecture",
        "_base",
        "_before",
        "_generator",
        "_importance",
        "_last_input",
        "_last_update",
        "_most",
        "_next",
        "_noise",
        "_offset",
        "_plan",
        "_point",
        "_recent",
        "_rounding",
        "_state",
        "_step",
        "_switched_at",
        "_used",
        "_values",
        "_window",
        "due",
        "inputs",
        "processed",
    )

    def __init__(
        self, step: Step, architecture: Architecture, point: OperatingPoint, generator: np.random.Generator
    ) -> None:
        assert architecture.window is not None
        self._step, self._architecture, self._generator = step, architecture, generator
        self._window, self._point = architecture.window, point
        self._rounding = step.initial[0][0].dtype.type
        self._state = step.initial
        self._last_update = -1
        self._last_input = np.zeros(architecture.input_size, dtype=self._rounding)
        self._importance = self._before = np.zeros(architecture.window, dtype=self._rounding)
        self.inputs = self.processed = self._most = 0
        self._recent = deque([False] * (self._window - 1), maxlen=self._window - 1)
        self._switched_at = -1
        self._open()

    @property
    def max_in_window(self) -> int:
        return self._most

    @property
    def plan(self) -> tuple[int, ...]:
        return self._plan[self._next :]

    def skip(self) -> None:
        self._recent.append(False)
        self._advance()

    def _advance(self) -> None:
        self.inputs += 1
        self._offset += 1
        if self._offset == self._window:
            self._open()
        else:
            self.due = self._next < len(self._plan) and self._plan[self._next] == self._offset

    def process(self, state: State, x: Array) -> None:
        self._state, self._last_update, self._last_input = state, self.inputs, x
        self.processed += 1
        self._used += 1
        self._next += 1
        held = self._used if self._architecture.bound == "aligned" else 1 + sum(self._recent)
        if held > self._most:
            self._most = held
        self._recent.append(True)
        self._advance()

    def switch(self, point: OperatingPoint | None) -> None:
        """Select anew among the slots still to come: the max(0, K - used) most important, of those that reach thr."""
        assert point is not None
        if self._switched_at != self.inputs:  # of several switches before one input, the last alone counts
            self._switched_at, self._base = self.inputs, (self._point, self.plan)
        self._point = point
        if self._offset == 0 and self._asks_for_budget:
            self._weigh()
            return self._follow(self._select())
        before, plan = self._base
        self._follow(plan if point == before else self._select())

    @property
    def _asks_for_budget(self) -> bool:
        """Whether a window's importance depends on the budget that it opens under."""
        return bool(self._architecture.gate_budgets) or "budget" in self._architecture.gate_inputs

    def _open(self) -> None:
        """A window begins: its importance (eqs. 6 to 8), its noise and its plan."""
        self._offset = self._used = 0
        self._switched_at, self._base = -1, (self._point, ())
        self._before = self._importance
        self._weigh()
        self._noise = None
        if self._architecture.select in DRAWING:
            self._noise = draw_noise(
                self._generator, self._window, self._architecture.select, self._importance.dtype
            )
        self._follow(self._select())

    def _weigh(self) -> None:
        gate = gate_of(self._point.budget_in(self._window), self._architecture.gate_budgets)
        self._importance = self._step.importance(self._state, self._time(), self._extras(), gate)
        self._values = self._importance.tolist()

    def _follow(self, plan: tuple[int, ...]) -> None:
        self._plan, self._next = plan, 0
        self.due = bool(plan) and plan[0] == self._offset

    def _select(self) -> tuple[int, ...]:
        """Eqs. 9 and 10 over the slots that are still to come."""
        threshold = float(self._rounding(self._point.threshold))  # compared in the importance's own precision
        budget = self._point.budget_in(self._window)
        keys = ranking_keys(self._importance, self._architecture.select, self._noise, threshold)
        if self._architecture.bound == "any":
            return select_slots_of_any(self._values, keys, budget, self._recent, threshold, self._offset)
        limit = max(0, budget - self._used)
        return select_slots(self._values, keys, limit, threshold, self._offset)

    def _time(self) -> float:
        """The time feature, divided by its scale in the weights' precision."""
        match self._architecture.time_feature:
            case "none":
                return 0.0
            case "window":
                value = self.inputs // self._window
            case "since_update":
                value = self._since_update()
            case _:
                value = self.inputs
        return self._scaled(value)

    def _since_update(self) -> int:
        return self.inputs - max(self._last_update, 0)

    def _scaled(self, value: int) -> Any:
        return self._rounding(value) / self._rounding(self._architecture.time_scale)

    def _extras(self) -> Array | None:
        """What else the gate sees, in the order of its weight's columns."""
        seen, windows = self._architecture.gate_inputs, self._architecture.gate_windows
        if not (seen or windows):
            return None
        parts = {
            "since_update": lambda: np.array([self._scaled(self._since_update())]),
            "importance": lambda: self._before,
            "input": lambda: self._last_input,
            "budget": lambda: halvings(self._point.budget_in(self._window), self._window),
        }
        own = which_window(self.inputs, self._window, windows)
        return np.concatenate([*(parts[name]() for name in seen), own]).astype(self._rounding)


class AccumulatingGate:
    """ThrRNN and SkipRNN: an input is due once the accumulated value has reached thr (eqs. 1 to 3).

    Args:
        step: computes the increment.
        point: thr.
    """

    __slots__ = (
        "_accumulated",
        "_increment",
        "_one",
        "_step",
        "_threshold",
        "due",
        "inputs",
        "processed",
    )

    def __init__(self, step: Step, point: OperatingPoint) -> None:
        self._step = step
        self._one = self._accumulated = self._increment = step.initial[0][0].dtype.type(1)
        self.inputs = self.processed = 0
        self.switch(point)

    @property
    def max_in_window(self) -> None:
        return None

    @property
    def plan(self) -> tuple[int, ...]:
        return ()

    def skip(self) -> None:
        self.inputs += 1
        accumulated = self._accumulated + self._increment
        self._accumulated = self._one if accumulated > self._one else accumulated  # NaN stays NaN
        self.due = bool(self._accumulated >= self._threshold)

    def process(self, state: State, x: Array) -> None:
        self.inputs += 1
        self.processed += 1
        self._accumulated = self._increment = self._step.probability(state)
        self.due = bool(self._accumulated >= self._threshold)

    def switch(self, point: OperatingPoint | None) -> None:
        assert point is not None
        self._threshold = type(self._one)(point.threshold)
        self.due = bool(self._accumulated >= self._threshold)


class OpenGate:
    """A dense model: every input is due, there are no operating points."""

    __slots__ = ("due", "inputs", "processed")

    def __init__(self) -> None:
        self.due = True
        self.inputs = self.processed = 0

    @property
    def max_in_window(self) -> None:
        return None

    @property
    def plan(self) -> tuple[int, ...]:
        return ()

    def skip(self) -> None:
        self.inputs += 1

    def process(self, state: State, x: Array) -> None:
        self.inputs += 1
        self.processed += 1

    def switch(self, point: OperatingPoint | None) -> None:
        assert point is None
