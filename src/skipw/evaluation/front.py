"""The Pareto front of a data set: chosen on val over all models and baselines, reported on test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from skipw.errors import DataFormatError
from skipw.evaluation.pareto import aliases, hypervolume, non_dominated
from skipw.evaluation.table import GRID_COLUMNS, POINT_COLUMNS, read_grid

__all__ = [
    "FRONT_COLUMNS",
    "choose_front",
    "gain_of",
    "operating_points",
    "read_front",
    "read_grids",
    "summarise",
]

FRONT_COLUMNS = (*GRID_COLUMNS, "alias")


def gain_of(value: Any, metric: str) -> Any:
    """What is to be maximised: the accuracy itself, or minus the error."""
    return value if metric == "accuracy" else -value


def read_grids(paths: Sequence[Path]) -> pd.DataFrame:
    """All grids of a data set as one table.

    Raises:
        DataFormatError: if there is none, one is damaged, or they come from more than one data source.
    """
    if not paths:
        raise DataFormatError(
            "found no grid.csv; run the evaluate stage of at least one experiment of the data set."
        )
    table = pd.concat([read_grid(path) for path in paths], ignore_index=True)
    sources = table.groupby("data_source")["experiment"].unique().apply(sorted)
    if len(sources) > 1:
        listing = "; ".join(f"{source}: {', '.join(names)}" for source, names in sources.items())
        raise DataFormatError(
            f"a front never mixes data sources, expected one, got {listing}; "
            "run `dvc repro` so that all experiments are trained and evaluated on the same source."
        )
    return table


def read_front(path: Path) -> pd.DataFrame:
    """Read a front.csv: the columns of grid.csv and ``alias``, empty where a point has none.

    Raises:
        DataFormatError: if the file is absent, damaged, or has no aliases.
    """
    front = read_grid(path)
    if "alias" not in front.columns:
        raise DataFormatError(f"{path}: lacks the column alias; run the pareto stage again.")
    return front.assign(alias=front["alias"].fillna("").astype(str))[list(FRONT_COLUMNS)]


def operating_points(grid: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One row a point: POINT_COLUMNS, and for ``val`` and ``test`` the value, the cost and the row of the
    grid.

    Raises:
        DataFormatError: if a point lacks one of the two splits.
    """
    rows = grid[grid["metric"] == metric].reset_index(names="row")
    columns = [*POINT_COLUMNS, "max_inputs_in_window", "value", "inputs_processed", "row"]
    halves = {split: rows.loc[rows["split"] == split, columns] for split in ("val", "test")}
    points = halves["val"].merge(
        halves["test"], on=list(POINT_COLUMNS), how="outer", suffixes=("_val", "_test"), indicator=True
    )
    alone = points[points["_merge"] != "both"]
    if len(alone):
        names = ", ".join(sorted(alone["experiment"].unique()))
        raise DataFormatError(
            f"every operating point needs a {metric} on val and on test, {names} lacks one; "
            "run the evaluate stage again."
        )
    return points.drop(columns="_merge").astype({"row_val": int, "row_test": int})


def choose_front(grid: pd.DataFrame, metric: str, constant: float, min_gain: float = 0.0) -> pd.DataFrame:
    """The rows of front.csv.

    K = 0, points that process nothing and points no better than the constant predictor are left out. Of
    points that are equal on val in both cost and metric, the one with the smallest budget stays (a bound
    costs nothing there), then the first by experiment.

    Args:
        grid: all grids of the data set, as ``read_grids`` gives them.
        metric: "accuracy" or "mse".
        constant: the metric of the constant predictor on val.
        min_gain: how much better than that a point must be.
    Returns:
        FRONT_COLUMNS; by ascending cost on val, a val row and a test row each.
    """
    points = operating_points(grid, metric)
    better = gain_of(points["value_val"], metric) > gain_of(constant, metric) + min_gain
    points = points[(points["budget"] != 0).fillna(True) & (points["inputs_processed_val"] > 0) & better]
    points = points.sort_values(["budget", "experiment", "threshold", "occurrence"], na_position="last")
    cost, gain = points["inputs_processed_val"].to_numpy(), gain_of(points["value_val"].to_numpy(), metric)
    front = non_dominated(cost, gain)
    holders: dict[int, list[str]] = {}
    for alias, place in aliases(cost[front], gain[front]).items():
        holders.setdefault(place, []).append(alias)
    rows = []
    for place, index in enumerate(front):
        point = points.iloc[index]
        rows += [
            grid.loc[point[row], list(GRID_COLUMNS)].to_dict() | {"alias": ";".join(holders.get(place, []))}
            for row in ("row_val", "row_test")
        ]
    types = grid[list(GRID_COLUMNS)].dtypes.to_dict()
    return pd.DataFrame(rows, columns=list(FRONT_COLUMNS)).astype(types)


def summarise(
    front: pd.DataFrame, grid: pd.DataFrame, metric: str, constant: Mapping[str, float]
) -> dict[str, Any]:
    """The numbers of summary.json: counts, hypervolume and the points that hold an alias.

    The hypervolume is the share of the rectangle between (every input processed, as good as the constant
    predictor) and (nothing processed, no error) that the front dominates.

    Args:
        front: of ``choose_front``.
        grid: what it was chosen from.
        metric: "accuracy" or "mse".
        constant: the metric of the constant predictor, for val and for test.
    """
    ideal = gain_of(1.0 if metric == "accuracy" else 0.0, metric)
    volumes = {}
    for split in ("val", "test"):
        rows = front[front["split"] == split]
        gains = gain_of(rows["value"].to_numpy(), metric)
        worst = (1.0, gain_of(float(constant[split]), metric))
        perfect = worst[1] >= ideal  # nothing is left to gain over the constant predictor
        volumes[split] = 0.0 if perfect else hypervolume(rows["inputs_processed"], gains, worst, (0.0, ideal))
    on_val = front[front["split"] == "val"]
    return {
        "metric": metric,
        "constant_predictor": dict(constant),
        "hypervolume": volumes,
        "operating_points": len(grid[(grid["metric"] == metric) & (grid["split"] == "val")]),
        "front_points": len(on_val),
        "front_points_by_model": {str(name): int(n) for name, n in on_val["model"].value_counts().items()},
        "aliases": {alias: _alias_point(front, alias) for alias in ("most-accurate", "knee", "cheapest")},
    }


def _alias_point(front: pd.DataFrame, alias: str) -> dict[str, Any] | None:
    """Where the point is and what it gives; None where the front is empty."""
    held = front[[alias in str(names).split(";") for names in front["alias"]]]
    if held.empty:
        return None
    first = held.iloc[0]
    point: dict[str, Any] = {"experiment": first["experiment"]}
    point["budget"] = None if pd.isna(first["budget"]) else int(first["budget"])
    point["threshold"] = None if pd.isna(first["threshold"]) else float(first["threshold"])
    for _, row in held.iterrows():
        point[row["split"]] = {
            "value": float(row["value"]),
            "inputs_processed": float(row["inputs_processed"]),
            "max_inputs_in_window": int(row["max_inputs_in_window"]),
        }
    return point
