"""Which operating point fits a budget: predictions from measured costs and shares, with hysteresis."""

from __future__ import annotations

from collections.abc import Sequence

from skipw.errors import BudgetError
from skipw.operating_point import OperatingPoint
from skipw.runtime.cost_estimate import CostEstimate
from skipw.runtime.rated_points import RatedPoint

__all__ = ["ControlLaw"]

MEMORY = 1.0 - 1.0 / 128.0  # of the share that the stream shows, a window
FORGET = 0.1  # of the cost of a processed input, each window after a horizon without one


class ControlLaw:
    """Chooses among the rungs of a ladder; knows costs and shares, nothing of streams and clocks.

    A window of L inputs at a point with share s costs ``L * (s * processed + (1 - s) * skipped)``. The share is
    the point's own times ``share_ratio``, what the stream has shown over what was expected, and at most K / L.

    Args:
        rungs: of ``ladder``.
        inputs: L, a window's.
        costs: first guesses of a processed and a skipped input, or None.
        margin, headroom: shares of the budget that a prediction leaves free to stay, and beyond that to go up.
        dwell: windows between a move and a later move up.
        start: the point to begin at; None for the cheapest that processes anything.
    Attributes:
        processed, skipped: what an input of each kind costs.
        share_ratio: of inputs processed, seen over expected.
        index: the rung in use.
    Raises:
        BudgetError: if ``start`` is not on the ladder.
    """

    def __init__(
        self,
        rungs: Sequence[RatedPoint],
        inputs: int,
        costs: tuple[float, float] | None,
        *,
        margin: float,
        headroom: float,
        dwell: int,
        start: OperatingPoint | None = None,
    ) -> None:
        self._rungs, self._inputs, self._dwell = tuple(rungs), inputs, dwell
        self._shares = [rung.inputs_processed for rung in rungs]
        self._most = [rung.most for rung in rungs]
        self._stay, self._up = 1.0 - margin, 1.0 - margin - headroom
        guess = costs or (None, None)
        self.processed, self.skipped = CostEstimate(guess[0]), CostEstimate(guess[1])
        self.share_ratio = 1.0
        self._seen = self._expected = 0.0
        self._moved = self._idle = 0
        #: The cheapest rung that processes anything.
        self.reading = next(rung for rung, share in enumerate(self._shares) if share > 0.0)
        self.index = self.reading if start is None else self._rung_of(start)

    def _rung_of(self, start: OperatingPoint) -> int:
        for index, rung in enumerate(self._rungs):
            if rung.point == start:
                return index
        listed = ", ".join(f"({rung.point.budget}, {rung.point.threshold})" for rung in self._rungs)
        raise BudgetError(f"start must be a point that pays and is allowed: one of {listed}; got {start}.")

    def predict(self, index: int) -> float:
        """What a window at this rung is expected to cost."""
        share = self._shares[index] * self.share_ratio
        if share > self._most[index]:
            share = self._most[index]
        skipped = self.skipped.mean
        return self._inputs * (skipped + share * (self.processed.mean - skipped))

    def choose(self, target: float) -> str:
        """At a window's start: move :attr:`index` to what should follow; says "up", "down" or "" if it stays.

        Down at once, to the most accurate rung that leaves the margin; up only ``dwell`` windows after the last
        move, to the most accurate that leaves the headroom too, the more of it the fewer samples there are.
        """
        self._moved += 1
        if self.fall(target):
            return "down"
        if self._moved < self._dwell or not self.processed.mean:
            return ""
        rung = self._highest(target * self._up / self.processed.caution, self.index)
        if rung == self.index:
            return ""
        self.index, self._moved = rung, 0
        return "up"

    def fall(self, target: float) -> bool:
        """Move down if the present rung does not fit; returns whether it moved.

        To the most accurate rung that leaves half of the headroom, so that noise does not move it again.
        """
        index = self.index
        if index == 0 or self.predict(index) <= target * self._stay:
            return False
        limit = 0.5 * target * (self._stay + self._up)
        while index and self.predict(index) > limit:
            index -= 1
        self.index, self._moved = index, 0
        return True

    def _highest(self, limit: float, lowest: int) -> int:
        for index in range(len(self._rungs) - 1, lowest, -1):
            if self.predict(index) <= limit:
                return index
        return lowest

    def end_window(self, used: int, *, whole: bool, starved: bool, patience: int) -> None:
        """A window has ended, with ``used`` inputs processed.

        Args:
            used: inputs processed in it.
            whole: whether the present rung alone ruled it, so that its share says something.
            starved: whether nothing was allowed to be processed. After ``patience`` such windows the cost of a
                processed input is gradually forgotten, so that one is tried again: nothing else would show that
                the device has recovered.
            patience: in windows.
        """
        self._idle = self._idle + 1 if starved else 0
        if self._idle > patience:
            self.processed.forget(FORGET)
        if whole and not starved:
            self._seen = MEMORY * self._seen + used
            self._expected = MEMORY * self._expected + self._inputs * self._shares[self.index]
            prior = 0.5 * self._inputs
            self.share_ratio = (self._seen + prior) / (self._expected + prior)

    def overloaded(self, rate: float) -> bool:
        """Whether nothing that processes any input fits a budget of ``rate`` a window."""
        return self.predict(self.reading) > rate or self.predict(0) > rate
