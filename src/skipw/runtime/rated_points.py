"""Operating points with what they were measured to cost and to be worth: what a governor moves along."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from skipw.errors import BudgetError, DataFormatError
from skipw.operating_point import OperatingPoint

__all__ = ["RatedPoint", "ladder", "read_points"]

FIXED = ("skiprnn", "dense", "random", "periodic")  # models without anything to move
COLUMNS = (
    "experiment", "model", "window", "budget", "threshold", "split", "metric", "value", "inputs_processed",
)  # fmt: skip


@dataclass(frozen=True)
class RatedPoint:
    """An operating point, measured on held-out data.

    Attributes:
        point: K and thr; without K for a ThrRNN.
        inputs_processed: share of the inputs that it processes, in [0, 1].
        gain: how good it is, higher is better: an accuracy, or minus an error.
        window: L; None for a ThrRNN.
    Raises:
        BudgetError: if K exceeds the window or is given without one, the share is outside [0, 1], or the gain is
            not finite.
    """

    point: OperatingPoint
    inputs_processed: float
    gain: float
    window: int | None = None

    def __post_init__(self) -> None:
        if self.window is not None:
            self.point.budget_in(self.window)
        elif self.point.budget is not None:
            raise BudgetError(
                f"a budget needs the window that it counts in; got {self.point} and no window: pass window=L."
            )
        if not 0.0 <= self.inputs_processed <= 1.0:
            raise BudgetError(f"inputs_processed is a share in [0, 1], got {self.inputs_processed!r}.")
        if not math.isfinite(self.gain):
            raise BudgetError(f"the gain of {self.point} must be finite, got {self.gain!r}.")

    @property
    def most(self) -> float:
        """The largest share it can process: K / L, or 1 where nothing bounds it."""
        return 1.0 if self.window is None else self.point.budget_in(self.window) / self.window


def read_points(
    path: Path | str, split: str = "val", *, experiment: str | None = None, metric: str | None = None
) -> tuple[RatedPoint, ...]:
    """The operating points of one model, from a grid.csv, a front.csv or a registered model's operating_points.csv.

    Args:
        path: the table.
        split: "val" or "test". Choose by "val", so that "test" can tell what the choice is worth.
        experiment: which model, where the table holds several.
        metric: "accuracy", "mse" or "paper_mse"; None takes accuracy if there is one, else mse.
    Raises:
        DataFormatError: if a column or the rows wanted are missing, or a cell holds something else.
        BudgetError: for models that have nothing to move: SkipRNN and dense ones.
    """
    rows = _rows(Path(path), split, experiment)
    found = {row["metric"] for row in rows}
    chosen = metric or ("accuracy" if "accuracy" in found else "mse")
    if chosen not in found:
        raise DataFormatError(
            f"{path}: no metric {chosen!r} on {split}; there are {', '.join(sorted(found))}."
        )
    return tuple(_rated(row, path) for row in rows if row["metric"] == chosen)


def _rows(path: Path, split: str, experiment: str | None) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            rows, columns = list(table), table.fieldnames or ()
    except OSError as error:
        raise DataFormatError(f"{path} cannot be read ({error}); run the evaluate stage.") from error
    lacking = [name for name in COLUMNS if name not in columns]
    if lacking:
        raise DataFormatError(
            f"{path} lacks the columns {', '.join(lacking)}; expected a grid.csv or its like."
        )
    rows = [row for row in rows if row["split"] == split and experiment in (None, row["experiment"])]
    names = sorted({row["experiment"] for row in rows})
    if len(names) != 1:
        wanted = f"experiment {experiment!r}" if experiment else "one experiment"
        raise DataFormatError(
            f"{path}: expected {wanted} on split {split!r}, got {', '.join(names) or 'no rows'}; "
            "name one with experiment=."
        )
    kind = rows[0]["model"]
    if kind in FIXED:
        raise BudgetError(
            f"{path}: a {kind} model has nothing to move, its cost is what it is; use a SkipW, or a ThrRNN."
        )
    return rows


def _rated(row: Mapping[str, str], path: Path | str) -> RatedPoint:
    try:
        value = float(row["value"])
        return RatedPoint(
            OperatingPoint(_whole(row["budget"]), float(row["threshold"])),
            float(row["inputs_processed"]),
            value if row["metric"] == "accuracy" else -value,
            _whole(row["window"]),
        )
    except ValueError as error:  # a BudgetError is one too
        raise DataFormatError(
            f"{path}: the row with budget {row['budget']!r} and threshold {row['threshold']!r} cannot be read "
            f"({error}); run the evaluate stage again."
        ) from error


def _whole(cell: str) -> int | None:
    """A count; pandas may have written 3 as 3.0."""
    if not cell:
        return None
    number = float(cell)
    if not number.is_integer():
        raise DataFormatError(f"expected a whole number, got {cell!r}.")
    return int(number)


def ladder(points: Iterable[RatedPoint], max_budget: int | None = None) -> tuple[RatedPoint, ...]:
    """The points worth using, by rising cost and gain: those that no cheaper one equals.

    Args:
        points: of one model.
        max_budget: leave out points with a larger K.
    Raises:
        BudgetError: if they have different windows, a bound is asked for where there is no window, or fewer than
            two are left.
    """
    rated = list(points)
    wrong = [point for point in rated if not isinstance(point, RatedPoint)]
    if wrong:
        raise BudgetError(
            f"expected RatedPoints, got {wrong[0]!r}; read_points(path) reads them from a table."
        )
    windows = {point.window for point in rated}
    if len(windows) > 1:
        raise BudgetError(
            f"the points of one model share one window, got windows {sorted(map(str, windows))}."
        )
    window = windows.pop() if windows else None
    if max_budget is not None:
        if window is None:
            raise BudgetError(
                "a ThrRNN has no strict bound (max_budget), its threshold moves the average only; use a SkipW."
            )
        bound = OperatingPoint(max_budget).budget_in(window)
        rated = [point for point in rated if point.point.budget_in(window) <= bound]
    rated.sort(key=lambda rung: (rung.inputs_processed, -rung.gain, rung.most, rung.point.threshold))
    rungs: list[RatedPoint] = []
    for rung in rated:
        if not rungs or rung.gain > rungs[-1].gain:
            rungs.append(rung)
    if len(rungs) < 2:
        bound_text = "" if max_budget is None else f" with a budget of at most {max_budget}"
        raise BudgetError(
            f"a governor needs two operating points or more to move between, got {len(rungs)}{bound_text} after "
            "leaving out those that a cheaper one equals."
        )
    return tuple(rungs)
