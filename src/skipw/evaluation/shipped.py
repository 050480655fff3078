"""What lies in ``pretrained/``: the page about it, and its models laid out as the pipeline's outputs are."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from skipw.data.atomic import write_json
from skipw.data.prepared import load_meta
from skipw.errors import DataFormatError
from skipw.evaluation.evaluated import GRID_FILE, HISTORY_FILE
from skipw.evaluation.front import read_front
from skipw.evaluation.shipping import META_FILE, SHIPPED
from skipw.evaluation.table import read_grid
from skipw.evaluation.terms import require_terms
from skipw.models.saved import DESCRIPTION_FILE, copy_model, load_description
from skipw.params import DATASETS

__all__ = ["shipped_datasets", "shipped_page", "unpack"]


def shipped_datasets(pretrained: Path) -> list[str]:
    """The data sets that there are models of."""
    return [dataset for dataset in DATASETS if (pretrained / dataset / META_FILE).is_file()]


def unpack(pretrained: Path, dataset: str, root: Path) -> Mapping[str, Any]:
    """Lay a data set's models out below ``root`` as the stages train, evaluate and prepare leave them.

    Args:
        pretrained: the folder that is shipped.
        dataset: har, mnist, ...
        root: models/, evaluation/ and prepared/ (meta.json alone) are made in it.
    Returns:
        What they were shipped with: ``scale``, ``min_gain``, ``rates``.
    Raises:
        DataFormatError, ChecksumError: if a file is missing or damaged.
    """
    place = pretrained / dataset
    meta = load_meta(place)
    if SHIPPED not in meta:
        raise DataFormatError(
            f"{place / META_FILE} does not say how its models were shipped; fetch it again."
        )
    for folder in _measured(place):
        grids = root / "evaluation" / dataset / folder.name
        grids.mkdir(parents=True)
        shutil.copyfile(folder / GRID_FILE, grids / GRID_FILE)
    for folder in _models(place):
        copy_model(folder, root / "models" / dataset / folder.name)
        if (folder / HISTORY_FILE).exists():
            shutil.copyfile(folder / HISTORY_FILE, root / "models" / dataset / folder.name / HISTORY_FILE)
    prepared = root / "prepared" / dataset
    prepared.mkdir(parents=True)
    write_json(prepared / META_FILE, meta)
    facts: Mapping[str, Any] = meta[SHIPPED]
    return facts


def _measured(place: Path) -> list[Path]:
    return sorted(path.parent for path in place.glob(f"*/{GRID_FILE}"))


def _models(place: Path) -> list[Path]:
    return sorted(path.parent for path in place.glob(f"*/{DESCRIPTION_FILE}"))


def shipped_page(pretrained: Path) -> str:
    """README.md of the folder: every model with its size and its best point, and the terms of its data."""
    lines = [
        "# Trained models",
        "",
        "Written by `python pipelines/ship.py`, never by hand. `make pretrained` registers them in MLflow;",
        "[docs/pretrained.md](../docs/pretrained.md) shows what can be done with them.",
        "`sha256sum -c SHA256SUMS` checks the files.",
    ]
    for dataset in shipped_datasets(pretrained):
        lines += ["", *_section(pretrained / dataset)]
    return "\n".join(lines) + "\n"


def _section(place: Path) -> Iterator[str]:
    """One data set."""
    meta = load_meta(place)
    front = read_front(place / "front.csv")
    yield f"## {meta['title']}"
    yield ""
    yield f"Source `{meta['data_source']}`, scale `{meta[SHIPPED]['scale']}`. {_sizes(meta)}"
    yield ""
    yield require_terms(place.name, str(meta["data_source"]), place.name)
    yield ""
    metric = str(meta["metric"])
    yield (
        f"The most accurate point of each on val; {metric} and inputs processed on test. K and thr are the point's "
        "budget and threshold; *front* counts the model's points on the data set's Pareto front."
    )
    yield ""
    head = ("model", "cell", "L", "λ", "seed", "K", "thr", metric, "inputs", "front", "bytes")
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for folder in _measured(place):
        yield f"| {' | '.join(_row(folder, metric, front))} |"
    if starts := sorted({path.name for path in _models(place)} - {path.name for path in _measured(place)}):
        yield ""
        names = ", ".join(f"`{name}`" for name in starts)
        yield f"Without a grid of their own, for others that start from them or run their weights: {names}."
    if words := sorted(place.glob("*.safetensors")):
        yield ""
        shared = ", ".join(f"`{path.name}` ({path.stat().st_size:,} bytes)" for path in words)
        yield f"Shared by all of them: {shared}."


def _sizes(meta: Mapping[str, Any]) -> str:
    sizes = meta["sizes"]
    return f"Sequences: {sizes['train']:,} to train, {sizes['val']:,} val, {sizes['test']:,} test."


def _row(folder: Path, metric: str, front: pd.DataFrame) -> Iterator[str]:
    """One line of the table."""
    grid = read_grid(folder / GRID_FILE)
    rows = grid[grid["metric"] == metric]
    val = rows[rows["split"] == "val"].sort_values("inputs_processed", kind="stable")
    best = val.iloc[int((val["value"] * (1 if metric == "accuracy" else -1)).argmax())]
    same = rows[rows["split"] == "test"]
    for key in ("budget", "threshold", "occurrence"):
        same = same[same[key].isna() if pd.isna(best[key]) else same[key] == best[key]]
    test = same.iloc[0]
    layers = "" if best["num_layers"] == 1 else f"{best['num_layers']} × "
    own = front[(front["experiment"] == folder.name) & (front["split"] == "val")]
    described = (folder / DESCRIPTION_FILE).exists()
    size = sum(path.stat().st_size for path in folder.iterdir())
    yield f"`{folder.name}`"
    yield f"{layers}{str(best['cell']).upper()} {best['hidden_size']}"
    yield _text(best["window"])
    yield _text(best["cost_per_input"])
    yield str(load_description(folder)["seed"]) if described else ""
    yield _text(best["budget"])
    yield _text(best["threshold"])
    yield f"{100 * test['value']:.2f} %" if metric == "accuracy" else f"{test['value']:.3g}"
    yield f"{100 * test['inputs_processed']:.1f} %"
    yield str(len(own))
    yield f"{size:,}"


def _text(value: Any) -> str:
    return "" if pd.isna(value) else f"{value:g}"
