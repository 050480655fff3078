"""What one input costs, estimated on line: quick to follow a new speed, slow to follow single spikes."""

from __future__ import annotations

__all__ = ["CostEstimate"]

SAMPLES = 7  # in the median: four of them have to agree, so three spikes in a row move nothing
JUMP = 0.35  # a median this far off is a new speed, not noise
FOLLOW = 0.05  # of the way to the median, a sample
EXCESS = 1 / 256  # of the way to what spikes add to the mean, a sample
SURE = 64  # samples after which nothing is added for having seen few


class CostEstimate:
    """Expected cost of one input of a kind: a level that the median moves, and what spikes add to it.

    The level jumps to the median of the last seven samples if that is 35 % off, so a new speed is known after
    four samples; smaller differences are followed smoothly. A median does not see spikes, the average pays for
    them: ``excess`` is the running mean of sample minus median, each sample against the median of the seven that
    it is the centre of, so a change of speed adds nothing to it.

    Args:
        guess: the cost until the first sample; None means unknown, taken as 0.
    Attributes:
        mean: the expected cost, in the unit of the samples.
        samples: how many the estimate rests on; four after a jump, 0 before the first.
    """

    __slots__ = ("_excess", "_level", "_recent", "mean", "samples")

    def __init__(self, guess: float | None = None) -> None:
        self._level = self.mean = guess or 0.0
        self._excess = 0.0
        self._recent: list[float] = []
        self.samples = 0

    def add(self, cost: float) -> bool:
        """Take a sample, finite and at least 0; returns whether the level jumped."""
        recent = self._recent
        recent.append(cost)
        if len(recent) > SAMPLES:
            del recent[0]
        median = sorted(recent)[len(recent) // 2]
        level = self._level
        first = self.samples == 0
        jumped = first or abs(median - level) > JUMP * level
        if jumped:
            self._excess *= median / level if level > 0.0 and not first else 0.0
            self._level = median
            self.samples = 1 if first else min(self.samples + 1, 4)
        else:
            self._level = level + FOLLOW * (median - level)
            self.samples = min(self.samples + 1, SURE)
        if len(recent) == SAMPLES:
            self._excess += EXCESS * (recent[SAMPLES // 2] - median - self._excess)
        self.mean = self._level + (self._excess if self._excess > 0.0 else 0.0)
        return jumped

    @property
    def worst(self) -> float:
        """The largest of the last seven samples; the mean if there are none."""
        return max(max(self._recent, default=0.0), self.mean)

    @property
    def caution(self) -> float:
        """How many times the mean a careful guess is while few samples are known: 1 + 1 / samples."""
        return 1.0 + 1.0 / self.samples if self.samples else 2.0

    def forget(self, share: float) -> None:
        """Nothing was measured for long: the last samples are no longer trusted, the mean shrinks by ``share``.

        The next sample is taken as it is.
        """
        self._recent.clear()
        self._excess = 0.0
        self._level = self.mean = self.mean * (1.0 - share)
        self.samples = 0
