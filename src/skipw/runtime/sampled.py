"""Streams of the sampling baselines: dense models that are given a share of the inputs, whatever these hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from skipw.errors import BudgetError, ParamsError
from skipw.operating_point import OperatingPoint
from skipw.runtime.verbs import Stream, Usage, refuse

__all__ = ["SAMPLING_KINDS", "SampledStream", "no_point"]

SAMPLING_KINDS = ("random", "periodic")
ROUNDING = 1e-6  # as in skipw.models.baselines.periodic_updates


def no_point(kind: str, rate: float) -> BudgetError:
    """The error for an operating point."""
    return BudgetError(
        f"this {kind} baseline processes a share of {rate:g} of the inputs and has no operating points; leave budget "
        "and threshold out."
    )


class SampledStream(Stream):
    """A dense stream, and the rule by which inputs are left out; the verbs are those of ``skipw.Stream``.

    Args:
        stream: of a dense model, before its first input.
        kind: "periodic" (at regular intervals from input 0 on) or "random" (each independently).
        rate: the share that is processed, in [0, 1].
        generator: what "random" draws from.
    Raises:
        ParamsError: if the kind is unknown or the rate is no share.
    """

    def __init__(self, stream: Stream, kind: str, rate: float, generator: np.random.Generator) -> None:
        if kind not in SAMPLING_KINDS or not 0 <= rate <= 1:
            raise ParamsError(
                f"expected {' or '.join(SAMPLING_KINDS)} with a rate in [0, 1], got {kind!r} with {rate!r}."
            )
        self._stream, self._kind, self._rate, self._generator = stream, kind, rate, generator
        self._inputs = 0
        self._due = self._decide()

    @property
    def needs_input(self) -> bool:
        """Whether the next input is to be processed."""
        return self._due

    def process(self, x: Any) -> None:
        """The next input, read; errors as ``skipw.Stream.process``."""
        if not self._due:
            raise refuse("process", self._inputs, None)
        self._stream.process(x)
        self._advance()

    def skip(self) -> None:
        """The next input, not read; errors as ``skipw.Stream.skip``."""
        if self._due:
            raise refuse("skip", self._inputs, None)
        self._advance()

    @property
    def plan(self) -> tuple[int, ...]:
        """Empty: there are no windows."""
        return ()

    def output(self) -> npt.NDArray[Any]:
        """The head's output so far."""
        return self._stream.output()

    def set_operating_point(self, point: OperatingPoint | None) -> None:
        """BudgetError for any point: there are none."""
        if point is not None:
            raise no_point(self._kind, self._rate)

    @property
    def operating_point(self) -> None:
        """There is none."""
        return None

    @property
    def usage(self) -> Usage:
        """What the stream has cost so far."""
        return Usage(self._inputs, self._stream.usage.processed, None)

    @property
    def window(self) -> None:
        """There are none."""
        return None

    def reset(self) -> None:
        """Begin a new sequence; random draws go on."""
        self._stream.reset()
        self._inputs = 0
        self._due = self._decide()

    def _advance(self) -> None:
        self._inputs += 1
        self._due = self._decide()

    def _decide(self) -> bool:
        if self._kind == "random":
            return bool(self._generator.random() < self._rate)
        t, rate = self._inputs, self._rate
        return math.ceil((t + 1) * rate - ROUNDING) > math.ceil(t * rate - ROUNDING)
