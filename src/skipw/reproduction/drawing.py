"""The look of the report's figures: vector files with the same bytes for the same numbers, colours for everybody."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from skipw.evaluation.curves import COLOURS
from skipw.evaluation.figures.axes import COST_LABEL
from skipw.evaluation.figures.canvas import Axes, Figure, new_figure
from skipw.reproduction.small_svg import shorten

__all__ = [
    "ANYTIME",
    "Axes",
    "Figure",
    "colour_of",
    "label_axes",
    "legend_below",
    "panels",
    "save",
    "value_axis",
]

#: Of the models trained at many budgets, apart from the paper's own.
ANYTIME = "#CC3311"


def panels(count: int, *, columns: int = 2, width: float = 4.4, height: float = 3.3, **options: Any) -> Any:
    """A figure with ``count`` panels in a grid, those left over switched off.

    Args:
        count: at least 1.
        columns: at most so many side by side.
        width, height: of a panel, in inches.
        options: of ``new_figure``.
    Returns:
        the figure and its axes.
    """
    across = min(count, columns)
    down = -(-count // across)
    figure, axes = new_figure(width * across, height * down, rows=down, columns=across, **options)
    for left_over in axes[count:]:
        left_over.set_visible(False)
    return figure, axes[:count]


def colour_of(model: str, place: int = 0) -> str:
    """A colour of a kind of model; the next tint for another experiment."""
    tints = COLOURS[model]
    return tints[place % len(tints)]


def value_axis(axes: Axes, metric: str) -> None:
    """Label the value's axis: accuracies in %, errors on a logarithmic scale."""
    if metric == "accuracy":
        axes.set_ylabel("Accuracy (%)")
    else:
        axes.set_ylabel("½ · mean squared error")
        axes.set_yscale("log")


def label_axes(axes: Axes, metric: str, title: str = "") -> None:
    """Both axes of a trade-off figure, and its panel's title."""
    axes.set_xlabel(COST_LABEL)
    value_axis(axes, metric)
    if title:
        axes.set_title(title, fontsize=10, loc="left")


def legend_below(figure: Figure, axes: Any, columns: int = 3, size: float = 8) -> None:
    """One legend for all panels, under them, each entry once; in fewer columns where so many are too wide."""
    entries: dict[str, Any] = {}
    for one in axes if isinstance(axes, list | tuple) else [axes]:
        handles, labels = one.get_legend_handles_labels()
        entries |= {
            label: handle for handle, label in zip(handles, labels, strict=True) if label not in entries
        }
    renderer = figure.canvas.get_renderer()
    for count in range(columns, 0, -1) if entries else ():
        legend = figure.legend(
            list(entries.values()), list(entries), loc="outside lower center", ncols=count, frameon=False,
            fontsize=size, handlelength=2.2, columnspacing=1.4,
        )  # fmt: skip
        if count == 1 or legend.get_window_extent(renderer).width <= figure.bbox.width:
            break
        legend.remove()


def save(figure: Figure, path: Path) -> None:
    """Write a short SVG or a PNG, by the file's ending, without a date."""
    from matplotlib import rc_context

    if path.suffix == ".svg":
        text = io.StringIO()
        with rc_context({"svg.hashsalt": "skipw", "svg.fonttype": "path"}):
            figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        path.write_text(shorten(text.getvalue()), encoding="utf-8")
    else:
        figure.savefig(path, dpi=130, metadata={"Software": None})
