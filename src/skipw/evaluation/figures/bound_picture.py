"""How many inputs each sequence processed, against the budget and its bound (paper, figures 7 and 14)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skipw.evaluation.figures.axes import COST_LABEL
from skipw.evaluation.figures.canvas import Axes, new_figure, save_figure

__all__ = ["draw_bound"]

DRAWN = 1500  # sequences that a violin stands for at most


def draw_bound(
    path: Path,
    skipw: pd.DataFrame,
    other: pd.DataFrame | None,
    *,
    window: int,
    num_steps: int,
    names: tuple[str, str],
    title: str,
) -> None:
    """Draw SkipW's violins over K with the bound, and beside them ThrRNN's over the threshold, which has
    none.

    Args:
        path: of the PNG.
        skipw: of shares.csv, of one SkipW experiment.
        other: the same of a ThrRNN experiment, or None.
        window: L.
        num_steps: T, for the bound over a whole sequence, ceil(T / L) K / T.
        names: of the two models, for people.
        title: of the whole picture.
    """
    figure, panels = new_figure(9.2, 4.2, columns=1 if other is None else 2, share_y=True)
    budgets = sorted(int(k) for k in skipw["budget"].unique() if k > 0)
    groups = [skipw[skipw["budget"] == k] for k in budgets]
    _violins(panels[0], groups, list(range(1, len(budgets) + 1)), [str(k) for k in budgets], "#0072B2")
    bounds = [min(100.0, 100 * math.ceil(num_steps / window) * k / num_steps) for k in budgets]
    panels[0].step(
        [0.5, *np.arange(1, len(budgets) + 1) + 0.5], [bounds[0], *bounds], where="pre", color="black",
        linestyle="--", linewidth=1, label="bound",
    )  # fmt: skip
    panels[0].set_xlabel("Budget K")
    panels[0].set_ylabel(COST_LABEL)
    panels[0].legend(loc="upper left", frameon=False, fontsize=9)
    panels[0].set_title(f"{names[0]}, thr = {skipw['threshold'].iloc[0]:g}", fontsize=10, loc="left")
    if other is not None:
        thresholds = sorted(other["threshold"].unique())
        groups = [other[other["threshold"] == t] for t in thresholds]
        places = list(range(1, len(thresholds) + 1))
        _violins(panels[1], groups, places, [f"{t:g}" for t in thresholds], "#D55E00")
        panels[1].set_xlabel("Threshold thr")
        panels[1].set_title(f"{names[1]} (no bound)", fontsize=10, loc="left")
    panels[0].set_ylim(0, 104)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    save_figure(figure, path)


def _violins(
    axes: Axes, groups: list[pd.DataFrame], places: list[int], ticks: list[str], colour: str
) -> None:
    """One violin a group, with its mean and its largest value; a group without spread is a line."""
    for place, group in zip(places, groups, strict=True):
        shares, counts = 100 * group["inputs_processed"].to_numpy(), group["sequences"].to_numpy()
        if np.ptp(shares) > 0:
            kept = np.maximum(1, np.round(counts * min(1.0, DRAWN / counts.sum()))).astype(int)
            drawn: Any = axes.violinplot(np.repeat(shares, kept), [place], widths=0.85, showextrema=False)
            for body in drawn["bodies"]:
                body.set(facecolor=colour, edgecolor=colour, alpha=0.35)
        axes.hlines(shares.max(), place - 0.25, place + 0.25, color=colour, linewidth=1.4)
        axes.plot(place, np.average(shares, weights=counts), "o", color=colour, markersize=4)
    axes.set_xticks(places, ticks)
