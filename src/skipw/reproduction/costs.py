"""Floating-point operations saved, counted, beside the inputs processed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from skipw.data.prepared import load_split
from skipw.evaluation.curves import NAMES
from skipw.evaluation.figures.axes import on_axis
from skipw.evaluation.front import gain_of
from skipw.evaluation.pareto import non_dominated
from skipw.reproduction.drawing import colour_of, legend_below, panels, value_axis
from skipw.reproduction.experiments import Experiment
from skipw.reproduction.flops import dense_flops, sequence_flops
from skipw.reproduction.points import metric_of, own_points, pick
from skipw.reproduction.work import Findings, Work

__all__ = ["run"]

COUNTED = ("skipw", "thrrnn", "skiprnn", "dense")
MARKERS = {"skipw": "^", "thrrnn": "o", "skiprnn": "D", "dense": "s"}


def run(work: Work, out: Findings) -> None:
    """FLOPs a sequence of each model, of SkipW for every K; mean length times mean share where lengths vary."""
    tables = {}
    for dataset in work.datasets:
        rows = [row for one in _shown(work, dataset) for row in _rows(work, one)]
        if rows:
            tables[dataset] = pd.DataFrame(rows)
        else:
            out.missing(f"{dataset}: no model to count")
    if not tables:
        return
    out.table(
        "flops", pd.concat(tables.values(), ignore_index=True),
        "FLOPs of a mean test sequence, and shares saved against a dense model of the same shape. thr = 0.5.",
    )  # fmt: skip
    _fronts(work, list(tables), out)


def _fronts(work: Work, datasets: list[str], out: Findings) -> None:
    """For each kind of model and of cell the points that no other beats on val, by the operations of a sequence."""
    tables = {}
    for dataset in datasets:
        points = _counted(work, dataset)
        if points.empty:
            continue
        kinds = [
            _front(points[(points["model"] == model) & (points["cell"] == cell)])
            for model in COUNTED
            for cell in sorted(points["cell"].unique())
        ]
        tables[dataset] = pd.concat(kinds, ignore_index=True)
    if not tables:
        return
    out.table(
        "fronts", pd.concat(tables.values(), ignore_index=True),
        "FLOPs of a mean test sequence of the points that no other of the same model and cell beats on val, at any "
        "operating point of any experiment; values on test.",
    )  # fmt: skip
    figure, axes = panels(len(tables), width=4.6, height=3.4)
    for panel, (dataset, table) in zip(axes, tables.items(), strict=True):
        metric = metric_of(dataset)
        for (model, cell), line in table.groupby(["model", "cell"], sort=False):
            other = cell == "fastgrnn"
            panel.plot(
                line["flops"] / 1e6, on_axis(line["value"], metric), linestyle=":" if other else "-", linewidth=1.3,
                marker=MARKERS[str(model)], markersize=4.5, color=colour_of(str(model)),
                markerfacecolor="white" if other else colour_of(str(model)),
                label=NAMES[str(model)] + (", FastGRNN cells" if other else ""), zorder=4 if model == "skipw" else 3,
            )  # fmt: skip
        panel.set_xscale("log")
        panel.set_xlabel("MFLOPs a sequence (products)")
        value_axis(panel, metric)
        panel.set_title(work.title(dataset), fontsize=10, loc="left")
    legend_below(figure, axes, columns=4)
    out.figure(
        "flops", figure,
        "The metric on test against the floating-point operations of a sequence: for each kind of model, and of cell, "
        "the points that no other beats on val.",
    )  # fmt: skip


def _counted(work: Work, dataset: str) -> pd.DataFrame:
    """Every operating point of COUNTED models that processes anything, with its cell and operations on val and test."""
    experiments = {one.name: one for one in work.experiments(dataset, *COUNTED)}
    points = work.points(dataset)
    points = points[points["experiment"].isin(list(experiments)) & (points["inputs_val"] > 0)]
    lengths = {split: _mean_length(work, dataset, split) for split in ("val", "test")}
    flops = {
        split: [
            sequence_flops(experiments[name].architecture, length, length * float(share))
            for name, share in zip(points["experiment"], points[column], strict=True)
        ]
        for (split, length), column in zip(lengths.items(), ("inputs_val", "inputs"), strict=True)
    }
    cells = [str(experiments[name].architecture["cell"]) for name in points["experiment"]]
    columns = [
        "dataset", "experiment", "model", "window", "budget", "threshold", "metric", "value_val", "value", "inputs",
    ]  # fmt: skip
    return points[columns].assign(cell=cells, flops_val=flops["val"], flops=flops["test"])


def _front(points: pd.DataFrame) -> pd.DataFrame:
    if points.empty:
        return points
    gain = gain_of(points["value_val"].to_numpy(dtype=float), str(points["metric"].iloc[0]))
    return points.iloc[list(non_dominated(points["flops_val"].to_numpy(dtype=float), gain))]


def _mean_length(work: Work, dataset: str, split: str) -> float:
    return float(np.mean(load_split(work.data / "prepared" / dataset, split).lengths))


def _shown(work: Work, dataset: str) -> list[Experiment]:
    """The best plain SkipW of each window, and all ThrRNN, SkipRNN and dense models."""
    skipw = work.experiments(dataset, "skipw")
    plain = [one for one in skipw if one.plain] or skipw
    best = [
        pick(work.points(dataset), [one for one in plain if one.window == window])
        for window in sorted({one.window for one in plain if one.window})
    ]
    return [one for one in best if one is not None] + work.experiments(dataset, *COUNTED[1:])


def _rows(work: Work, one: Experiment) -> list[dict[str, object]]:
    own = own_points(work.points(one.dataset), one)
    length = _mean_length(work, one.dataset, "test")
    dense = dense_flops(one.architecture, length)
    return [
        {
            "dataset": one.dataset,
            "experiment": one.name,
            "model": one.model,
            "window": one.window,
            "budget": point["budget"],
            "value": point["value"],
            "inputs": point["inputs"],
            "flops": (flops := sequence_flops(one.architecture, length, length * float(point["inputs"]))),
            "inputs_saved": 1 - point["inputs"],
            "flops_saved": 1 - flops / dense,
        }
        for _, point in own.iterrows()
    ]
