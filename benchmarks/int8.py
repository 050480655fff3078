"""What int8 weights cost in accuracy: trained models against the same with the matrices of a -DSKIPW_INT8 build.

python benchmarks/int8.py [--data data] [--limit 5000] [--out benchmarks/results/int8-DATE.json]

Every model ``<dataset>-skipw`` under data/models is evaluated on its test split at all budgets (threshold 0.5). The
int8 build rounds stored weights only (skipw.runtime.c.quantisation); tests hold the C program to exactly these numbers.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import json
import logging
from pathlib import Path
from typing import Any

import torch

from skipw.data.prepared import load_split
from skipw.errors import DataFormatError, DataUnavailableError, SkipWError
from skipw.evaluation.grid import Identity, grid_points, grid_rows
from skipw.evaluation.subsampling import some_sequences
from skipw.models.saved import load_model
from skipw.runtime.c.quantisation import rounded_weights
from skipw.runtime.weights import of_module

log = logging.getLogger("int8")
THRESHOLD = 0.5


def compare(folder: Path, prepared: Path, limit: int | None) -> list[dict[str, Any]]:
    """A row a budget: metric and share of inputs processed, in float and in int8."""
    model, description = load_model(folder)
    rounded = copy.deepcopy(model)
    arrays = rounded_weights(of_module(model, description)).arrays
    rounded.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
    identity = Identity.of(description, 1, experiment=folder.name, model="skipw")
    split = some_sequences(load_split(prepared, "test"), limit)
    results = [
        [
            row
            for row in grid_rows(identity, "test", grid_points(one, split, identity, (THRESHOLD,)))
            if row["metric"] in ("accuracy", "mse")
        ]
        for one in (model, rounded)
    ]
    matrices = sum(array.nbytes for name, array in arrays.items() if "weight" in name and "embed" not in name)
    return [
        {
            "experiment": folder.name,
            "data_source": identity.data_source,
            "metric": full["metric"],
            "window": identity.window,
            "budget": full["budget"],
            "sequences": len(split.targets),
            "float": full["value"],
            "int8": small["value"],
            "float_inputs_processed": full["inputs_processed"],
            "int8_inputs_processed": small["inputs_processed"],
            "float_matrices_kb": matrices / 1000,
        }
        for full, small in zip(*results, strict=True)
    ]


def show(rows: list[dict[str, Any]]) -> str:
    """A table in Markdown of the full budget, its half and its quarter; all rows are in the file."""
    lines = [
        "| model | K of L | float | int8 | inputs: float | int8 | weights, kB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        window, budget = row["window"], row["budget"]
        if budget not in (window, window // 2, window // 4):
            continue
        shown = "{:.2%}" if row["metric"] == "accuracy" else "{:.5f}"
        share = " | ".join(f"{row[f'{kind}_inputs_processed']:.1%}" for kind in ("float", "int8"))
        size = row["float_matrices_kb"]
        lines.append(
            f"| {row['experiment']} | {budget} of {window} | {shown.format(row['float'])} | "
            f"{shown.format(row['int8'])} | {share} | {size:.0f} -> {size / 4:.0f} |"
        )
    return "\n".join(lines)


def measure(data: Path, limit: int) -> list[dict[str, Any]]:
    """The rows of all models.

    Raises:
        DataUnavailableError: if there are none.
        DataFormatError: if a model or its data is missing or damaged.
    """
    folders = sorted(data.glob("models/*/*-skipw"))
    if not folders:
        raise DataUnavailableError(
            f"there are no models {data}/models/DATASET/DATASET-skipw; `make repro` trains them."
        )
    if limit < 1:
        raise DataFormatError(f"--limit must be at least 1, got {limit}.")
    return [
        row for folder in folders for row in compare(folder, data / "prepared" / folder.parent.name, limit)
    ]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--limit", type=int, default=5000, help="test sequences of each data set")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        rows = measure(chosen.data, chosen.limit)
    except SkipWError as error:
        log.error("int8: %s", error)
        raise SystemExit(1) from error
    log.info("%s", show(rows))
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    out = chosen.out or Path(__file__).parent / "results" / f"int8-{today}.json"
    out.write_text(json.dumps({"schema": 1, "date": today, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    log.info("written: %s", out)


if __name__ == "__main__":
    main()
