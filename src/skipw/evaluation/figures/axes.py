"""How the two axes of every trade-off figure are scaled and called; % appears only here."""

from __future__ import annotations

from typing import Any

__all__ = ["COST_LABEL", "is_logarithmic", "on_axis", "value_label"]

COST_LABEL = "Inputs processed (%)"


def value_label(metric: str) -> str:
    """The label of the axis of the metric."""
    return "Accuracy (%)" if metric == "accuracy" else "Mean squared error"


def is_logarithmic(metric: str) -> bool:
    """Errors span decades, accuracies do not."""
    return metric != "accuracy"


def on_axis(value: Any, metric: str) -> Any:
    """A metric's value as it is drawn: accuracies in %, errors as they are."""
    return value * 100 if metric == "accuracy" else value
