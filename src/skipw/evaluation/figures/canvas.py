"""Matplotlib figures without a display and without dates: the same numbers give the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

__all__ = ["Axes", "Figure", "halo", "new_figure", "save_figure"]

Axes: TypeAlias = Any
Figure: TypeAlias = Any


def new_figure(width: float, height: float, columns: int = 1) -> tuple[Figure, Any]:
    """A figure of so many inches, with one axes or an array of axes in one row; light grid, no box."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as MatplotlibFigure

    figure = MatplotlibFigure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns)
    for one in [axes] if columns == 1 else axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(True, color="#E3E3E3", linewidth=0.6)
        one.set_axisbelow(True)
        one.tick_params(labelsize=9)
    return figure, axes


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG for print."""
    figure.savefig(path, dpi=200, metadata={"Software": None})


def halo() -> list[Any]:
    """Path effects that keep a label legible on top of lines."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.5, foreground="white")]
