"""Where a model runs on its trade-off between accuracy and cost, and when that changes (Mayet et al., section 3)."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real

from skipw.errors import BudgetError

__all__ = ["OperatingPoint", "Schedule"]


def _checked_index(value: object, what: str) -> int:
    """``value`` as an int; bool, float and anything that is not a whole number is refused."""
    try:
        if isinstance(value, bool) or "bool" in str(getattr(value, "dtype", "")):
            raise TypeError
        index = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise BudgetError(
            f"{what} must be a whole number, got {value!r} ({type(value).__name__}); pass an int such as 3."
        ) from None
    if index < 0:
        raise BudgetError(f"{what} must be at least 0, got {index}.")
    return index


@dataclass(frozen=True)
class OperatingPoint:
    """One choice of (K, thr), the two parameters that may move at inference (eqs. 9 and 10).

    Args:
        budget: K, the most inputs that are processed in any window, 0 <= K <= L; ``None`` means the whole window.
        threshold: thr in [0, 1]; an input is processed only if its importance is at least this.

    Raises:
        BudgetError: if the budget is a bool, a float or negative, or the threshold is outside [0, 1] or not a number.
    """

    budget: int | None = None
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.budget is not None:
            object.__setattr__(self, "budget", _checked_index(self.budget, "budget"))
        threshold = self.threshold
        if isinstance(threshold, bool) or not isinstance(threshold, Real):
            raise BudgetError(
                f"threshold must be a number in [0, 1], got {threshold!r} ({type(threshold).__name__})."
            )
        if not 0.0 <= threshold <= 1.0:  # NaN neither; before float(), which can't take a huge int
            raise BudgetError(f"threshold must lie in [0, 1], got {threshold!r}.")
        object.__setattr__(self, "threshold", float(threshold))

    def budget_in(self, window: int) -> int:
        """K for a model with this window.

        Raises:
            BudgetError: if the budget exceeds the window.
        """
        if self.budget is None:
            return window
        if self.budget > window:
            raise BudgetError(
                f"budget must lie in [0, {window}] for a window of {window} inputs, got {self.budget}; "
                "lower the budget or use a model with a longer window."
            )
        return self.budget

    def held_to(self, window: int, largest_budget: int | None) -> OperatingPoint:
        """This point for a model with this window that takes a larger K as ``largest_budget``; None: it has none such.

        Raises:
            BudgetError: if the budget exceeds the window.
        """
        if self.budget_in(window) <= (window if largest_budget is None else largest_budget):
            return self
        return OperatingPoint(largest_budget, self.threshold)


class Schedule:
    """Operating points that take effect one after the other within one call.

    Args:
        points: pairs (start, point): from the input with index ``start`` of the call on, ``point`` rules.
            The first start is 0 and starts increase strictly.

    Raises:
        BudgetError: if the list is empty, unordered, does not begin at 0 or holds something else.
    """

    def __init__(self, points: Iterable[tuple[int, OperatingPoint]]) -> None:
        if not isinstance(points, Iterable):
            raise BudgetError(f"a schedule is a list of pairs (start, OperatingPoint), got {points!r}.")
        entries: list[tuple[int, OperatingPoint]] = []
        for entry in points:
            try:
                start, point = entry
            except (TypeError, ValueError):
                raise BudgetError(f"a schedule holds pairs (start, OperatingPoint), got {entry!r}.") from None
            if not isinstance(point, OperatingPoint):
                raise BudgetError(f"a schedule holds OperatingPoint values, got {type(point).__name__}.")
            entries.append((_checked_index(start, "the start of a schedule entry"), point))
        if not entries:
            raise BudgetError("a schedule needs at least one pair (0, OperatingPoint).")
        if entries[0][0] != 0:
            raise BudgetError(f"a schedule begins at input 0, got {entries[0][0]}; add a pair (0, point).")
        if any(later[0] <= earlier[0] for earlier, later in pairwise(entries)):
            raise BudgetError(f"starts must increase strictly, got {[start for start, _ in entries]}.")
        self._entries = tuple(entries)

    def at(self, step: int) -> OperatingPoint:
        """The point that rules at input ``step`` of the call, step >= 0."""
        return next(point for start, point in reversed(self._entries) if start <= step)

    def after(self, step: int) -> Schedule:
        """What is left for a call that begins at input ``step`` of this one, step >= 0."""
        later = [(start - step, point) for start, point in self._entries if start > step]
        return Schedule([(0, self.at(step)), *later])

    def held_to(self, window: int, largest_budget: int | None) -> Schedule:
        """Its points, each ``OperatingPoint.held_to`` that.

        Raises:
            BudgetError: if a budget exceeds the window.
        """
        held = [(start, point.held_to(window, largest_budget)) for start, point in self._entries]
        unchanged = all(new is old for (_, new), (_, old) in zip(held, self._entries, strict=True))
        return self if unchanged else Schedule(held)

    def __iter__(self) -> Iterator[tuple[int, OperatingPoint]]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and self._entries == other._entries

    def __hash__(self) -> int:
        return hash(self._entries)

    def __repr__(self) -> str:
        return f"Schedule({list(self._entries)!r})"

    @classmethod
    def of(cls, at: OperatingPoint | Schedule | None) -> Schedule:
        """``at`` as a schedule: nothing means the default point, a point holds from input 0 on."""
        if isinstance(at, Schedule):
            return at
        if at is None:
            return _default()
        if not isinstance(at, OperatingPoint):
            raise BudgetError(f"expected an OperatingPoint or a Schedule, got {type(at).__name__}.")
        return cls([(0, at)])


@functools.cache
def _default() -> Schedule:
    return Schedule([(0, OperatingPoint())])
