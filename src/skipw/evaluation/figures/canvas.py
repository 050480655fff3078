"""Matplotlib figures without a display and without dates: the same numbers give the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

__all__ = ["Axes", "Figure", "halo", "new_figure", "save_figure"]

Axes: TypeAlias = Any
Figure: TypeAlias = Any


def new_figure(
    width: float,
    height: float,
    *,
    rows: int = 1,
    columns: int = 1,
    share_y: bool = False,
    constrained: bool = True,
) -> tuple[Figure, list[Axes]]:
    """A figure of so many inches and its axes, row by row; light grid, no box.

    ``constrained``: nothing overlaps; without it the caller places the axes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as MatplotlibFigure

    figure = MatplotlibFigure(figsize=(width, height), layout="constrained" if constrained else None)
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(rows, columns, squeeze=False, sharey=share_y).flat)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(True, color="#E3E3E3", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=9)
    return figure, panels


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG for print."""
    figure.savefig(path, dpi=200, metadata={"Software": None})


def halo() -> list[Any]:
    """Path effects that keep a label legible on top of lines."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.5, foreground="white")]
