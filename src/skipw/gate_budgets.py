"""Which gate of a SkipW rules under which budget, where small budgets have gates of their own.

docs/budget-gates.md tells what this is for. Needs no torch. L window, K budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["gate_of", "problem"]


def gate_of(budget: int, gate_budgets: Sequence[int]) -> int:
    """The gate of a window that opens under K: 0 is the first, i + 1 that of ``gate_budgets[i]``.

    It is the one of the smallest of ``gate_budgets`` that is at least K, and the first where there is none.

    Args:
        budget: K, 0 to L.
        gate_budgets: ascending, each below L.
    """
    for gate, most in enumerate(gate_budgets, start=1):
        if budget <= most:
            return gate
    return 0


def problem(gate_budgets: Any, window: int) -> str | None:
    """What is wrong with ``gate_budgets`` for this window, as the end of a sentence; None if nothing is."""
    wanted = f"a list of ascending budgets from 1 to {window - 1}, each below the window of {window}"
    if isinstance(gate_budgets, str | bytes) or not isinstance(gate_budgets, Sequence):
        return wanted
    whole = all(isinstance(budget, int) and not isinstance(budget, bool) for budget in gate_budgets)
    if not whole or any(not 1 <= budget < window for budget in gate_budgets):
        return wanted
    return None if list(gate_budgets) == sorted(set(gate_budgets)) else wanted
