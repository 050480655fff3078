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
        DataFormatError: if the file is absent or its columns are not those of ``GRID_COLUMNS``.
    """
    types = dict.fromkeys(WHOLE, "Int64") | dict.fromkeys(REAL, "float64")
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
    table = table.astype(types)
    same = ["experiment", "model", "budget", "threshold", "split", "metric"]
    return table.assign(occurrence=table.groupby(same, dropna=False).cumcount())
