"""The service's figures: latency of a sequence, its shares, power (paper, figures 10, 29 and 30)."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from skipw.actions.measure import PowerRecord, SequenceRecord
from skipw.evaluation.figures.canvas import Axes, Figure, new_figure, save_figure

__all__ = ["draw_latency", "draw_power", "draw_shares"]

Record = TypeVar("Record", SequenceRecord, PowerRecord)
Point = tuple[int, float]
SHARES = (
    ("pose_ms", "pose network", "#0072B2"),
    ("read_ms", "decoding", "#999999"),
    ("rnn_ms", "SkipW", "#D55E00"),
)


def draw_latency(path: Path, records: Sequence[SequenceRecord], *, subtitle: str) -> None:
    """Boxplots of the latency of a sequence at each [K, thr], a panel a pose network; beside each the inputs processed.

    Boxes are quartiles, whiskers reach from 5 to 95 % of the sequences, the number is the median;
    a mark is the median of the processor time, what the latency is where no other program runs.
    """
    figure, panels, variants = _panels(records, "Latency of a HAR sequence of 32 frames", subtitle, 5.0)
    for axes, variant in zip(panels, variants, strict=True):
        own = [record for record in records if record.pose == variant]
        points = _points(own)
        drawn = axes.boxplot(
            [[r.latency_ms for r in own if (r.budget, r.threshold) == point] for point in points],
            orientation="horizontal", widths=0.6, whis=(5, 95), showfliers=False, patch_artist=True,
            medianprops={"color": "black"}, boxprops={"linewidth": 0.8},
        )  # fmt: skip
        for box, point in zip(drawn["boxes"], points, strict=True):
            box.set(facecolor="#56B4E9" if point[1] else "#0072B2", alpha=0.75)
        for place, (line, cap) in enumerate(zip(drawn["medians"], drawn["caps"][1::2], strict=True), start=1):
            median, end = line.get_xdata()[0], cap.get_xdata()[0]
            axes.text(end, place, f"  {median:.0f}", va="center", fontsize=8)
        cpu = [statistics.median(r.cpu_ms for r in own if (r.budget, r.threshold) == p) for p in points]
        places = range(1, len(points) + 1)
        axes.plot(
            cpu, places, "D", color="#D55E00", markersize=4.5, zorder=4, label="processor time (median)"
        )
        axes.legend(frameon=False, fontsize=8.5, loc="lower right")
        _name_points(axes, own, points)
        axes.set_xlabel("Latency of a sequence (ms); numbers: medians")
        axes.set_xlim(0, 1.1 * axes.get_xlim()[1])
        axes.set_title(f"pose network: BlazePose {variant}", fontsize=10, loc="left")
    save_figure(figure, path)


def draw_shares(path: Path, records: Sequence[SequenceRecord], *, subtitle: str) -> None:
    """Medians of what pose network, decoding and SkipW take of a sequence at each [K, thr]; SkipW's in numbers too."""
    figure, panels, variants = _panels(records, "What a HAR sequence of 32 frames consists of", subtitle, 5.0)
    for axes, variant in zip(panels, variants, strict=True):
        own = [record for record in records if record.pose == variant]
        points = _points(own)
        start = [0.0] * len(points)
        places = list(range(1, len(points) + 1))
        for name, label, colour in SHARES:
            widths = [
                statistics.median(getattr(r, name) for r in own if (r.budget, r.threshold) == point)
                for point in points
            ]
            axes.barh(places, widths, left=start, height=0.6, color=colour, label=label)
            start = [a + b for a, b in zip(start, widths, strict=True)]
        for place, total, rnn in zip(places, start, widths, strict=True):
            axes.text(total, place, f"  {total:.0f} ms, SkipW {rnn:.1f}", va="center", fontsize=8)
        _name_points(axes, own, points)
        axes.set_xlim(0, 1.35 * max(start))
        axes.set_xlabel("Median time of a sequence (ms)")
        axes.set_title(f"pose network: BlazePose {variant}", fontsize=10, loc="left")
    panels[0].legend(frameon=False, fontsize=8.5, loc="lower right")
    save_figure(figure, path)


def draw_power(
    path: Path, records: Sequence[PowerRecord], *, source: str, measured: bool, subtitle: str
) -> None:
    """Mean power at the camera's pace at each [K, thr]; dotted: nothing runs; dashed: every frame, without a pause."""
    running = [record for record in records if record.paced and record.pose != "idle"]
    what = "Power" if measured else "Estimated power (not measured)"
    figure, panels, variants = _panels(
        running, f"{what} of the HAR service at 22 frames a second", subtitle, 5.2
    )
    idle = statistics.median(record.power_mw for record in records if record.pose == "idle")
    for axes, variant in zip(panels, variants, strict=True):
        own = [record for record in running if record.pose == variant]
        points = _points(own)
        power = [
            statistics.median(r.power_mw for r in own if (r.budget, r.threshold) == point) for point in points
        ]
        axes.barh(
            range(1, len(points) + 1), power, height=0.6,
            color=["#56B4E9" if point[1] else "#0072B2" for point in points],
        )  # fmt: skip
        most = statistics.median(r.power_mw for r in records if r.pose == variant and not r.paced)
        axes.axvline(idle, color="black", linestyle=":", linewidth=1.4, label=f"nothing runs: {idle:.0f} mW")
        axes.axvline(
            most, color="black", linestyle="--", linewidth=1.2, label=f"without a pause: {most:.0f} mW"
        )
        for place, value in enumerate(power, start=1):
            axes.text(value, place, f" {value:.0f}", va="center", fontsize=8)
        _name_points(axes, own, points)
        axes.set_xlim(0, 1.15 * max(most, *power))
        axes.set_xlabel(f"{what} (mW)")
        axes.set_title(f"pose network: BlazePose {variant}", fontsize=10, loc="left")
        axes.legend(frameon=False, fontsize=8.5, loc="lower right", bbox_to_anchor=(0.91, 0.02))
    figure.supxlabel(source, fontsize=8.5, color="#444444", x=0.01, ha="left")
    save_figure(figure, path)


def _panels(
    records: Iterable[Record], title: str, subtitle: str, height: float
) -> tuple[Figure, list[Axes], list[str]]:
    """A panel a pose network."""
    variants = list(dict.fromkeys(sorted((r.pose for r in records), key=_by_size)))
    figure, panels = new_figure(5.4 * len(variants), height, columns=len(variants))
    figure.suptitle(f"{title}\n", x=0.01, ha="left", fontsize=12, fontweight="bold")
    figure.text(0.01, 0.93, subtitle, ha="left", va="top", fontsize=8.5, color="#444444")
    return figure, panels, variants


def _by_size(variant: str) -> int:
    return ("lite", "full", "heavy").index(variant)


def _points(records: Iterable[Record]) -> list[Point]:
    """The cheapest first, so that it stands lowest."""
    found = {(r.budget, r.threshold) for r in records}
    return sorted(found, key=lambda point: (point[0], -point[1]))


def _name_points(axes: Axes, records: Sequence[Record], points: Sequence[Point]) -> None:
    """[K, thr] and the share of the inputs that was processed there."""
    labels = []
    for point in points:
        own = [r for r in records if (r.budget, r.threshold) == point]
        share = sum(r.processed for r in own) / sum(r.frames for r in own)
        labels.append(f"[{point[0]}, {point[1]:g}]  {share:.1%}")
    axes.set_yticks(range(1, len(points) + 1), labels)
    axes.set_ylabel("[K, thr]  inputs processed")
