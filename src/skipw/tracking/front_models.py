"""What front.csv, the grids and the trained models say, put together by model: what is to be registered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from skipw.errors import ChecksumError, DataFormatError
from skipw.evaluation.evaluated import HISTORY_FILE, Evaluated, describe_settings, evaluated, trial_number
from skipw.evaluation.table import read_grid
from skipw.models.saved import load_description, verified_weights

__all__ = ["ALIASES", "Point", "TrainedModel", "read_model", "read_models"]

ALIASES = ("most-accurate", "knee", "cheapest")
SAMPLED = ("random", "periodic")


@dataclass(frozen=True)
class Point:
    """An operating point with what it gives.

    Attributes:
        budget: K; None where the model has none.
        threshold: thr; None where the model has none.
        rate: share of inputs that a sampling baseline takes, else None.
        val, test: the metric.
        val_inputs, test_inputs: fraction of the inputs processed.
        aliases: those that it holds.
    """

    budget: int | None
    threshold: float | None
    rate: float | None
    val: float
    test: float
    val_inputs: float
    test_inputs: float
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainedModel:
    """One experiment: its files, and its points.

    Attributes:
        files: its name, and where its model and its tables lie.
        kind: skipw, thrrnn, skiprnn, dense, random or periodic.
        description: model.json.
        metric: accuracy or mse.
        grid: all rows of its grid.csv, with the columns ``pareto`` and ``alias``.
        front: its points on the front, by ascending cost; empty if it has none.
        best: its most accurate point on the front, else of its grid (on val).
    """

    files: Evaluated
    kind: str
    description: dict[str, Any]
    metric: str
    grid: pd.DataFrame
    front: tuple[Point, ...]
    best: Point

    @property
    def experiment(self) -> str:
        """Its name."""
        return self.files.experiment

    @property
    def folder(self) -> Path:
        """Of model.safetensors, model.json and history.csv."""
        return self.files.model_folder

    @property
    def trial(self) -> int | None:
        """Its number, if a search tried it."""
        return trial_number(self.experiment)

    @property
    def settings(self) -> str:
        """What a trial tried, for people: ``SkipW 2 × GRU 60, L 8, λ 5e-3``."""
        return describe_settings(self.grid.iloc[0])

    @property
    def sha256(self) -> str:
        """Of the weights."""
        return str(self.description["checkpoint_sha256"])

    @property
    def history(self) -> pd.DataFrame:
        """One row a validation; empty without history.csv (and for periodic, which trains nothing)."""
        path = self.folder / HISTORY_FILE
        return pd.read_csv(path) if path.exists() and self.kind != "periodic" else pd.DataFrame()

    def numbers(self) -> dict[str, float]:
        """The metric and the share of inputs of the best point, by the names that MLflow shows."""
        best = self.best
        return {
            f"test_{self.metric}": best.test,
            f"best_val_{self.metric}": best.val,
            "test_inputs_processed": best.test_inputs,
            "best_val_inputs_processed": best.val_inputs,
        }


def read_models(dataset: str, data: Path, rates: Sequence[float] = ()) -> list[TrainedModel]:
    """Every evaluated experiment of a data set, trials of a search too, those on the front first.

    Args:
        dataset: har, mnist, ...
        data: the root of all outputs.
        rates: shares that the sampling baselines were evaluated at, in the grid's order.
    Raises:
        DataFormatError: if a file is missing or damaged, or front.csv names an experiment without a model.
        ChecksumError: if weights are not those that model.json describes.
    """
    front = read_grid(data / "pareto" / dataset / "front.csv")
    if "alias" not in front.columns:
        raise DataFormatError(f"front.csv of {dataset} lacks the column alias; run the pareto stage again.")
    front = front.assign(alias=front["alias"].fillna(""))
    found = evaluated(dataset, data)
    if missing := sorted(set(front["experiment"]) - {one.experiment for one in found}):
        raise DataFormatError(
            f"front.csv of {dataset} names {', '.join(missing)}, which have no grid; run `dvc repro`."
        )
    models = [_read_model(one, front, rates) for one in found]
    return sorted(models, key=lambda model: (not model.front, model.experiment))


def read_model(one: Evaluated, front: Path | None) -> TrainedModel:
    """One experiment; where there is no front.csv no point is on the front.

    Raises:
        DataFormatError: if a file is missing or damaged.
        ChecksumError: if weights are not those that model.json describes.
    """
    verified_weights(one.model_folder, load_description(one.model_folder))
    there = front is not None and front.is_file()
    table = read_grid(front) if front is not None and there else read_grid(one.grid).head(0).assign(alias="")
    return _read_model(one, table.assign(alias=table["alias"].fillna("")), ())


def _read_model(one: Evaluated, front: pd.DataFrame, rates: Sequence[float]) -> TrainedModel:
    grid = read_grid(one.grid)
    description = load_description(one.model_folder)
    _check_weights(one.model_folder, description)
    metric = str(front["metric"].iloc[0]) if len(front) else str(description["metric"])
    own = front[front["experiment"] == one.experiment]
    keys = ["budget", "threshold", "split", "metric", "value", "inputs_processed"]
    marked = grid.merge(own[[*keys, "alias"]].assign(pareto=True), on=keys, how="left")
    marked = marked.assign(pareto=marked["pareto"].notna(), alias=marked["alias"].fillna(""))
    kind = str(grid["model"].iloc[0])
    points = _points(marked[marked["metric"] == metric], kind, rates)
    on_front = [point for point, pareto in points if pareto]
    sign = 1.0 if metric == "accuracy" else -1.0
    ranked = sorted(on_front or [point for point, _ in points], key=lambda p: (-sign * p.val, p.val_inputs))
    if not ranked:
        raise DataFormatError(
            f"{one.grid} holds no row of the metric {metric}; run the evaluate stage again."
        )
    ordered = tuple(sorted(on_front, key=lambda point: point.val_inputs))
    return TrainedModel(
        one,
        kind,
        description,
        metric,
        marked.drop(columns="occurrence"),
        ordered,
        ranked[0],
    )


def _check_weights(folder: Path, description: dict[str, Any]) -> None:
    try:
        verified_weights(folder, description)
    except ChecksumError as error:
        raise ChecksumError(f"nothing was registered: {error}") from error


def _points(rows: pd.DataFrame, kind: str, rates: Sequence[float]) -> list[tuple[Point, bool]]:
    """The operating points of one grid, val and test joined, each with whether it is on the front."""
    keys = ["budget", "threshold", "occurrence"]
    both = rows[rows["split"] == "val"].merge(
        rows[rows["split"] == "test"], on=keys, suffixes=("_val", "_test")
    )
    points = []
    for row in both.to_dict("records"):
        rate = None
        if kind in SAMPLED:
            place = int(row["occurrence"])
            known = len(rates) == len(both)
            rate = float(rates[place]) if known else float(row["inputs_processed_val"])
        point = Point(
            budget=None if pd.isna(row["budget"]) else int(row["budget"]),
            threshold=None if pd.isna(row["threshold"]) else float(row["threshold"]),
            rate=rate,
            val=float(row["value_val"]),
            test=float(row["value_test"]),
            val_inputs=float(row["inputs_processed_val"]),
            test_inputs=float(row["inputs_processed_test"]),
            aliases=tuple(alias for alias in str(row["alias_val"]).split(";") if alias),
        )
        points.append((point, bool(row["pareto_val"])))
    return points
