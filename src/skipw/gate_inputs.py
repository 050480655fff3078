"""What SkipW's gate may see beside the state and the time feature, and the columns of its weight that this takes.

docs/gates.md tells what each is. Needs no torch. L window, D inputs.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["GATE_INPUTS", "columns", "problem"]

GATE_INPUTS = ("since_update", "importance", "input", "budget")
"""In the order of their columns, whatever the order in which they were asked for."""


def columns(inputs: Sequence[str], window: int, input_size: int) -> dict[str, int]:
    """The width of each of ``inputs``, in the order of their columns, which follow those of state and time.

    "since_update" takes 1, "importance" L, "input" D, "budget" L.
    """
    widths = {"since_update": 1, "importance": window, "input": input_size, "budget": window}
    return {name: widths[name] for name in GATE_INPUTS if name in inputs}


def problem(inputs: Sequence[str], time_feature: str) -> str | None:
    """What is wrong with ``inputs`` beside this time feature, as the end of a sentence; None if nothing is."""
    known = ", ".join(GATE_INPUTS)
    if isinstance(inputs, str) or any(name not in GATE_INPUTS for name in inputs):
        return f"a list out of {known}"
    if len(set(inputs)) < len(inputs):
        return "a list without repetitions"
    if "since_update" in inputs and time_feature == "since_update":
        return "without since_update where that is the time feature already"
    return None
