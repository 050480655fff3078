"""The files of a front: front.csv, front.html, front.png, summary.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from skipw.data.atomic import replaced_folder, write_json
from skipw.data.prepared import load_meta
from skipw.errors import DataFormatError
from skipw.evaluation.evaluated import evaluated
from skipw.evaluation.figures.front_page import write_front_page
from skipw.evaluation.figures.front_picture import draw_front
from skipw.evaluation.front import choose_front, read_grids, summarise
from skipw.evaluation.table import write_table

__all__ = ["checked_front", "write_front"]


def write_front(dataset: str, min_gain: float, data: Path) -> int:
    """Choose and draw the front of a data set into ``data/pareto/<dataset>``; appears complete or not at all.

    Args:
        dataset: har, mnist, ...
        min_gain: how much better than the constant predictor a point must be.
        data: the root of all outputs.
    Returns:
        how many points it has.
    Raises:
        DataFormatError: if files are missing or damaged, or grids and prepared data don't go together.
    """
    meta = load_meta(data / "prepared" / dataset)
    experiments = evaluated(dataset, data)
    grid = read_grids([one.grid for one in experiments])
    front = checked_front(grid, meta, min_gain)
    repeats = [pd.read_csv(p) for one in experiments if (p := one.grid_folder / "repeats.csv").exists()]
    repeated = pd.concat(repeats, ignore_index=True) if repeats else None
    metric, constant = str(meta["metric"]), meta["constant_predictor"]
    about = {"title": str(meta["title"]), "data_source": str(meta["data_source"])}
    with replaced_folder(data / "pareto" / dataset) as folder:
        write_table(front, folder / "front.csv")
        write_json(folder / "summary.json", about | summarise(front, grid, metric, constant))
        write_front_page(
            folder / "front.html", grid, front, repeated, metric=metric, constant=constant, **about
        )
        draw_front(
            folder / "front.png",
            grid,
            front,
            repeated,
            metric=metric,
            constant=float(constant["test"]),
            **about,
        )
    return len(front) // 2


def checked_front(grid: pd.DataFrame, meta: Mapping[str, Any], min_gain: float) -> pd.DataFrame:
    """The rows of front.csv, from grids of the same data as ``meta``.

    Args:
        grid: as ``read_grids`` gives it.
        meta: of the prepared data set.
        min_gain: as in ``write_front``.
    Raises:
        DataFormatError: if the grids come from another data source.
    """
    source = str(meta["data_source"])
    if (found := str(grid["data_source"].iloc[0])) != source:
        raise DataFormatError(
            f"the grids of {meta['dataset']} come from {found}, the prepared data from {source}; run `dvc repro`."
        )
    return choose_front(grid, str(meta["metric"]), float(meta["constant_predictor"]["val"]), min_gain)
