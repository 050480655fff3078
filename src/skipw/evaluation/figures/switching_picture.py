"""A change of the operating point in mid-sequence (the paper's figures 9 and 13)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from skipw.evaluation.curves import COLOURS
from skipw.evaluation.figures.axes import COST_LABEL, is_logarithmic, on_axis, value_label
from skipw.evaluation.figures.canvas import new_figure, save_figure

__all__ = ["draw_switching"]


def draw_switching(
    path: Path, switching: pd.DataFrame, names: dict[str, str], metric: str, title: str
) -> None:
    """Draw the metric and the inputs processed against the position of the change.

    Args:
        path: of the PNG.
        switching: of switching.csv, one or several experiments.
        names: for people, by experiment.
        metric: "accuracy" or "mse".
        title: of the whole picture.
    """
    figure, panels = new_figure(9.2, 3.9, columns=2)
    for colour, (experiment, name) in zip(COLOURS["skipw"], names.items(), strict=False):
        own = switching[(switching["experiment"] == experiment) & (switching["metric"] == metric)]
        first = own.iloc[0]
        label = f"{name}: K = {first['first_budget']} → {first['second_budget']}"
        style = {"color": colour, "marker": "o", "markersize": 3.5, "linewidth": 1.5, "label": label}
        panels[0].plot(own["position"], on_axis(own["value"], metric), **style)
        panels[1].plot(own["position"], 100 * own["inputs_processed"], **style)
    for axes, label in zip(panels, (value_label(metric), COST_LABEL), strict=True):
        axes.set_xlabel("Position of the change")
        axes.set_ylabel(label)
    if is_logarithmic(metric):
        panels[0].set_yscale("log")
    panels[1].set_ylim(bottom=0)
    handles, labels = panels[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    save_figure(figure, path)
