"""The operating points that are known of a model, read from the table beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

__all__ = ["read_points"]


def read_points(folder: Path, experiment: str, dataset: str) -> list[dict[str, Any]]:
    """The model's own front: points that no other of its points beats.

    They are chosen on the validation split; values are of the test split.

    Args:
        folder: of a version (operating_points.csv), of a trial (grid.csv), or data/models/<dataset>/<experiment>.
        experiment: the model's name.
        dataset: its data set.
    Returns:
        Each with ``budget``, ``threshold``, ``metric``, ``value``, ``inputs_processed``, ``aliases``; cheapest first.
        Empty where no table is found.
    """
    evaluation = folder.absolute().parents[2] / "evaluation" / dataset / experiment
    places = (folder / "operating_points.csv", folder / "grid.csv", evaluation / "grid.csv")
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        return []
    grid = pd.read_csv(found)
    chosen = _chosen(grid)
    rows = grid[(grid["split"] == "test") & pd.Series(list(map(_key, _records(grid)))).isin(chosen)]
    return [_point(row) for row in _records(rows.sort_values("inputs_processed"))]


def _chosen(grid: pd.DataFrame) -> set[tuple[Any, Any]]:
    """(budget, threshold) of the points on the front."""
    from skipw.evaluation.pareto import non_dominated

    val = grid[grid["split"] == "val"]
    if "pareto" in val and val["pareto"].any():
        val = val[val["pareto"].astype(bool)]
    else:
        worth = val["value"] if (val["metric"] == "accuracy").all() else -val["value"]
        val = val.iloc[non_dominated(val["inputs_processed"].to_numpy(), worth.to_numpy())]
    return set(map(_key, _records(val)))


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _key(row: dict[str, Any]) -> tuple[Any, Any]:
    return _given(row["budget"]), _given(row["threshold"])


def _given(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _point(row: dict[str, Any]) -> dict[str, Any]:
    budget, threshold = _key(row)
    alias = row.get("alias")
    return {
        "budget": None if budget is None else int(budget),
        "threshold": threshold,
        "metric": row["metric"],
        "value": round(float(row["value"]), 6),
        "inputs_processed": round(float(row["inputs_processed"]), 4),
        "aliases": alias.split(";") if isinstance(alias, str) and alias else [],
    }
