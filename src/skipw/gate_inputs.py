"""What SkipW's gate may see beside the state and the time feature, and the columns of its weight that this takes.

docs/gates.md tells what each is. Needs no torch. L window, D inputs.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["GATE_INPUTS", "columns", "halvings", "problem", "which_window"]

GATE_INPUTS = ("since_update", "importance", "input", "budget")
"""In the order of their columns, whatever the order in which they were asked for."""


def columns(inputs: Sequence[str], window: int, input_size: int, windows: int = 0) -> dict[str, int]:
    """The width of each of ``inputs``, in the order of their columns, which follow those of state and time.

    "since_update" takes 1, "importance" L, "input" D, "budget" one for each halving of L; and "windows", last of all,
    one for each window that has biases of its own (``gate_windows``).
    """
    widths = {
        "since_update": 1,
        "importance": window,
        "input": input_size,
        "budget": max(1, (window - 1).bit_length()),
    }
    seen = {name: widths[name] for name in GATE_INPUTS if name in inputs}
    return seen | ({"windows": windows} if windows else {})


def halvings(budget: int, window: int) -> list[float]:
    """How far K has gone down, a number for each halving of L: 0 at K = L; (1, 0, ..) at L / 2; (1, 1, 0, ..) at L / 4.

    Number j is 2 - K 2^(j + 1) / L, held between 0 and 1: linear from L / 2^j down to L / 2^(j + 1). The last K above 0
    has the last number above 0.
    """
    count = columns(("budget",), window, 0)["budget"]
    return [min(max(2.0 - budget * 2.0 ** (j + 1) / window, 0.0), 1.0) for j in range(count)]


def which_window(step: int, window: int, windows: int) -> list[float]:
    """The columns of "windows" where a window opens at ``step``: 1 in its own, or the last one after that; else 0."""
    own = min(step // window, windows - 1)
    return [float(index == own) for index in range(windows)]


def problem(inputs: Sequence[str], time_feature: str) -> str | None:
    """What is wrong with ``inputs`` beside this time feature, as the end of a sentence; None if nothing is."""
    known = ", ".join(GATE_INPUTS)
    if (
        isinstance(inputs, str)
        or not isinstance(inputs, Sequence)
        or any(name not in GATE_INPUTS for name in inputs)
    ):
        return f"a list out of {known}"
    if len(set(inputs)) < len(inputs):
        return "a list without repetitions"
    if "since_update" in inputs and time_feature == "since_update":
        return "without since_update where that is the time feature already"
    return None
