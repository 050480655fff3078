"""The columns of grid.csv, and its reading and writing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from skipw.errors import DataFormatError

__all__ = ["GRID_COLUMNS", "POINT_COLUMNS", "grid_table", "read_grid", "write_table"]

GRID_COLUMNS = (
    "experiment", "dataset", "data_source", "model", "cell", "select", "hidden_size", "num_layers", "window",
    "cost_per_input", "budget", "threshold", "split", "metric", "value", "loss", "inputs_processed",
    "inputs_processed_std", "max_inputs_in_window", "sequences",
)  # fmt: skip
#: What tells one operating point of a data set from another; ``occurrence`` numbers the rates of random and
#: periodic.
POINT_COLUMNS = ("experiment", "model", "budget", "threshold", "occurrence")
WHOLE = ("hidden_size", "num_layers", "window", "budget", "max_inputs_in_window", "sequences")
REAL = ("cost_per_input", "threshold", "value", "loss", "inputs_processed", "inputs_processed_std")


def grid_table(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a table with the columns of grid.csv, whole numbers kept whole where some are absent."""
    table = pd.DataFrame(list(rows), columns=list(GRID_COLUMNS))
    return table.astype(dict.fromkeys(WHOLE, "Int64") | dict.fromkeys(REAL, "float64"))


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV; an absent value is an empty cell, floats keep all their digits."""
    table.to_csv(path, index=False, lineterminator="\n")


def read_grid(path: Path) -> pd.DataFrame:
    """Read a grid.csv and number the points that budget and threshold cannot tell apart (column
    ``occurrence``).

    Raises:
        DataFormatError: if the file is absent, its columns are not those of ``GRID_COLUMNS``, or a number is damaged.
    """
    try:
        table = pd.read_csv(path, keep_default_na=True)
    except (OSError, ValueError) as error:
        raise DataFormatError(
            f"{path}: not a readable grid ({error}); run the evaluate stage again."
        ) from error
    if tuple(table.columns[: len(GRID_COLUMNS)]) != GRID_COLUMNS:
        raise DataFormatError(
            f"{path}: expected the columns {','.join(GRID_COLUMNS)}, got "
            f"{','.join(map(str, table.columns))}; run the evaluate stage again."
        )
    for name in (*WHOLE, *REAL):
        table[name] = _numbers(table[name], path)
    same = ["experiment", "model", "budget", "threshold", "split", "metric"]
    return table.assign(occurrence=table.groupby(same, dropna=False).cumcount())


def _numbers(column: pd.Series, path: Path) -> pd.Series:
    """A column of a file as numbers, whole ones where it is in ``WHOLE``; an empty cell is an absent value.

    Raises:
        DataFormatError: names the column, the line and what stands there.
    """
    whole = column.name in WHOLE
    try:
        return column.astype("Int64" if whole else "float64")
    except (ValueError, TypeError, OverflowError) as error:
        numbers = pd.to_numeric(column, errors="coerce").astype("float64")
        wrong = column.notna() & ((numbers % 1 != 0) if whole else numbers.isna())
        place = f", line {2 + int(wrong.to_numpy().argmax())}" if wrong.any() else ""
        came = repr(str(column[wrong].iloc[0])) if wrong.any() else str(error)
        raise DataFormatError(
            f"{path}{place}: {column.name}: expected a {'whole ' if whole else ''}number, got {came}; "
            "run the evaluate stage again."
        ) from error
