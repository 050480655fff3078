"""What a governor's settings may be."""

from __future__ import annotations

import math

from skipw.errors import BudgetError

__all__ = ["budget_of", "check_costs", "check_settings"]


def budget_of(budget_ms: float | None, budget_mj: float | None) -> tuple[float, str]:
    """The one budget that was given, and its unit.

    Raises:
        BudgetError: for none, both, or one that is not a finite number above 0.
    """
    if (budget_ms is None) == (budget_mj is None):
        raise BudgetError(f"give one of budget_ms and budget_mj, got {budget_ms} and {budget_mj}.")
    budget, unit = (budget_mj, "mJ") if budget_ms is None else (budget_ms, "ms")
    if isinstance(budget, bool) or not isinstance(budget, int | float) or not 0.0 < budget < math.inf:
        raise BudgetError(f"a budget is a finite number of {unit} above 0, got {budget!r}.")
    return float(budget), unit


def check_costs(costs: tuple[float, float] | None, *, needed: bool) -> None:
    """Raises BudgetError unless ``costs`` are those of a processed and of a skipped input, or None if not needed."""
    if costs is None:
        if needed:
            raise BudgetError(
                "an energy budget needs a meter, a function that returns the mJ so far, or costs=(processed, "
                "skipped), the mJ of an input."
            )
        return
    if len(costs) != 2 or not all(math.isfinite(cost) and cost >= 0.0 for cost in costs):
        raise BudgetError(f"costs are two finite numbers of at least 0, (processed, skipped); got {costs!r}.")


def check_settings(*, margin: float, headroom: float, dwell: int, history: int, worst: float | None) -> None:
    """Raises BudgetError for a setting outside its range."""
    if not (0.0 <= margin < 1.0 and 0.0 <= headroom < 1.0 - margin):
        raise BudgetError(
            f"margin and headroom are shares of the budget, together below 1; got {margin} and {headroom}."
        )
    if dwell < 1 or history < 1:
        raise BudgetError(f"dwell and history are at least 1, got {dwell} and {history}.")
    if worst is not None and not 0.0 < worst < math.inf:
        raise BudgetError(f"worst is a finite cost above 0, got {worst!r}.")
