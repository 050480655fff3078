"""The picture of benchmarks/governor.py: speed, latency, operating point and score over the sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

COLOURS = ("#0b6e99", "#c8553d", "#8a8a8a")
OVER = "#f4d6d0"


def draw(
    path: Path,
    runs: Mapping[str, Sequence[Any]],
    switches: Sequence[Sequence[Any]],
    task: Any,
    budget_ms: float,
    slow: float,
) -> None:
    """Write the picture; ``runs`` are Rows by name, the governor's and the fixed points' among them."""
    count = len(task.sequences)
    third = count // 3
    chosen = {"governor": "governor"} | {
        name: name.split(": ", 1)[1] + " fixed" for name in runs if name.startswith("fixed for")
    }
    figure, panels = plt.subplots(
        4, 1, figsize=(9, 9.5), sharex=True, height_ratios=(0.6, 2, 1.4, 1.4), layout="constrained"
    )
    x = np.arange(count)
    speed, latency, points, score = panels
    speed.step(x, [slow if third <= n < 2 * third else 1.0 for n in x], where="post", color="black")
    speed.set(ylim=(0, 1.2), ylabel="device\nspeed", yticks=(0, 0.5, 1))

    for (name, label), colour in zip(chosen.items(), COLOURS, strict=False):
        cost = np.array([row.latency_ms for row in runs[name]])
        latency.plot(
            x, cost, ".", markersize=3, color=colour, label=label, zorder=3 if name == "governor" else 2
        )
    top = max(max(row.latency_ms for row in runs[name]) for name in chosen)
    latency.axhspan(budget_ms, 1.06 * top, color=OVER, zorder=0)
    latency.axhline(budget_ms, color="#a02c14", linewidth=1.2)
    words = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
    latency.text(
        0.01 * count,
        budget_ms + 0.03 * top,
        f"budget {budget_ms:g} ms",
        color="#a02c14",
        bbox=words,
        zorder=5,
    )
    latency.set(ylim=(0, 1.06 * top), ylabel="latency of a\nsequence, ms")
    latency.legend(loc="upper right", ncols=1, markerscale=4, fontsize=9, framealpha=1.0)

    length = max(map(len, task.sequences))
    when = [sequence + index / length for sequence, index, *_ in switches] + [count]
    budgets = [budget for _, _, budget, *_ in switches]
    points.step(when, [*budgets, budgets[-1]], where="post", color=COLOURS[0], linewidth=0.9)
    for (name, _), colour in list(zip(chosen.items(), COLOURS, strict=False))[1:]:
        points.axhline(runs[name][0].budget, color=colour, linewidth=1.2)
    points.set(ylim=(0, task.model.window), ylabel=f"K of {task.model.window}")

    width = max(20, count // 15)
    for (name, _), colour in zip(chosen.items(), COLOURS, strict=False):
        values = np.array([row.score for row in runs[name]])
        running = np.convolve(values, np.ones(width) / width, "valid")
        score.plot(x[width - 1 :], running, color=colour, linewidth=1.4)
    score.set(
        ylabel=f"{task.metric},\nlast {width} sequences", xlabel="sequence (one a second)", xlim=(0, count)
    )
    if task.metric == "accuracy":
        score.set_ylim(0.5, 1.0)
    else:
        score.set_yscale("log")
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", color="#e4e4e4", linewidth=0.7, zorder=0)
        for edge in (third, 2 * third):
            panel.axvline(edge, color="#bbbbbb", linewidth=0.8, linestyle=":")
    figure.align_ylabels(panels)
    figure.savefig(path, dpi=110)
    plt.close(figure)
