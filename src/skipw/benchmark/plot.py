"""The picture: cost against the share of inputs processed, relative to the dense layer."""

from __future__ import annotations

from pathlib import Path

from skipw.benchmark.records import PHASES, Results
from skipw.benchmark.workloads import WORKLOADS
from skipw.evaluation.figures.canvas import Axes, halo, new_figure, save_figure

__all__ = ["draw_costs"]

COLOURS = {"har": "#0072B2", "adding": "#D55E00", "smnist": "#009E73", "imdb": "#CC79A7"}
MARKERS = {"har": "o", "adding": "s", "smnist": "^", "imdb": "D"}
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def draw_costs(results: Results, path: Path) -> None:
    """A panel for training, one for inference; a line a workload, SkipW on the run's first backend.

    Both axes are logarithmic. On the diagonal the cost is the share of the inputs; a line below it gains more than
    it skips. Bars are quartiles.
    """
    phases = [phase for phase in PHASES if any(record.phase == phase for record in results.speed)]
    figure, panels = new_figure(10.0, 4.8, columns=max(len(phases), 1), constrained=False)
    for axes, phase in zip(panels, phases, strict=False):
        _draw_panel(axes, results, phase)
    backend = results.settings["backends"][0]
    figure.suptitle(
        "What skipping saves", x=0.01, y=0.99, ha="left", va="top", fontsize=12, fontweight="bold"
    )
    below = (
        f"SkipW on the {backend} backend against torch.nn of the same shape, one thread, float32. "
        f"{results.machine['cpu']}, torch {results.versions['torch']}."
    )
    figure.text(0.01, 0.925, below, color="#444444", fontsize=8.5, va="top")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=max(len(labels), 1), frameon=False, fontsize=9)
    figure.subplots_adjust(left=0.07, right=0.985, top=0.82, bottom=0.2, wspace=0.16)
    save_figure(figure, path)


def _draw_panel(axes: Axes, results: Results, phase: str) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_title("Training step" if phase == "training" else "Inference", fontsize=10.5, loc="left")
    lowest, highest = 0.05, 1.3
    for workload in WORKLOADS:
        records = [
            record
            for record in results.speed
            if (record.workload, record.phase, record.model, record.backend)
            == (workload.name, phase, "skipw", results.settings["backends"][0])
        ]
        if not records or not workload.main:
            continue
        records.sort(key=lambda record: record.share)
        time = [record.relative_time for record in records]
        low = [spread.median - spread.lower for spread in time]
        high = [spread.upper - spread.median for spread in time]
        axes.errorbar(
            [record.share for record in records], [spread.median for spread in time], yerr=[low, high],
            color=COLOURS[workload.name], marker=MARKERS[workload.name], markersize=5.5, linewidth=1.6,
            elinewidth=1, capsize=2.5, label=workload.title, zorder=3,
        )  # fmt: skip
        lowest = min(lowest, *(spread.lower for spread in time))
        highest = max(highest, *(spread.upper for spread in time))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(0.04, 1.25)
    axes.set_ylim(0.8 * lowest, 1.2 * highest)
    axes.plot([0.04, 1.25], [0.04, 1.25], color="#444444", linestyle=":", linewidth=1.2, zorder=1)
    axes.axhline(1.0, color="#444444", linewidth=1, zorder=1)
    note = {"fontsize": 8, "color": "#444444", "path_effects": halo()}
    axes.annotate("the dense layer", (0.042, 1.04), va="bottom", **note)
    axes.annotate("time = share of inputs", (0.36, 0.36), xytext=(5, -4), textcoords="offset points",
                  va="top", **note)  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(TICKS))
        axis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("Inputs processed", fontsize=9.5)
    axes.set_ylabel("Time relative to the dense layer", fontsize=9.5)
