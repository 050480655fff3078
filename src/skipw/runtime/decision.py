"""What a governor asks of a stream, and what it tells of itself."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from skipw.operating_point import OperatingPoint

__all__ = ["Costs", "Decision", "Streaming"]


class Streaming(Protocol):
    """What a governor asks of a stream: these verbs of ``skipw.Stream``."""

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
