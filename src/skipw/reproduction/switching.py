"""(K, thr) changed before every input of a sequence (paper, section 4.2, figures 9, 13, 27, 28)."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from skipw.evaluation.figures.axes import COST_LABEL, on_axis
from skipw.evaluation.progress import progress
from skipw.evaluation.switching import switch_curve, switch_positions
from skipw.operating_point import OperatingPoint
from skipw.reproduction.drawing import panels, value_axis
from skipw.reproduction.experiments import Experiment
from skipw.reproduction.paper import stated
from skipw.reproduction.points import REFERENCE_THRESHOLD, label_of, metric_of, pick
from skipw.reproduction.work import Findings, Work

__all__ = ["run"]

POSITIONS = 51
LONG_POSITIONS = 15  # where sequences are long: every second line of an image
SEQUENCES = {"adding": 5000, "mnist": 1000, "imdb": 1500}


def run(work: Work, out: Findings) -> None:
    """One curve a change: the paper's pairs where its window was trained, K = L to L / 4 on the other data sets."""
    tables, drawn = [], []
    for dataset in work.datasets:
        for shown, first, second, place in _changes(work, dataset, out):
            own = _curve(work, shown, first, second)
            pair = f"K = {first.budget}, thr = {first.threshold:g} → K = {second.budget}, thr = {second.threshold:g}"
            tables.append(
                own.assign(
                    dataset=dataset, experiment=shown.name, window=shown.window, change=pair, place=place
                )
            )
            drawn.append((shown, pair, place, own))
    if not tables:
        return
    table = pd.concat(tables, ignore_index=True)
    columns = ["dataset", "experiment", "window", "change", "place", "position", "num_steps", "value",
               "inputs_processed", "max_inputs_in_window", "sequences"]  # fmt: skip
    out.table("switching", table[columns], "The change before the input at each position; position T: never.")
    figure, axes = panels(len(drawn), width=4.7, height=3.2)
    for panel, (shown, pair, place, own) in zip(axes, drawn, strict=True):
        metric = metric_of(shown.dataset)
        where = 100 * own["position"] / own["num_steps"]
        panel.plot(
            where, on_axis(own["value"], metric), color="#0072B2", marker="o", markersize=3, linewidth=1.3
        )
        value_axis(panel, metric)
        panel.yaxis.label.set_color("#0072B2")
        other = panel.twinx()
        other.spines[["top"]].set_visible(False)
        other.plot(where, 100 * own["inputs_processed"], color="#D55E00", linestyle="--", linewidth=1.3)
        other.set_ylim(bottom=0)
        other.set_ylabel(COST_LABEL, color="#D55E00")
        panel.set_xlabel("Position of the change (% of the sequence)")
        number = f" ({place})" if place else ""
        panel.set_title(
            f"{work.title(shown.dataset)}: {label_of(shown, short=True)}{number}\n{pair}",
            fontsize=8,
            loc="left",
        )
    out.figure(
        "switching", figure,
        "A change of (K, thr) before the input at each position, on test. Solid: the metric; dashed: inputs processed.",
    )  # fmt: skip


def _changes(
    work: Work, dataset: str, out: Findings
) -> Iterator[tuple[Experiment, OperatingPoint, OperatingPoint, str]]:
    skipw = work.experiments(dataset, "skipw")
    plain = [one for one in skipw if one.plain] or skipw
    wanted = [entry for entry in stated("switches") if entry["dataset"] == dataset]
    done = False
    for entry in wanted:
        shown = pick(work.points(dataset), [one for one in plain if one.window == entry["window"]])
        if shown is None:
            out.missing(f"{dataset}: {entry['place']} (no SkipW with L = {entry['window']})")
            continue
        done = True
        yield shown, OperatingPoint(*entry["first"]), OperatingPoint(*entry["second"]), str(entry["place"])
    shown = None if done else pick(work.points(dataset), plain)
    if shown is not None:
        whole = shown.window or 1
        small = max(1, whole // 4)
        yield (
            shown,
            OperatingPoint(whole, REFERENCE_THRESHOLD),
            OperatingPoint(small, REFERENCE_THRESHOLD),
            "",
        )


def _curve(work: Work, shown: Experiment, first: OperatingPoint, second: OperatingPoint) -> pd.DataFrame:
    split = work.test(shown.dataset, SEQUENCES.get(shown.dataset))
    num_steps = int(split.inputs.shape[1])
    positions = switch_positions(num_steps, POSITIONS if num_steps <= 200 else LONG_POSITIONS)
    with progress(f"{shown.name}: switching", len(positions) * len(split.targets)) as advance:
        table = switch_curve(
            work.model(shown),
            split,
            first,
            second,
            positions,
            window=shown.window or 1,
            advance=advance,
            **work.options,
        )
    own = table[table["metric"] == metric_of(shown.dataset)].drop(columns="metric")
    return own.assign(num_steps=num_steps, sequences=len(split.targets)).reset_index(drop=True)
