"""A trained model at all its operating points, as the rows of grid.csv and as points of the study's front."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

__all__ = ["Point", "grid_of", "points_of", "trained_point"]

TRAINED_THRESHOLD = 0.5


class Point(NamedTuple):
    """An operating point on val; as it is kept with its trial."""

    budget: int | None
    threshold: float | None
    inputs: float
    value: float


def grid_of(
    folder: Path,
    prepared: Path,
    limits: Mapping[str, int | None],
    thresholds: Mapping[str, tuple[float, ...]],
    *,
    count_window: int,
    batch_size: int = 500,
) -> pd.DataFrame:
    """The rows of grid.csv of the model in ``folder``.

    Args:
        folder: of a trained SkipW, ThrRNN or SkipRNN.
        prepared: data/prepared/<dataset>.
        limits: by split, the most sequences to evaluate; None is all.
        thresholds: by kind of model.
        count_window: L that inputs are counted in, for models without a window of their own.
        batch_size: sequences at a time.
    Raises:
        BudgetError: if the bound was violated.
    """
    from skipw.data.prepared import load_split
    from skipw.evaluation.grid import Identity, grid_points, grid_rows
    from skipw.evaluation.subsampling import some_sequences
    from skipw.evaluation.table import grid_table
    from skipw.models.saved import load_model

    model, description = load_model(folder)
    kind = str(description["architecture"]["model"])
    identity = Identity.of(description, count_window, experiment=str(description["experiment"]), model=kind)
    rows: list[dict[str, Any]] = []
    for name, limit in limits.items():
        split = some_sequences(load_split(prepared, name), limit)
        points = grid_points(model, split, identity, thresholds.get(kind, ()), batch_size=batch_size)
        rows += grid_rows(identity, name, points)
    return grid_table(rows)


def points_of(grid: pd.DataFrame, metric: str) -> list[Point]:
    """The operating points of a grid on val."""
    rows = grid[(grid["split"] == "val") & (grid["metric"] == metric)]
    return [
        Point(
            None if pd.isna(row["budget"]) else int(row["budget"]),
            None if pd.isna(row["threshold"]) else float(row["threshold"]),
            float(row["inputs_processed"]),
            float(row["value"]),
        )
        for row in rows.to_dict("records")
    ]


def trained_point(points: list[Point]) -> Point:
    """The point that the model was trained at: the whole window, the threshold nearest to 0.5."""
    return min(
        points,
        key=lambda point: (
            abs((point.threshold if point.threshold is not None else TRAINED_THRESHOLD) - TRAINED_THRESHOLD),
            -(point.budget or 0),
        ),
    )
