"""A stream in numpy: serves every model, on any machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from skipw.models.architecture import Architecture
from skipw.operating_point import OperatingPoint
from skipw.runtime.encoding import Encoder
from skipw.runtime.gate import AccumulatingGate, Gate, OpenGate, WindowGate
from skipw.runtime.step import Step
from skipw.runtime.verbs import Stream, Usage, checked_point, refuse

__all__ = ["NumpyStream"]


class NumpyStream(Stream):
    """See :class:`skipw.runtime.verbs.Stream`.

    Args:
        architecture: of the model.
        encode: what turns a raw input into what the cells read.
        step: the arithmetic of one input.
        point: where it runs.
        generator: what the selectors "sample" and "random" draw from.
    """

    __slots__ = ("_architecture", "_encode", "_gate", "_generator", "_point", "_state", "_step")

    def __init__(
        self,
        architecture: Architecture,
        encode: Encoder,
        step: Step,
        point: OperatingPoint | None,
        generator: np.random.Generator,
    ) -> None:
        self._architecture, self._encode, self._step, self._generator = architecture, encode, step, generator
        self._state = step.initial
        self._point = checked_point(architecture, point)
        self._gate = self._new_gate(self._point)

    @property
    def needs_input(self) -> bool:
        return self._gate.due

    def process(self, x: Any) -> None:
        if not self._gate.due:
            raise refuse("process", self._gate.inputs, self._architecture.window)
        encoded = self._encode(x)
        self._state = state = self._step.advance(encoded, self._state)
        self._gate.process(state, encoded)

    def skip(self) -> None:
        gate = self._gate
        if gate.due:
            raise refuse("skip", gate.inputs, self._architecture.window)
        gate.skip()

    @property
    def plan(self) -> tuple[int, ...]:
        return self._gate.plan

    def output(self) -> npt.NDArray[Any]:
        return self._step.scores(self._state)

    def set_operating_point(self, point: OperatingPoint | None) -> None:
        checked = checked_point(self._architecture, point)
        self._gate.switch(checked)
        self._point = checked

    @property
    def operating_point(self) -> OperatingPoint | None:
        return self._point

    @property
    def usage(self) -> Usage:
        gate = self._gate
        return Usage(gate.inputs, gate.processed, gate.max_in_window)

    @property
    def inputs(self) -> int:
        return self._gate.inputs

    @property
    def window(self) -> int | None:
        return self._architecture.window

    def reset(self) -> None:
        self._state = self._step.initial
        self._gate = self._new_gate(self._point)

    def _new_gate(self, point: OperatingPoint | None) -> Gate:
        if point is None:
            return OpenGate()
        if self._architecture.model == "skipw":
            return WindowGate(self._step, self._architecture, point, self._generator)
        return AccumulatingGate(self._step, point)
