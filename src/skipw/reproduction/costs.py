"""Floating-point operations saved, counted, beside the inputs processed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from skipw.data.prepared import load_split
from skipw.evaluation.figures.axes import on_axis
from skipw.reproduction.drawing import colour_of, legend_below, panels, value_axis
from skipw.reproduction.experiments import Experiment
from skipw.reproduction.flops import dense_flops, sequence_flops
from skipw.reproduction.points import metric_of, own_points, pick
from skipw.reproduction.work import Findings, Work

__all__ = ["run"]

COUNTED = ("skipw", "thrrnn", "skiprnn", "dense")


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
    figure, axes = panels(len(tables), width=4.4, height=3.3)
    for panel, (dataset, table) in zip(axes, tables.items(), strict=True):
        metric = metric_of(dataset)
        for model, style, marker, name in (
            ("skipw", "-", "^", "SkipW, over K"),
            ("thrrnn", "none", "o", "ThrRNN, thr = 0.5"),
            ("skiprnn", "none", "D", "SkipRNN"),
            ("dense", "none", "s", "Dense"),
        ):
            own = table[table["model"] == model]
            for place, (_, line) in enumerate(own.groupby("experiment")):
                panel.plot(
                    line["flops"] / 1e6, on_axis(line["value"], metric), linestyle=style, marker=marker, markersize=4.5,
                    color=colour_of(model, place), linewidth=1.3, label=name if not place else None,
                )  # fmt: skip
        panel.set_xlim(left=0)
        panel.set_xlabel("MFLOPs a sequence (products)")
        value_axis(panel, metric)
        panel.set_title(work.title(dataset), fontsize=10, loc="left")
    legend_below(figure, axes, columns=4)
    out.figure("flops", figure, "The metric on test against the floating-point operations of a sequence.")


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
    length = float(np.mean(load_split(work.data / "prepared" / one.dataset, "test").lengths))
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
