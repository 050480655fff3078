"""What a governor asks of a stream, and what it tells of itself."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from skipw.errors import BudgetError, StreamOrderError
from skipw.operating_point import OperatingPoint

__all__ = ["Costs", "Decision", "Streaming", "check_window", "not_one_input"]


class Streaming(Protocol):
    """What a governor asks of a stream: these verbs of ``skipw.Stream``.

    Where it has ``window`` too, that is compared with the points'; ``inputs`` is read in place of ``usage.inputs``.
    """

    @property
    def needs_input(self) -> bool: ...
    @property
    def plan(self) -> tuple[int, ...]: ...
    @property
    def usage(self) -> Any: ...
    def process(self, x: Any) -> None: ...
    def skip(self) -> None: ...
    def set_operating_point(self, point: OperatingPoint | None) -> None: ...
    def reset(self) -> None: ...


def check_window(stream: Streaming, window: int | None) -> None:
    """Raises BudgetError where the stream's windows are not those of the points, L or None."""
    own = getattr(stream, "window", window)
    if own != window:
        texts = ["no window" if length is None else f"a window of {length}" for length in (window, own)]
        raise BudgetError(
            f"the points are of a model with {texts[0]}, the stream's model has {'none' if own is None else texts[1]}; "
            "read_points takes the grid.csv or operating_points.csv of the very model that streams."
        )


def not_one_input(number: int, passed: int) -> StreamOrderError:
    """The error for a step at input ``number`` in which none, several or, after a reset, fewer than none passed."""
    got = "a reset" if passed < 0 else ("none" if not passed else str(passed))
    return StreamOrderError(
        f"the step of input {number} takes one input, got {got}: call process() or skip() once inside each "
        "`with governor.step(stream)`, and governor.reset(stream) outside of it."
    )


class Decision(NamedTuple):
    """One call of ``set_operating_point``: before the ``input``-th input of the ``sequence``-th sequence, from 0.

    ``reason`` is "start", "up", "down", "limit" (hard mode takes inputs away from this window) or "resume" (the
    point again that a limit or another stream had replaced). The rest is what was known, in ms or mJ: what a
    window should cost, what it was predicted to, and the cost of a processed and of a skipped input.
    """

    sequence: int
    input: int
    point: OperatingPoint
    reason: str
    target: float
    predicted: float
    processed: float
    skipped: float


class Costs(NamedTuple):
    """Of one input, in ms or mJ."""

    processed: float
    skipped: float
