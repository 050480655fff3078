"""What every stream offers, whichever engine serves it (DESIGN, section 4)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from skipw.errors import BudgetError, StreamOrderError
from skipw.models.architecture import Architecture
from skipw.operating_point import OperatingPoint
from skipw.runtime.weights import DENSE

__all__ = ["Stream", "Usage", "checked_point", "refuse"]


@dataclass(frozen=True)
class Usage:
    """What a stream has cost since it began or was reset.

    Attributes:
        inputs: seen, processed or skipped.
        processed: of these, processed.
        max_in_window: most inputs processed in any window, the current one included, or in any L consecutive inputs
            where the bound is over those; None without windows.
    """

    inputs: int
    processed: int
    max_in_window: int | None

    @property
    def fraction(self) -> float:
        """Share of the inputs that was processed, in [0, 1]; 0 before any."""
        return self.processed / self.inputs if self.inputs else 0.0


class Stream(ABC):
    """One sequence, input by input, at constant memory. Make one with :meth:`StreamModel.create_stream`.

    For each input call :meth:`process` if :attr:`needs_input`, else :meth:`skip`.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def needs_input(self) -> bool:
        """Whether the next input is to be processed; if not, it need not even be recorded."""

    @abstractmethod
    def process(self, x: Any) -> None:
        """The next input, read.

        Args:
            x: raw Float[D], normalised here; for token models an id or a word.
        Raises:
            StreamOrderError: if the next input is to be skipped.
            ShapeError: (a ValueError) for a wrong width, a value that is not finite, an id out of range;
                nothing has changed then.
        """

    @abstractmethod
    def skip(self) -> None:
        """The next input, not read.

        Raises:
            StreamOrderError: if the next input is to be processed.
        """

    @property
    @abstractmethod
    def plan(self) -> tuple[int, ...]:
        """Offsets still to be processed in this window, ascending: a device can sleep until then.

        Between two windows it is the next one's. Always empty for models without windows, which decide anew
        after each input.
        """

    @abstractmethod
    def output(self) -> npt.NDArray[Any]:
        """The head's output so far, Float[num_outputs]; without head the top layer's state Float[N]."""

    @abstractmethod
    def set_operating_point(self, point: OperatingPoint | None) -> None:
        """Run at ``point`` from the next input on, also within a window.

        No window ever holds more processed inputs than the largest budget that was set in it.

        Raises:
            BudgetError: if the model cannot run there; nothing has changed then.
        """

    @property
    @abstractmethod
    def operating_point(self) -> OperatingPoint | None:
        """Where the stream runs; None for dense models."""

    @property
    @abstractmethod
    def usage(self) -> Usage:
        """What the stream has cost so far."""

    @property
    def inputs(self) -> int:
        """Inputs seen, ``usage.inputs``."""
        return self.usage.inputs

    @property
    @abstractmethod
    def window(self) -> int | None:
        """L; None for models without windows."""

    @abstractmethod
    def reset(self) -> None:
        """Begin a new sequence at the same operating point: state, window and usage; random draws go on."""


def checked_point(architecture: Architecture, point: OperatingPoint | None) -> OperatingPoint | None:
    """``point`` as the model follows it: None for dense models, never None for the others, no K above its largest.

    Raises:
        BudgetError: if the model cannot run there.
    """
    if point is not None and not isinstance(point, OperatingPoint):
        raise BudgetError(f"expected an OperatingPoint, got {type(point).__name__}.")
    if architecture.model in DENSE:
        if point is not None:
            raise BudgetError("a dense model processes every input; it has no operating points.")
        return None
    chosen = OperatingPoint() if point is None else point
    if architecture.model == "skipw":
        return chosen.held_to(architecture.window or 0, architecture.largest_budget)
    if chosen.budget is not None:
        raise BudgetError(
            f"this model has no budget (got {chosen.budget}): its cost is not bounded; use SkipW for a "
            "strict bound, or move the threshold."
        )
    if architecture.model == "skiprnn" and chosen.threshold != 0.5:
        raise BudgetError(
            f"SkipRNN's threshold is fixed at 0.5, got {chosen.threshold}; load its weights into ThrRNN."
        )
    return chosen


def refuse(verb: str, inputs: int, window: int | None) -> StreamOrderError:
    """The error for the wrong ``verb`` at the input with index ``inputs``."""
    offset = "" if window is None else f" (offset {inputs % window} of its window)"
    if verb == "process":
        return StreamOrderError(
            f"input {inputs}{offset} is to be skipped: call skip(); ask needs_input first."
        )
    return StreamOrderError(
        f"input {inputs}{offset} is to be processed: call process(x); ask needs_input first."
    )
