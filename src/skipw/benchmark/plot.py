"""The picture: cost against the share of inputs processed, relative to the dense layer."""

from __future__ import annotations

from pathlib import Path

from skipw.benchmark.records import PHASES, Results, SpeedRecord
from skipw.benchmark.workloads import WORKLOADS
from skipw.evaluation.figures.canvas import Axes, new_figure, save_figure

__all__ = ["draw_costs"]

COLOURS = {"har": "#0072B2", "adding": "#D55E00", "smnist": "#009E73", "imdb": "#CC79A7"}
MARKERS = {"har": "o", "adding": "s", "smnist": "^", "imdb": "D"}
SHARE_LIMITS = (0.04, 1.25)
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def draw_costs(results: Results, path: Path) -> None:
    """A panel for training, one for inference; a line a workload, SkipW on the run's first backend.

    Both axes are logarithmic. On the diagonal the cost is the share of the inputs; a line below it gains more than
    it skips. Bars are quartiles.
    """
    phases = [phase for phase in PHASES if any(record.phase == phase for record in results.speed)]
    figure, panels = new_figure(10.0, 4.8, columns=max(len(phases), 1), share_y=True, constrained=False)
    for axes, phase in zip(panels, phases, strict=False):
        _draw_panel(axes, results, phase)
        _scale(axes, results)
    panels[0].set_ylabel("Time relative to the dense layer", fontsize=9.5)
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
    figure.legend(
        handles,
        labels,
        loc="lower center",
        ncols=max(len(labels), 1),
        frameon=False,
        fontsize=8.5,
        columnspacing=1.5,
    )
    figure.subplots_adjust(left=0.07, right=0.985, top=0.82, bottom=0.2, wspace=0.08)
    save_figure(figure, path)


def _draw_panel(axes: Axes, results: Results, phase: str) -> None:
    axes.set_title("Training step" if phase == "training" else "Inference", fontsize=10.5, loc="left")
    for workload in WORKLOADS:
        records = sorted(_shown(results, phase, workload.name), key=lambda record: record.share)
        if not records:
            continue
        time = [record.relative_time for record in records]
        low = [spread.median - spread.lower for spread in time]
        high = [spread.upper - spread.median for spread in time]
        axes.errorbar(
            [record.share for record in records], [spread.median for spread in time], yerr=[low, high],
            color=COLOURS[workload.name], marker=MARKERS[workload.name], markersize=5.5, linewidth=1.6,
            elinewidth=1, capsize=2.5, label=workload.title, zorder=3,
        )  # fmt: skip
    axes.axhline(1.0, color="#444444", linewidth=1, label="the dense layer", zorder=1)
    axes.plot(SHARE_LIMITS, SHARE_LIMITS, color="#444444", linestyle=":", linewidth=1.4,
              label="time = share of inputs", zorder=1)  # fmt: skip


def _shown(results: Results, phase: str, workload: str) -> list[SpeedRecord]:
    """SkipW on the first backend; only workloads that have a colour."""
    wanted = (phase, workload, "skipw", results.settings["backends"][0])
    return [
        record
        for record in results.speed
        if (record.phase, record.workload, record.model, record.backend) == wanted and workload in COLOURS
    ]


def _scale(axes: Axes, results: Results) -> None:
    """The same two logarithmic axes for every panel."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    shown = [r for phase in PHASES for name in COLOURS for r in _shown(results, phase, name)]
    lowest = min([0.05, *(record.relative_time.lower for record in shown)])
    highest = max([1.25, *(record.relative_time.upper for record in shown)])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(*SHARE_LIMITS)
    axes.set_ylim(0.8 * lowest, 1.15 * highest)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(TICKS))
        axis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("Inputs processed", fontsize=9.5)
