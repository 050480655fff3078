"""Inputs processed per sequence against the bound K / L (paper, figures 7 and 14)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from skipw.evaluation.figures.axes import COST_LABEL
from skipw.reproduction.drawing import Axes, colour_of, panels
from skipw.reproduction.experiments import Experiment
from skipw.reproduction.points import label_of, pick
from skipw.reproduction.work import Findings, Work

__all__ = ["run"]

DRAWN = 1500  # sequences that a violin stands for at most
MOST_VIOLINS = 11


def run(work: Work, out: Findings) -> None:
    """A row for each budget and threshold of the grids, a violin for each budget, ThrRNN beside it."""
    checks = [_checked(work, dataset) for dataset in work.datasets]
    if checks:
        out.table(
            "windows", pd.concat(checks, ignore_index=True),
            "Most inputs processed in any window, over all sequences of test and all thresholds, for each budget.",
        )  # fmt: skip
    rows = []
    for dataset in work.datasets:
        points = work.points(dataset)
        skipw = work.experiments(dataset, "skipw")
        plain = [one for one in skipw if one.plain] or skipw
        windows = sorted({one.window for one in plain if one.window})
        if not windows:
            out.missing(f"{dataset}: SkipW")
        for window in windows:
            shown = pick(points, [one for one in plain if one.window == window])
            shares = None if shown is None else work.table(shown, "shares")
            if shown is None or shares is None:
                continue
            other = _similar(work, dataset, shares)
            rows.append(_distribution(shown, shares, int(work.meta(dataset)["num_steps"])))
            _draw(work, shown, shares, other, out)
    if rows:
        out.table(
            "per-sequence",
            pd.concat(rows, ignore_index=True),
            "Share of inputs processed per sequence, by budget.",
        )


def _checked(work: Work, dataset: str) -> pd.DataFrame:
    points = work.points(dataset)
    own = points[points["model"] == "skipw"]
    table = own.groupby(["dataset", "experiment", "window", "budget"], as_index=False).agg(
        points=("threshold", "size"), max_in_window=("max_in_window", "max")
    )
    return table.assign(exceeded=table["max_in_window"] > table["budget"])


def limit_of(budget: int, window: int, num_steps: int) -> float:
    """The largest share of a sequence that the bound allows."""
    whole, rest = divmod(num_steps, window)
    return (whole * budget + min(budget, rest)) / num_steps


def _distribution(experiment: Experiment, shares: pd.DataFrame, num_steps: int) -> pd.DataFrame:
    rows = []
    for budget, own in shares[shares["budget"] > 0].groupby("budget"):
        values, counts = own["inputs_processed"].to_numpy(), own["sequences"].to_numpy()
        mean = float(np.average(values, weights=counts))
        spread = float(np.sqrt(np.average((values - mean) ** 2, weights=counts)))
        rows.append({
            "dataset": experiment.dataset,
            "experiment": experiment.name,
            "window": experiment.window,
            "budget": int(str(budget).split(".")[0]),
            "limit": limit_of(int(float(str(budget))), experiment.window or 1, num_steps),
            "mean": mean,
            "std": spread,
            "max": float(values.max()),
            "sequences": int(counts.sum()),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _similar(work: Work, dataset: str, shares: pd.DataFrame) -> tuple[Experiment, pd.DataFrame] | None:
    """ThrRNN at the threshold whose mean is nearest to SkipW's at K = L (figure 7, right)."""
    most = shares[shares["budget"] == shares["budget"].max()]
    wanted = np.average(most["inputs_processed"], weights=most["sequences"])
    best: tuple[float, Experiment, pd.DataFrame] | None = None
    for one in work.experiments(dataset, "thrrnn"):
        table = work.table(one, "shares")
        if table is None:
            continue
        for _, own in table.groupby("threshold"):
            gap = abs(np.average(own["inputs_processed"], weights=own["sequences"]) - wanted)
            if best is None or gap < best[0]:
                best = (gap, one, own)
    return None if best is None else best[1:]


def _draw(
    work: Work,
    experiment: Experiment,
    shares: pd.DataFrame,
    other: tuple[Experiment, pd.DataFrame] | None,
    out: Findings,
) -> None:
    num_steps, window = int(work.meta(experiment.dataset)["num_steps"]), experiment.window or 1
    figure, (axes,) = panels(1, columns=1, width=7.0, height=3.8)
    budgets = sorted(int(k) for k in shares["budget"].unique() if k > 0)
    chosen = np.unique(np.linspace(0, len(budgets) - 1, min(MOST_VIOLINS, len(budgets))).round().astype(int))
    budgets = [budgets[i] for i in chosen]
    for place, budget in enumerate(budgets, start=1):
        _violin(axes, shares[shares["budget"] == budget], place, colour_of("skipw"))
        limit = 100 * limit_of(budget, window, num_steps)
        axes.hlines(
            limit, place - 0.45, place + 0.45, color="black", linestyle="--", linewidth=1.1,
            label="limit set by K" if place == 1 else None,
        )  # fmt: skip
    places: list[float] = list(range(1, len(budgets) + 1))
    ticks = [str(k) for k in budgets]
    if other is not None:
        beyond = len(budgets) + 1.8
        _violin(axes, other[1], beyond, colour_of("thrrnn"))
        places.append(beyond)
        ticks.append(f"ThrRNN\nthr = {other[1]['threshold'].iloc[0]:g}")
        axes.axvline(len(budgets) + 0.9, color="#B5B5B5", linewidth=0.8)
    axes.set_xticks(places, ticks)
    axes.set_xlabel("Budget K of SkipW")
    axes.set_ylabel(f"{COST_LABEL}\nof each sequence")
    axes.set_ylim(0, 104)
    axes.legend(loc="upper left", frameon=False, fontsize=8)
    axes.set_title(
        f"{work.title(experiment.dataset)}: {label_of(experiment, short=True)}, thr = 0.5",
        fontsize=10,
        loc="left",
    )
    beside = "" if other is None else f" Right: {label_of(other[0])} at a similar mean has no such limit."
    number = {"har": "7", "adding": "14"}.get(experiment.dataset)
    place_in_paper = f" (the paper's Fig. {number})" if number else ""
    out.figure(
        f"{experiment.dataset}-window{window}", figure,
        f"{work.title(experiment.dataset)}: inputs processed per test sequence for each K{place_in_paper}, "
        f"{label_of(experiment)}; bar: largest, dot: mean.{beside}",
    )  # fmt: skip


def _violin(axes: Axes, group: pd.DataFrame, place: float, colour: str) -> None:
    """With its mean and its largest value; a group without spread is a line."""
    shares, counts = 100 * group["inputs_processed"].to_numpy(), group["sequences"].to_numpy()
    if np.ptp(shares) > 0:
        kept = np.maximum(1, np.round(counts * min(1.0, DRAWN / counts.sum()))).astype(int)
        drawn: Any = axes.violinplot(
            np.repeat(shares, kept), [place], widths=0.85, showextrema=False, points=48
        )
        for body in drawn["bodies"]:
            body.set(facecolor=colour, edgecolor=colour, alpha=0.35)
    axes.hlines(shares.max(), place - 0.25, place + 0.25, color=colour, linewidth=1.4)
    mean = np.average(shares, weights=counts)
    assert math.isfinite(mean)
    axes.plot(place, mean, "o", color=colour, markersize=4)
