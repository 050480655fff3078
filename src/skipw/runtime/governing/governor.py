"""Hold a latency or an energy budget on line: measure what inputs cost, and move (K, thr) of a running stream.

``docs/governor.md`` has the control law and what it achieves.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from skipw.errors import BudgetError
from skipw.operating_point import OperatingPoint
from skipw.runtime.governing.allowance import allowance_of
from skipw.runtime.governing.control_law import ControlLaw
from skipw.runtime.governing.decision import Costs, Decision, Streaming, check_window, not_one_input
from skipw.runtime.governing.rated_points import RatedPoint, ladder
from skipw.runtime.governing.settings import budget_of, check_costs, check_settings

__all__ = ["Costs", "Decision", "Governor", "Streaming"]

log = logging.getLogger(__name__)

UNWINDOWED = 16  # inputs between two decisions where the model has no windows
SURE = 4  # samples of a processed input, before anything is said about the budget
LARGEST = 1e12  # a cost beyond this, below 0 or NaN is a fault of the meter


class Governor:
    """Keeps a stream within a budget, at the most accurate operating point that fits.

    Whatever produces an input belongs into :meth:`step`; waiting for it does not::

        for frame in camera:
            with governor.step(stream):
                if stream.needs_input: stream.process(pose(frame))
                else:                  stream.skip()

    One governor holds one stream at a time, in one thread. Its memory does not grow.

    Args:
        points: of one model, from ``read_points``; those that a cheaper one equals are left out.
        budget_ms, budget_mj: the budget, one of the two.
        per: what the budget is for: an "input" (on average), a "window" or a "sequence" of ``length`` inputs.
        length: inputs of a sequence.
        hard: never exceed the budget over ``horizon`` windows, as far as no input costs more than ``worst``: a
            window's K is lowered while it runs to what is left. Else the budget holds on average.
        max_budget: K is never above this, whatever is measured.
        meter: a running total in the budget's unit, read before and after each input. None: a monotonic clock
            for ms; for mJ ``costs`` are the truth.
        costs: of a processed and of a skipped input; with a meter a first guess.
        worst: the most that one processed input can cost; None: the largest of the last seven.
        horizon: windows that the budget holds over, 8 if None; for sequences it is the sequence.
        margin, headroom: shares of the budget that predictions leave free: to stay, and beyond that to move up.
        dwell: windows between a move and a later move up.
        start: the point to begin at; the cheapest that processes anything if None.
        history: how many decisions are kept.
    Attributes:
        decisions: the last ``history`` of them, oldest first.
        faults: readings of the meter that were no cost (backwards, NaN), replaced by what was expected.
    Raises:
        BudgetError: for a setting outside its range, for fewer than two points, and where a model without a window
            is asked for a strict bound.
    """

    def __init__(
        self,
        points: Iterable[RatedPoint],
        *,
        budget_ms: float | None = None,
        budget_mj: float | None = None,
        per: str = "input",
        length: int | None = None,
        hard: bool = False,
        max_budget: int | None = None,
        meter: Callable[[], float] | None = None,
        costs: tuple[float, float] | None = None,
        worst: float | None = None,
        horizon: int | None = None,
        margin: float = 0.02,
        headroom: float = 0.05,
        dwell: int = 4,
        start: OperatingPoint | None = None,
        history: int = 4096,
    ) -> None:
        self._rungs = ladder(points, max_budget)
        window = self._rungs[0].window
        if hard and window is None:
            raise BudgetError(
                "a ThrRNN has no strict bound (hard=True), its cost varies as it likes; use a SkipW."
            )
        check_settings(margin=margin, headroom=headroom, dwell=dwell, history=history, worst=worst)
        budget, self.unit = budget_of(budget_ms, budget_mj)
        check_costs(costs, needed=budget_mj is not None and meter is None)
        self._window = window or UNWINDOWED
        self._allowance, self.rate, self.horizon = allowance_of(budget, per, self._window, length, horizon)
        self._law = ControlLaw(
            self._rungs, self._window, costs, margin=margin, headroom=headroom, dwell=dwell, start=start
        )
        by_clock = meter is None and budget_mj is None
        self._meter = time.perf_counter if by_clock else meter
        self._scale = 1e3 if by_clock else 1.0
        self._fixed = costs or (0.0, 0.0)
        self._hard, self._worst = hard, worst or 0.0
        self._stream: Any = None
        self._due = self._counts = False
        self._seen = 0
        self._before = self._left = self._target = 0.0
        self._set: OperatingPoint | None = None
        self.decisions: deque[Decision] = deque(maxlen=history)
        self.faults = 0
        self._sequence = -1
        self._warned = self._opened = self._lost = False
        self._begin(0)

    def step(self, stream: Streaming) -> Governor:
        """The next input of ``stream``, as a context: decides, then measures what happens inside.

        Inside call ``process`` or ``skip`` once, as ``stream.needs_input`` says. Where the body raises, its cost
        still counts, and the governor finds its place again by ``stream.usage``. A stream that was not the last
        one begins a new sequence.

        Raises:
            BudgetError: if the points are those of a model with another window.
            StreamOrderError: at its end, unless exactly one input passed.
        """
        if self._meter is not None:  # before deciding: that takes time too
            self._before = self._meter()
        if self._attention or stream is not self._stream:
            self._attend(stream)
        return self

    def advance(self, stream: Streaming, make_input: Callable[[], Any]) -> bool:
        """One input, measured: ``make_input`` is called only if it is processed; returns whether it was."""
        with self.step(stream):
            if stream.needs_input:
                stream.process(make_input())
                return True
            stream.skip()
            return False

    def reset(self, stream: Streaming) -> None:
        """A new sequence: resets the stream too. What was learnt of costs and shares stays.

        Raises:
            BudgetError: as :meth:`step`; nothing has changed then.
        """
        check_window(stream, self._rungs[0].window)
        stream.reset()
        self._adopt(stream)

    @property
    def point(self) -> OperatingPoint | None:
        """Where the stream runs, limits included; None before the first step."""
        return self._set

    @property
    def costs(self) -> Costs:
        """What one input is expected to cost, in :attr:`unit`."""
        return Costs(self._law.processed.mean, self._law.skipped.mean)

    @property
    def share_ratio(self) -> float:
        """Share of inputs processed that the stream shows, over what its points were rated at."""
        return self._law.share_ratio

    @property
    def state(self) -> str:
        """ "starting" while costs are unknown; "overloaded" when nothing that reads an input fits; else "holding"."""
        if not self._law.processed.mean:
            return "starting"
        return "overloaded" if self._law.overloaded(self.rate) else "holding"

    def __enter__(self) -> Governor:
        stream = self._stream
        due = stream.needs_input
        if due and self._hard:
            affordable = self._affordable()
            if affordable < len(stream.plan):
                self._limit(self._used + affordable)
                due = stream.needs_input
        self._due = due
        self._seen = stream.inputs if self._counts else stream.usage.inputs
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        due = self._due
        meter = self._meter
        cost = self._fixed[not due] if meter is None else (meter() - self._before) * self._scale
        sound = 0.0 <= cost <= LARGEST
        if not sound:
            cost = self._mended(due)
        self._spent += cost
        if kind is not None:
            self._lost = self._attention = True
            return
        stream = self._stream
        passed = (stream.inputs if self._counts else stream.usage.inputs) - self._seen
        if passed != 1:
            self._lost = self._attention = True
            raise not_one_input(self._seen, passed)
        if not due:
            self._skipped += cost
        elif sound and self._law.processed.add(cost):
            self._attention = True
        self._advance(due)

    def _advance(self, due: bool) -> None:
        self._used += due
        self._input += 1
        self._offset += 1
        if self._offset == self._window:
            self._close()

    def _mended(self, due: bool) -> float:
        self.faults += 1
        return self._law.processed.mean if due else self._law.skipped.mean

    def _attend(self, stream: Streaming) -> None:
        """What is due before this input: another stream, a lost place, a new window, a new speed."""
        if stream is not self._stream:
            check_window(stream, self._rungs[0].window)
            self._adopt(stream)
        elif self._lost:
            self._find_place()
        elif not self._opened and stream.usage.inputs != self._input:  # reset behind our back
            self._adopt(stream)
        self._attention = False
        if not self._opened:
            self._open()
        elif self._law.fall(self._target):
            self._settled = False
            self._apply("down")

    def _adopt(self, stream: Streaming) -> None:
        if self._offset:
            self._allowance.close(self._spent)
        self._allowance.reset()
        if stream is not self._stream:
            self._stream, self._set = stream, None
            self._counts = isinstance(getattr(stream, "inputs", None), int)
        self._sequence += 1
        self._input = stream.usage.inputs
        self._begin(self._input % self._window)

    def _find_place(self) -> None:
        """After an error inside a step: the input may have been taken, or not."""
        self._lost = False
        inputs = self._stream.usage.inputs
        if inputs == self._input + 1:
            self._advance(self._due)
        elif inputs != self._input:
            self._adopt(self._stream)

    def _begin(self, offset: int) -> None:
        """A window, from this offset on."""
        self._offset = self._start = offset
        self._used = 0
        self._spent = self._skipped = 0.0
        self._settled = offset == 0  # whether one point rules all of it
        self._opened = self._lost = False
        self._attention = True

    def _open(self) -> None:
        """Decide on the window that begins."""
        self._opened = True
        self._target = self._allowance.target()
        reason = self._law.choose(self._target) if self.decisions else "start"
        known = self._law.processed.samples >= SURE
        if known and not self._warned and self._law.overloaded(self.rate):
            self._warned = True
            log.warning(
                "the budget of %.3g %s a window is too small: the cheapest point that reads an input needs "
                "%.3g. The stream runs at its floor; give it a larger budget or a faster device.",
                self.rate,
                self.unit,
                self._law.predict(self._law.reading),
            )
        if self._hard:
            self._left = self._allowance.left(self._window * self._law.skipped.mean)
        self._apply(reason or "resume")

    def _apply(self, reason: str) -> None:
        """Bring the stream to the law's rung, or as near as hard mode affords."""
        point = self._rungs[self._law.index].point
        if self._hard:
            affordable = self._used + self._affordable()
            if affordable < point.budget_in(self._window):
                self._limit(affordable)
                return
        self._switch(point, reason)

    def _limit(self, budget: int) -> None:
        self._settled = False
        threshold = self._rungs[self._law.index].point.threshold
        self._switch(OperatingPoint(budget, threshold), "limit")

    def _switch(self, point: OperatingPoint, reason: str) -> None:
        if point == self._set:
            return
        self._stream.set_operating_point(point)
        self._set = point
        law = self._law
        costs = (law.processed.mean, law.skipped.mean)
        self.decisions.append(
            Decision(self._sequence, self._input, point, reason, self._target, law.predict(law.index), *costs)
        )

    def _affordable(self) -> int:
        """How many more inputs this window can pay for, the last of them at its worst."""
        law, inputs = self._law, self._window - self._offset
        skipped = law.skipped.mean
        rest = self._left - self._spent - inputs * skipped
        extra = law.processed.mean - skipped
        worst = max(self._worst or law.processed.worst, law.processed.mean) - skipped
        if rest < 0.0 or rest < worst:
            return 0
        if not law.processed.mean:  # unknown: one will tell
            return 1
        if rest - worst >= inputs * extra:
            return inputs
        return min(inputs, 1 + int((rest - worst) / extra))

    def _close(self) -> None:
        """A window has ended: what it says of shares and of skipped inputs."""
        self._allowance.close(self._spent)
        law, skips = self._law, self._window - self._start - self._used
        if skips > 0:
            law.skipped.add(self._skipped / skips)
        starved = not self._used and self._set is not None and self._set.budget == 0
        law.end_window(self._used, whole=self._settled, starved=starved, patience=self.horizon)
        self._begin(0)
