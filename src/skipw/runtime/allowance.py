"""How much a window may cost so that a budget holds over many: the integral part of the governor."""

from __future__ import annotations

import math
from collections import deque
from typing import Protocol

from skipw.errors import BudgetError

__all__ = ["Allowance", "SequenceAllowance", "SlidingAllowance", "allowance_of"]

HORIZON = 8  # windows
REMEMBERED = 64  # sequences, in what windows usually cost
LONGEST = 4096  # windows: each decision looks at all of them


class Allowance(Protocol):
    """A budget over several windows, and what they have cost so far; all in one unit, ms or mJ."""

    def target(self) -> float:
        """What the next window should cost: the budget a window, less a share of what is overdrawn."""

    def left(self, floor: float) -> float:
        """The most that the next window may cost, so that the budget still holds if each later one costs ``floor``."""

    def close(self, cost: float) -> None:
        """A window has ended and cost this much."""

    def reset(self) -> None:
        """A new sequence begins."""


class SlidingAllowance:
    """At most ``windows`` times ``rate`` in any ``windows`` consecutive windows, across sequences.

    Args:
        rate: budget a window.
        windows: W, the horizon; memory and time a window are proportional to it.
    """

    __slots__ = ("_past", "_rate", "_windows")

    def __init__(self, rate: float, windows: int) -> None:
        self._rate, self._windows = rate, windows
        self._past: deque[float] = deque(maxlen=windows - 1)

    def target(self) -> float:
        overdrawn = sum(self._past) - len(self._past) * self._rate
        return self._rate - max(0.0, overdrawn) / self._windows

    def left(self, floor: float) -> float:
        # The horizon that ends j windows before the newest past one began holds W - 1 - j windows yet to come.
        later, past = self._windows - 1, 0.0
        least = later * floor
        for cost in reversed(self._past):
            past += cost
            later -= 1
            least = max(least, past + later * floor)
        return self._windows * self._rate - least

    def close(self, cost: float) -> None:
        self._past.append(cost)

    def reset(self) -> None:
        """The device goes on, and so does the horizon."""


class SequenceAllowance:
    """At most ``budget`` for each sequence.

    Windows of a sequence don't cost the same: what share of its cost usually falls into its first w windows is learnt
    from the sequences before, so that an expensive beginning is no reason to save.

    Args:
        budget: for one sequence.
        windows: how many it has, the last one perhaps cut off; memory is proportional to it.
    """

    __slots__ = ("_budget", "_closed", "_seen", "_spent", "_usual", "_windows")

    def __init__(self, budget: float, windows: int) -> None:
        self._budget, self._windows = budget, windows
        self._usual = [window / windows for window in range(windows + 1)]
        self._seen = 0
        self._closed, self._spent = 0, [0.0]

    def target(self) -> float:
        rate, spent = self._budget / self._windows, self._spent[-1]
        still = 1.0 - self._usual[min(self._closed, self._windows)]
        if spent <= self._budget * (1.0 - still):
            return rate
        return rate * max(0.0, self._budget - spent) / (self._budget * still) if still > 0.0 else 0.0

    def left(self, floor: float) -> float:
        later = max(0, self._windows - 1 - self._closed)
        return self._budget - self._spent[-1] - later * floor

    def close(self, cost: float) -> None:
        self._closed += 1
        total = self._spent[-1] + cost
        if self._closed <= self._windows:
            self._spent.append(total)
        else:
            self._spent[-1] = total

    def reset(self) -> None:
        total = self._spent[-1]
        if self._closed == self._windows and total > 0.0:
            self._seen = min(self._seen + 1, REMEMBERED)
            for window, spent in enumerate(self._spent):
                self._usual[window] += (spent / total - self._usual[window]) / self._seen
        self._closed, self._spent = 0, [0.0]


def allowance_of(
    budget: float, per: str, window: int, length: int | None, horizon: int | None
) -> tuple[Allowance, float, int]:
    """What keeps this budget, the budget a window, and the horizon in windows.

    Args:
        budget: for what ``per`` names: "input", "window", or "sequence" of ``length`` inputs.
        per: see there.
        window: L, inputs.
        length: inputs of a sequence, for ``per="sequence"`` only.
        horizon: windows; None for the default.
    Raises:
        BudgetError: if they don't fit together.
    """
    if per not in ("input", "window", "sequence"):
        raise BudgetError(f'per is "input", "window" or "sequence", got {per!r}.')
    if (per == "sequence") != (length is not None):
        raise BudgetError(
            f'length=, a sequence\'s inputs, belongs to per="sequence"; got {length} and {per!r}.'
        )
    if length is not None:
        if length < 1 or horizon is not None:
            raise BudgetError(
                f"a budget for sequences needs a length of at least 1 and takes no horizon, it is the sequence; "
                f"got length {length}, horizon {horizon}."
            )
        windows = math.ceil(length / window)
        if windows > LONGEST:
            raise BudgetError(
                f'a sequence has at most {LONGEST} windows here, got {windows}; use per="input".'
            )
        return SequenceAllowance(budget, windows), budget * window / length, windows
    windows = HORIZON if horizon is None else horizon
    if not 1 <= windows <= LONGEST:
        raise BudgetError(f"horizon is 1 to {LONGEST} windows, got {horizon}.")
    rate = budget * window if per == "input" else budget
    return SlidingAllowance(rate, windows), rate, windows
