"""How much of the plane a trade-off figure shows: all that is of use, and its better part enlarged."""

from __future__ import annotations

import numpy as np

from skipw.reproduction.drawing import Axes
from skipw.reproduction.paper import stated_points
from skipw.reproduction.work import Work

__all__ = ["enlarge", "limit_values"]


def limit_values(axes: Axes, work: Work, dataset: str) -> None:
    """Accuracies from a little below the constant predictor on; errors up to a little above its error."""
    constant = float(work.meta(dataset)["constant_predictor"]["test"])
    if dataset == "adding":
        axes.set_ylim(top=0.75 * constant)
        return
    low = min(100 * constant, axes.get_ylim()[1] - 10)
    axes.set_ylim(low - 2, min(101, axes.get_ylim()[1] + 1))


def enlarge(axes: Axes, work: Work, dataset: str) -> None:
    """The better half of the gated models' points at thr = 0.5, with a margin."""
    points = work.points(dataset)
    own = points[
        points["model"].isin(["skipw", "skiprnn", "thrrnn"]) & ((points["threshold"] - 0.5).abs() < 1e-9)
    ]
    if own.empty:
        return
    best = float(own["value"].max())
    middle = float(own["value"].quantile(0.6 if dataset == "adding" else 0.35))
    if dataset == "adding":
        axes.set_ylim(top=3 * middle)
        low, kept = middle, own[own["value"] <= middle]
    else:
        low = min(middle, best - 0.01)
        kept = own[own["value"] >= low]
    stated = stated_points(dataset)
    good = stated["value"] <= low if dataset == "adding" else stated["value"] >= low
    shares = [*kept["inputs"], *stated.loc[good, "inputs"]]
    if dataset != "adding":
        best = max([best, *stated.loc[good, "value"]])
        axes.set_ylim(100 * (low - 0.3 * (best - low)), min(100.5, 100 * (best + 0.2 * (best - low))))
    ends = 100 * min(shares), 100 * float(np.quantile(shares, 0.9))
    axes.set_xlim(max(-1, ends[0] - 6), min(102, ends[1] + 8))
