"""The front of a data set as a picture for print: front.png."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from skipw.evaluation.curves import Curve, curves_of, random_band
from skipw.evaluation.figures.axes import COST_LABEL, is_logarithmic, on_axis, value_label
from skipw.evaluation.figures.canvas import Axes, Figure, halo, new_figure, save_figure
from skipw.evaluation.source_notes import announcement

__all__ = ["draw_front"]

JOINED = {"thrrnn": "--", "random": "-", "skipw": "-", "periodic": ":"}
MARKERS = {"skipw": "^", "thrrnn": "o", "skiprnn": "D", "dense": "s", "random": "", "periodic": "x"}
#: For (alias, whether better is up): does its label stand to the right, and above?
ALIAS_SIDES = {
    ("most-accurate", True): (True, True),
    ("knee", True): (False, True),
    ("cheapest", True): (True, True),
    ("most-accurate", False): (False, False),
    ("knee", False): (False, False),
    ("cheapest", False): (True, True),
}


def draw_front(
    path: Path,
    grid: pd.DataFrame,
    front: pd.DataFrame,
    repeats: pd.DataFrame | None,
    *,
    title: str,
    data_source: str,
    metric: str,
    constant: float,
    split: str = "test",
) -> None:
    """Draw every model's curve and the front.

    Args:
        path: of the PNG.
        grid, front, repeats: the tables of grid.csv (all experiments), front.csv and repeats.csv.
        title: the data source's own name.
        data_source: as recorded; a substitute is announced in red.
        metric: "accuracy" or "mse".
        constant: what the constant predictor reaches on ``split``.
        split: whose values are drawn; the front was chosen on val all the same.
    """
    figure, (axes,) = new_figure(8.2, 4.9, constrained=False)
    if repeats is not None and len(repeats):
        _draw_band(axes, repeats, metric, split)
    curves = curves_of(grid, metric)
    for curve in (one for one in curves if one.group is None):
        _draw_curve(axes, curve, metric, split)
    _draw_searched(axes, [one for one in curves if one.group is not None], metric, split)
    labelled = next((c for c in curves if c.model == "skipw" and c.main and c.group is None), None)
    _label_budgets(axes, labelled, metric, split)
    _draw_chosen(axes, front, metric, split)
    axes.axhline(on_axis(constant, metric), color="#444444", linestyle=":", linewidth=1, zorder=1)
    axes.annotate(
        "constant predictor", (0.995, on_axis(constant, metric)), xycoords=("axes fraction", "data"),
        ha="right", va="bottom", fontsize=7.5, color="#444444", xytext=(0, 1.5), textcoords="offset points",
    )  # fmt: skip
    axes.set_xlabel(COST_LABEL)
    axes.set_ylabel(value_label(metric))
    axes.set_xlim(-1, 101.5)
    if is_logarithmic(metric):
        axes.set_yscale("log")
    axes.margins(y=0.09)
    note = announcement(data_source)
    figure.suptitle(title, x=0.01, y=0.995, ha="left", va="top", fontsize=12, fontweight="bold")
    below = f"Values on {split}; the front was chosen on val. Data source: {data_source}."
    figure.text(0.01, 0.945, below, color="#444444", fontsize=8, va="top")
    if note:
        figure.text(0.01, 0.915, note, color="#C00000", fontsize=7.4, va="top")
    _draw_legend(figure, axes, searched=any(curve.group is not None for curve in curves))
    figure.subplots_adjust(left=0.085, right=0.735, top=0.865, bottom=0.105)
    save_figure(figure, path)


def _draw_legend(figure: Figure, axes: Axes, searched: bool) -> None:
    """Front first, then the models, then the trials of a search, beside the axes."""
    entries = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    first = ["Pareto front"] if "Pareto front" in entries else []
    labels = first + [label for label in entries if label not in first]
    figure.legend(
        [entries[label] for label in labels], labels, loc="upper left", bbox_to_anchor=(0.745, 0.875),
        frameon=False, fontsize=8, handlelength=2.4, labelspacing=0.75, borderaxespad=0,
    )  # fmt: skip
    lines = ["Along a SkipW curve: K = 1 to L.", "Thin lines: other thresholds."]
    lines += ["Pale: trials of a search;", "dots: other thresholds."] if searched else []
    figure.text(0.75, 0.12, "\n".join(lines), fontsize=7.5, color="#444444", va="bottom")


def _draw_band(axes: Axes, repeats: pd.DataFrame, metric: str, split: str) -> None:
    band = random_band(repeats, metric, split)
    low = np.maximum(band["low"], 1e-9) if is_logarithmic(metric) else band["low"]
    axes.fill_between(
        100 * band["inputs_processed"], on_axis(low, metric), on_axis(band["high"], metric), color="#8C8C8C",
        alpha=0.25, linewidth=0, label="± 3 standard deviations",
    )  # fmt: skip


def _draw_curve(axes: Axes, curve: Curve, metric: str, split: str) -> None:
    cost = 100 * curve.points[f"inputs_processed_{split}"]
    value = on_axis(curve.points[f"value_{split}"], metric)
    if not curve.main:
        axes.plot(cost, value, color=curve.colour, linewidth=0.8, alpha=0.45, zorder=2)
        return
    axes.plot(
        cost, value, color=curve.colour, linestyle=JOINED.get(curve.model, "none"), linewidth=1.5,
        marker=MARKERS[curve.model] or None, markersize=5.5, label=_wrapped(curve), zorder=3, clip_on=False,
    )  # fmt: skip


def _draw_searched(axes: Axes, curves: list[Curve], metric: str, split: str) -> None:
    """The trials of a search, thin and pale behind everything; the legend counts them by kind of model.

    Points at a threshold other than the trained one are dots without a line.
    """
    counts = Counter(curve.group for curve in curves if curve.main)
    for curve in curves:
        cost = 100 * curve.points[f"inputs_processed_{split}"]
        value = on_axis(curve.points[f"value_{split}"], metric)
        if not curve.main:
            axes.plot(cost, value, ".", color=curve.colour, markersize=1.8, zorder=1.5)
            continue
        axes.plot(
            cost, value, color=curve.colour, linewidth=0.6, linestyle=JOINED.get(curve.model, "none"),
            marker=MARKERS[curve.model], markersize=2.5, zorder=1.5,
            label=f"{curve.group} ({counts[curve.group]})",
        )  # fmt: skip


def _wrapped(curve: Curve) -> str:
    """The legend's text: the name, and below it the threshold that a SkipW curve was drawn at."""
    return curve.name if curve.threshold is None else f"{curve.name},\n    thr = {curve.threshold:g}"


def _label_budgets(axes: Axes, curve: Curve | None, metric: str, split: str) -> None:
    """K at the ends of the first SkipW curve, on the side away from the better points."""
    if curve is None or curve.points.empty:
        return
    ends = [0, -1] if len(curve.points) > 1 else [0]
    for place in ends:
        point = curve.points.iloc[place]
        where = (100 * point[f"inputs_processed_{split}"], on_axis(point[f"value_{split}"], metric))
        axes.annotate(
            f"K = {point['budget']}", where, color=curve.colour, fontsize=8, zorder=6, path_effects=halo(),
            xytext=(6, -11 if metric == "accuracy" else 4), textcoords="offset points",
        )  # fmt: skip


def _draw_chosen(axes: Axes, front: pd.DataFrame, metric: str, split: str) -> None:
    chosen = front[front["split"] == split]
    if chosen.empty:
        return
    cost, value = 100 * chosen["inputs_processed"], on_axis(chosen["value"], metric)
    axes.plot(cost, value, drawstyle="steps-post", color="black", linewidth=0.7, alpha=0.7, zorder=4)
    axes.scatter(
        cost, value, s=46, facecolors="none", edgecolors="black", linewidths=1.0, zorder=5,
        label="Pareto front", clip_on=False,
    )  # fmt: skip
    rising = metric == "accuracy"
    for (_, row), x, y in zip(chosen.iterrows(), cost, value, strict=True):
        names = [name for name in str(row["alias"]).split(";") if name and name != "nan"]
        if not names:
            continue
        right, above = ALIAS_SIDES[names[0], rising]
        right = right and x < 80
        axes.annotate(
            ", ".join(names), (x, y), xytext=(14 if right else -14, 16 if above else -16), fontsize=8,
            textcoords="offset points", fontweight="bold", ha="left" if right else "right", va="center",
            zorder=7, arrowprops={"arrowstyle": "-", "linewidth": 0.7, "color": "black", "shrinkB": 3},
            path_effects=halo(),
        )  # fmt: skip
