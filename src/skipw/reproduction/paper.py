"""What the paper states, from ``paper.yaml``, and the best that any policy can reach on the Adding Task."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

__all__ = ["perfect_policy", "stated", "stated_points"]

MARKED_VARIANCE = 1 / 12  # of one value, uniform in (-0.5, 0.5)


@cache
def _content() -> dict[str, Any]:
    path = Path(__file__).with_name("paper.yaml")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def stated(section: str) -> Any:
    """One section of paper.yaml: points, table1, table2 or switches."""
    return _content()[section]


def stated_points(dataset: str) -> pd.DataFrame:
    """The points that the paper gives in numbers for a data set.

    Returns:
        columns model, window, cost_per_input, budget, threshold, value, inputs, place; accuracies and inputs as
        shares, errors as half the squared error. No rows where the paper only has a plot.
    """
    rows = [dict(row) for row in stated("points") if row["dataset"] == dataset]
    if dataset == "mnist":
        rows = [
            dict(row) | {"window": None, "budget": None, "threshold": None, "place": "Table 2"}
            for row in stated("table2")
            if row["source"] == "SkipW paper"
        ]
    table = pd.DataFrame(
        rows, columns=["model", "window", "cost_per_input", "budget", "threshold", "value", "inputs", "place"]
    )
    if dataset != "adding":
        table["value"] = table["value"] / 100
    return table.assign(inputs=table["inputs"] / 100)


def perfect_policy(window: int, num_steps: int = 50) -> pd.DataFrame:
    """The least inputs and the least half squared error that decisions made once a window allow (Adding Task).

    The first marker is among the first tenth of the inputs, the second in the last half, both uniformly. A perfect
    policy looks at as many of the places in question as K lets it, from a window's start on, and stops once the
    marker is found; a marker that it misses costs the variance of its value, 1/12, half of which counts.

    Args:
        window: L.
        num_steps: T.
    Returns:
        columns budget (1..L), inputs (share of T), half_mse; no rows where one window can hold both markers, which
        this count does not cover.
    """
    places = (range(max(1, num_steps // 10)), range((num_steps + 1) // 2, num_steps))
    starts = range(0, num_steps, window)
    counts = [[sum(s <= p < s + window for p in group) for s in starts] for group in places]
    columns = ["budget", "inputs", "half_mse"]
    if any(first and second for first, second in zip(*counts, strict=True)):
        return pd.DataFrame(columns=columns)
    rows = []
    for budget in range(1, window + 1):
        looks = missed = 0.0
        for group, held in zip(places, counts, strict=True):
            unseen = 1.0
            for count in held:
                looks += unseen * min(budget, count)
                unseen -= min(budget, count) / len(group)
            missed += unseen
        rows.append((budget, looks / num_steps, max(0.0, missed) * MARKED_VARIANCE / 2))
    return pd.DataFrame(rows, columns=columns)
