"""Which data sets and models the other analyses stand on, with the settings of each training."""

from __future__ import annotations

import pandas as pd

from skipw.reproduction.experiments import Experiment
from skipw.reproduction.points import own_points
from skipw.reproduction.work import Findings, Work
from skipw.settings import DATASETS

__all__ = ["run"]


def run(work: Work, out: Findings) -> None:
    """A row a data set, a row an experiment."""
    out.table("data", pd.DataFrame([_data_row(work, dataset) for dataset in work.datasets]), "The data sets.")
    rows = [_row(work, one) for dataset in work.datasets for one in work.experiments(dataset)]
    out.table(
        "models", pd.DataFrame(rows),
        "Every model, with its settings; value and inputs on test at K = L and thr = 0.5. `minutes`: of its own "
        "training, on the machine that did it, validations included.",
    )  # fmt: skip
    for dataset in DATASETS:
        if dataset not in work.datasets:
            out.missing(f"{dataset}: nothing was trained and evaluated")


def _data_row(work: Work, dataset: str) -> dict[str, object]:
    meta = work.meta(dataset)
    return {
        "dataset": dataset,
        "title": meta["title"],
        "data_source": meta["data_source"],
        "num_steps": meta["num_steps"],
        **{split: int(meta["sizes"][split]) for split in ("train", "val", "test")},
        "constant_predictor": meta["constant_predictor"]["test"] * (0.5 if dataset == "adding" else 1.0),
    }


def _row(work: Work, one: Experiment) -> dict[str, object]:
    own = own_points(work.points(one.dataset), one)
    end = own.iloc[-1] if len(own) else pd.Series(dtype=float)
    settings, shape, history = one.settings, one.architecture, work.history(one)
    seconds = None if history is None or "seconds" not in history else float(history["seconds"].max())
    return {
        "dataset": one.dataset,
        "experiment": one.name,
        "model": one.model,
        "variant": one.variant,
        "cell": f"{shape['num_layers']} × {str(shape['cell']).upper()} {shape['hidden_size']}",
        "window": one.window,
        "cost_per_input": one.cost_per_input,
        "target_inputs": settings.get("target_inputs"),
        "init_from": settings.get("init_from"),
        "steps": settings.get("steps"),
        "batch_size": settings.get("batch_size"),
        "learning_rate": settings.get("learning_rate"),
        "seed": one.seed,
        "minutes": None if seconds is None else round(seconds / 60, 1),
        "value": end.get("value"),
        "inputs": end.get("inputs"),
    }
