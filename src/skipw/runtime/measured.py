"""The measured operating points of a model: operating_points.csv, read without pandas."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skipw.errors import DataFormatError
from skipw.operating_point import OperatingPoint

__all__ = ["POINTS_FILE", "MeasuredPoint", "read_points"]

POINTS_FILE = "operating_points.csv"


@dataclass(frozen=True)
class MeasuredPoint:
    """An operating point and what it gave.

    Attributes:
        budget: K; None where the model has none.
        threshold: thr; None where the model has none.
        metric: accuracy (higher is better), mse or paper_mse (lower is better).
        val, test: the metric on the split the front was chosen on, and on the one that is reported.
        val_inputs_processed, test_inputs_processed: fraction of the inputs.
        aliases: knee and the like, if the point holds any.
        pareto: whether it is on the front of its data set.
    """

    budget: int | None
    threshold: float | None
    metric: str
    val: float
    test: float
    val_inputs_processed: float
    test_inputs_processed: float
    aliases: tuple[str, ...] = ()
    pareto: bool = False

    @property
    def operating_point(self) -> OperatingPoint | None:
        """What a stream takes; None for models without points."""
        return None if self.threshold is None else OperatingPoint(self.budget, self.threshold)


def read_points(path: Path) -> tuple[MeasuredPoint, ...]:
    """Every point of the file, by ascending cost.

    Raises:
        DataFormatError: if it lacks a column or a number.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        return tuple(sorted(_points(rows), key=lambda point: (point.metric, point.val_inputs_processed)))
    except (KeyError, ValueError, TypeError) as error:
        raise DataFormatError(
            f"{path} is not a table of operating points ({error!r}); pull the model again."
        ) from error


def _points(rows: Iterable[dict[str, str]]) -> list[MeasuredPoint]:
    """A val and a test row make a point. Rates of a sampling baseline differ in their place only."""
    places: dict[tuple[str, ...], int] = {}
    found: dict[tuple[Any, ...], dict[str, dict[str, str]]] = {}
    for row in rows:
        key = (row["metric"], row["budget"], row["threshold"])
        place = places[*key, row["split"]] = places.get((*key, row["split"]), -1) + 1
        found.setdefault((*key, place), {})[row["split"]] = row
    return [_point(both["val"], both["test"]) for both in found.values()]


def _point(val: dict[str, str], test: dict[str, str]) -> MeasuredPoint:
    return MeasuredPoint(
        budget=int(float(val["budget"])) if val["budget"] else None,
        threshold=float(val["threshold"]) if val["threshold"] else None,
        metric=val["metric"],
        val=float(val["value"]),
        test=float(test["value"]),
        val_inputs_processed=float(val["inputs_processed"]),
        test_inputs_processed=float(test["inputs_processed"]),
        aliases=tuple(alias for alias in (val.get("alias") or "").split(";") if alias),
        pareto=val.get("pareto") == "True",
    )
