"""What a run says: a line, or a JSON object, for each window of frames, and one for all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from skipw.actions.service import FrameResult, Totals

__all__ = ["WindowReport", "reports", "summary"]


@dataclass(frozen=True)
class WindowReport:
    """A window of frames; at the end of a sequence it may be shorter.

    Attributes:
        first, last: numbers of its frames.
        sequence: it belongs to; ``final`` on the sequence's last window, whose action is the answer.
        action: the likeliest after its last frame.
        score: that action's probability.
        processed: how many of its frames were.
        person: whether somebody was in the last processed one; None: none was processed.
        read_ms, pose_ms, rnn_ms: spent on all of its frames.
    """

    first: int
    last: int
    sequence: int
    final: bool
    action: str
    score: float
    processed: int
    person: bool | None
    read_ms: float
    pose_ms: float
    rnn_ms: float

    def line(self) -> str:
        """For people."""
        mark = "=" if self.final else " "
        nobody = "  nobody seen" if self.person is False else ""
        return (
            f"{self.first:6d}-{self.last:<6d} {mark} {self.action:<16s} {self.score:5.1%}   "
            f"{self.processed:2d} of {self.last - self.first + 1:<2d}  pose {self.pose_ms:7.1f} ms  "
            f"RNN {self.rnn_ms:5.2f} ms{nobody}"
        )

    def to_json(self) -> dict[str, Any]:
        """For programs; times to the microsecond."""
        return {"kind": "window"} | {
            name: round(value, 4 if name == "score" else 3) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


def reports(
    results: Iterable[FrameResult], *, window: int | None, num_steps: int, classes: Sequence[str]
) -> Iterator[WindowReport]:
    """Frames put together: windows of each sequence, and what is left when the source ends in one.

    Args:
        results: of ``ActionService.run``.
        window: L; None (a model without windows): whole sequences.
        num_steps: frames of a sequence.
        classes: names of the actions; missing ones are called by their number.
    """
    length = num_steps if window is None else window
    open_: list[FrameResult] = []
    for result in results:
        open_.append(result)
        final = result.step == num_steps - 1
        if final or (result.step + 1) % length == 0:
            yield _report(open_, final, classes)
            open_ = []
    if open_:
        yield _report(open_, False, classes)


def _report(frames: Sequence[FrameResult], final: bool, classes: Sequence[str]) -> WindowReport:
    last = frames[-1]
    processed = [frame for frame in frames if frame.processed]
    return WindowReport(
        first=frames[0].frame,
        last=last.frame,
        sequence=last.sequence,
        final=final,
        action=classes[last.action] if last.action < len(classes) else f"class {last.action + 1}",
        score=float(last.scores.max()),
        processed=len(processed),
        person=processed[-1].person if processed else None,
        read_ms=sum(frame.read_ms for frame in frames),
        pose_ms=sum(frame.pose_ms for frame in frames),
        rnn_ms=sum(frame.rnn_ms for frame in frames),
    )


def summary(totals: Totals, window: int | None, seconds: float) -> str:
    """The run in three lines at most."""
    bound = (
        "" if totals.max_in_window is None else f", at most {totals.max_in_window} in any window of {window}"
    )
    lines = [
        f"{totals.processed} of {totals.frames} frames processed ({totals.fraction:.1%}){bound}; a person in "
        f"{totals.persons} of them",
        f"{seconds:.2f} s: pose {totals.pose_ms / 1e3:.2f} s, RNN {totals.rnn_ms / 1e3:.3f} s, reading "
        f"{totals.read_ms / 1e3:.2f} s",
    ]
    if totals.frames and totals.processed:
        each = (totals.read_ms + totals.pose_ms + totals.rnn_ms) / totals.frames
        lines.append(
            f"a frame took {each:.2f} ms on average: {1e3 / each:.0f} frames a second could be served"
        )
    return "\n".join(lines)
