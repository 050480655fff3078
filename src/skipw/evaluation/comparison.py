"""Models side by side at equal cost, and the check that no budget was ever exceeded."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from skipw.evaluation.front import gain_of, operating_points

__all__ = ["COST_LEVELS", "BoundCheck", "at_equal_cost", "check_bound"]

#: Shares of the inputs that a model may process at most.
COST_LEVELS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 1.0)


def at_equal_cost(grid: pd.DataFrame, metric: str, levels: tuple[float, ...] = COST_LEVELS) -> pd.DataFrame:
    """The best point of each kind of model that costs no more than a level, chosen on val, reported on test.

    Args:
        grid: all grids of the data set.
        metric: "accuracy" or "mse".
        levels: largest shares of the inputs processed on val.
    Returns:
        columns level, model, experiment, budget, threshold, value, inputs_processed; no row where a kind of
        model has no point at that cost. Points that process nothing are left out.
    """
    points = operating_points(grid, metric)
    points = points[points["inputs_processed_val"] > 0]
    gains = gain_of(points["value_val"], metric)
    points = points.assign(gain=gains).sort_values(
        ["gain", "inputs_processed_val", "experiment"], ascending=[False, True, True]
    )
    best = [
        points[points["inputs_processed_val"] <= level].drop_duplicates("model").assign(level=level)
        for level in levels
    ]
    table = pd.concat(best, ignore_index=True)
    table = table.rename(columns={"value_test": "value", "inputs_processed_test": "inputs_processed"})
    columns = ["level", "model", "experiment", "budget", "threshold", "value", "inputs_processed"]
    return table[columns]


@dataclass(frozen=True)
class BoundCheck:
    """What the grids say about the bound of an experiment.

    Attributes:
        experiment: its name.
        points: operating points, both splits.
        windows_full: points in which at least one window used the whole budget.
        violations: points in which any window held more than the budget.
    """

    experiment: str
    points: int
    windows_full: int
    violations: int


def check_bound(grid: pd.DataFrame, metric: str) -> list[BoundCheck]:
    """Hold every row that has a budget against it, experiment by experiment."""
    rows = grid[grid["budget"].notna() & (grid["metric"] == metric)]
    return [
        BoundCheck(
            str(experiment),
            len(own),
            int((own["max_inputs_in_window"] == own["budget"]).sum()),
            int((own["max_inputs_in_window"] > own["budget"]).sum()),
        )
        for experiment, own in rows.groupby("experiment")
    ]
