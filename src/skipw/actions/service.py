"""The service: frames in, actions out, at most ``budget`` poses in each window of frames."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from skipw.actions.frames import Frames
from skipw.actions.joints import NUM_VALUES, to_openpose
from skipw.actions.pose_network import Body
from skipw.actions.region import Image
from skipw.data.har import NUM_STEPS
from skipw.errors import ParamsError, ShapeError
from skipw.operating_point import OperatingPoint
from skipw.runtime.stream import StreamModel

__all__ = ["ActionService", "FrameResult", "PoseFinder", "Totals"]


class PoseFinder(Protocol):
    """What ``PoseModel`` is to the service."""

    def find(self, image: Image, age: int = 1) -> Body | None: ...


class FrameResult(NamedTuple):
    """What is known after a frame.

    Attributes:
        frame: its number in the run, from 0.
        sequence, step: its sequence's number and its own in it.
        processed: whether it was decoded, given to the pose network and to the cells.
        person: whether somebody was in it; None: it was not looked at.
        scores: Float[classes], probabilities of the actions after this frame of the sequence.
        read_ms, pose_ms, rnn_ms: milliseconds for decoding it, for its pose, for SkipW and its gate.
    """

    frame: int
    sequence: int
    step: int
    processed: bool
    person: bool | None
    scores: npt.NDArray[np.float64]
    read_ms: float
    pose_ms: float
    rnn_ms: float

    @property
    def action(self) -> int:
        """The likeliest class."""
        return int(self.scores.argmax())


@dataclass
class Totals:
    """What a run has cost.

    Attributes:
        frames, processed: how many came, how many of them were processed.
        max_in_window: most processed frames in any window; None for a model without windows.
        persons: processed frames with a person in them.
        read_ms, pose_ms, rnn_ms: see ``FrameResult``.
    """

    frames: int = 0
    processed: int = 0
    max_in_window: int | None = None
    persons: int = 0
    read_ms: float = 0.0
    pose_ms: float = 0.0
    rnn_ms: float = 0.0

    @property
    def fraction(self) -> float:
        """Share of the frames that were processed, in [0, 1]."""
        return self.processed / self.frames if self.frames else 0.0


class ActionService:
    """Recognises actions in frames.

    Args:
        model: trained on 18 joints in OpenPose's order.
        pose: finds them.
        point: where it runs; None: the whole window at threshold 0.5.
        num_steps: frames after which a new sequence begins, as in training.
        seed: of selectors that draw.
    Raises:
        ShapeError: if the model reads something else than 18 joints, or does not classify.
        ParamsError: if ``num_steps`` is below 1.
        BudgetError: if the model cannot run at ``point``.
    """

    def __init__(
        self,
        model: StreamModel,
        pose: PoseFinder,
        point: OperatingPoint | None = None,
        *,
        num_steps: int = NUM_STEPS,
        seed: int | None = None,
    ) -> None:
        a = model.architecture
        if a.input_size != NUM_VALUES or a.vocabulary_size:
            raise ShapeError(
                f"a model of 18 joints, Float[{NUM_VALUES}] a frame, is needed; this one is {model!r}"
            )
        if a.task != "classification" or not model.has_head:
            raise ShapeError(f"a model that classifies is needed; this one is {model!r}")
        if num_steps < 1:
            raise ParamsError(f"a sequence has at least 1 frame; got {num_steps}")
        self.stream = model.create_stream(point, seed=seed)
        self.totals = Totals()
        self._pose, self._num_steps = pose, num_steps
        normaliser = model.description.get("normaliser") or {}
        self._missing: float | None = normaliser.get("missing")
        self._age = 1

    def run(self, frames: Frames) -> Iterator[FrameResult]:
        """Frame after frame until the source ends; a new sequence every ``num_steps``.

        A processed frame is decoded, its person sought and their pose given to the model; of a skipped one nothing
        is done but to pass it over. The operating point may be moved at any time (``stream.set_operating_point``).

        Raises:
            DataFormatError: if a processed frame cannot be decoded.
        """
        clock = time.perf_counter
        scores = _probabilities(self.stream.output())
        first = self.totals.frames
        while True:
            number = self.totals.frames - first
            sequence, step = divmod(number, self._num_steps)
            start = clock()
            if not frames.advance():
                return
            if step == 0:
                self.stream.reset()
                scores = _probabilities(self.stream.output())
            read = clock()
            if self.stream.needs_input:
                decided = clock()
                result = self._process(frames, (number, sequence, step), read - start, decided)
                scores = result.scores
                yield self._counted(result, rnn_ms=1e3 * (decided - read))
            else:
                self.stream.skip()
                self._age += 1
                rnn_ms = 1e3 * (clock() - read)
                read_ms = 1e3 * (read - start)
                result = FrameResult(number, sequence, step, False, None, scores, read_ms, 0.0, rnn_ms)
                yield self._counted(result)

    def _process(
        self, frames: Frames, place: tuple[int, int, int], passed: float, start: float
    ) -> FrameResult:
        clock = time.perf_counter
        image = frames.read()
        read = clock()
        body = self._pose.find(image, self._age)
        pose = to_openpose(body, (image.shape[1], image.shape[0]), self._missing)
        found = clock()
        self.stream.process(pose)
        scores = _probabilities(self.stream.output())
        done = clock()
        self._age = 1
        times = (1e3 * (passed + read - start), 1e3 * (found - read), 1e3 * (done - found))
        return FrameResult(*place, True, body is not None, scores, *times)

    def _counted(self, result: FrameResult, rnn_ms: float = 0.0) -> FrameResult:
        """The result, added to the totals, with ``rnn_ms`` more for the gate."""
        if rnn_ms:
            result = result._replace(rnn_ms=result.rnn_ms + rnn_ms)
        totals = self.totals
        totals.frames += 1
        totals.processed += result.processed
        totals.persons += bool(result.person)
        totals.read_ms += result.read_ms
        totals.pose_ms += result.pose_ms
        totals.rnn_ms += result.rnn_ms
        most = self.stream.usage.max_in_window
        if most is not None:
            totals.max_in_window = max(most, totals.max_in_window or 0)
        return result


def _probabilities(scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Softmax of Float[classes]."""
    values = np.asarray(scores, dtype=np.float64)
    powers = np.exp(values - values.max())
    share: npt.NDArray[np.float64] = powers / powers.sum()
    return share
