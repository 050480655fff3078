"""Which inputs SkipW processes at each budget, as a heat map (paper, figures 16 to 18)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from skipw.evaluation.figures.canvas import new_figure, save_figure

__all__ = ["draw_patterns"]


def draw_patterns(path: Path, patterns: pd.DataFrame, names: dict[str, str], window: int, title: str) -> None:
    """Draw one heat map an experiment: budget against position, colour the probability of being processed.

    Args:
        path: of the PNG.
        patterns: of patterns.csv, of SkipW experiments only.
        names: for people, by experiment.
        window: L; a line marks where windows begin.
        title: of the whole picture.
    """
    experiments = list(names)
    figure, panels = new_figure(9.2, 1.9 + 1.9 * len(experiments), rows=len(experiments))
    image = None
    for axes, experiment in zip(panels, experiments, strict=True):
        own = patterns[patterns["experiment"] == experiment]
        table = own.pivot(index="budget", columns="position", values="share").sort_index()
        budgets, steps = table.index.to_numpy(dtype=int), table.shape[1]
        edges = (-0.5, steps - 0.5, budgets[0] - 0.5, budgets[-1] + 0.5)
        image = axes.imshow(
            100 * table.to_numpy(dtype=float), origin="lower", aspect="auto", extent=edges, cmap="viridis",
            vmin=0, vmax=100, interpolation="nearest",
        )  # fmt: skip
        axes.grid(False)
        if steps <= 12 * window:
            axes.vlines(
                [s - 0.5 for s in range(window, steps, window)], *edges[2:], color="white", linewidth=0.6
            )
        axes.set_title(f"{names[experiment]}, thr = {own['threshold'].iloc[0]:g}", fontsize=10, loc="left")
        axes.set_ylabel("Budget K")
        axes.set_yticks(budgets[:: max(1, len(budgets) // 7)])
    panels[-1].set_xlabel("Position in the sequence")
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    figure.colorbar(image, ax=list(panels), label="Sequences that process it (%)", fraction=0.04, pad=0.02)
    save_figure(figure, path)
