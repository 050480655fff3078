"""Stage ``pareto``: the front of one data set over all its experiments and a search's best trials, into
``data/pareto/<ds>``.

python pipelines/pareto.py adding [--params params.yaml] [--data data]

Chosen on val, reported on test: front.csv, front.html (interactive, works offline), front.png, summary.json.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from skipw.data.atomic import replaced_folder, write_json
from skipw.data.prepared import load_meta
from skipw.errors import DataFormatError, SkipWError
from skipw.evaluation.evaluated import evaluated
from skipw.evaluation.figures.front_page import write_front_page
from skipw.evaluation.figures.front_picture import draw_front
from skipw.evaluation.front import choose_front, read_grids, summarise
from skipw.evaluation.table import write_table
from skipw.params import DATASETS, load

log = logging.getLogger("pareto")


def pareto(dataset: str, min_gain: float, data: Path) -> Path:
    """Choose and draw the front of a data set; its folder appears complete or not at all."""
    meta = load_meta(data / "prepared" / dataset)
    experiments = evaluated(dataset, data)
    grid = read_grids([one.grid for one in experiments])
    source, metric, constant = str(meta["data_source"]), str(meta["metric"]), meta["constant_predictor"]
    if (found := str(grid["data_source"].iloc[0])) != source:
        raise DataFormatError(
            f"the grids of {dataset} come from {found}, the prepared data from {source}; run `dvc repro`."
        )
    repeats = [pd.read_csv(p) for one in experiments if (p := one.grid_folder / "repeats.csv").exists()]
    repeated = pd.concat(repeats, ignore_index=True) if repeats else None
    front = choose_front(grid, metric, float(constant["val"]), min_gain)
    about = {"title": str(meta["title"]), "data_source": source}
    out = data / "pareto" / dataset
    with replaced_folder(out) as folder:
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
    log.info("%s: %d points of the front, in %s", meta["title"], len(front) // 2, out)
    return out


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", choices=DATASETS)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        pareto(args.dataset, load(args.params).pareto.min_gain, args.data)
    except SkipWError as error:
        log.error("pareto %s: %s", args.dataset, error)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
