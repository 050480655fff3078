"""The index t among the gate's inputs (appendix D.4.1) and the threshold (D.4.2), taken away."""

from __future__ import annotations

from itertools import combinations

import pandas as pd

from skipw.evaluation.figures.axes import on_axis
from skipw.reproduction.drawing import colour_of, label_axes, legend_below, panels
from skipw.reproduction.experiments import Experiment, differences
from skipw.reproduction.patterns import by_position
from skipw.reproduction.points import REFERENCE_THRESHOLD, budget_curve, label_of, metric_of, pick
from skipw.reproduction.runs import run_budgets, summary
from skipw.reproduction.work import Findings, Work

__all__ = ["run"]

SEQUENCES = {"mnist": 500, "imdb": 3000}
FREE = {"time_feature", "time_scale", "cost_per_input", "init_from", "cost_schedule"}


def run(work: Work, out: Findings) -> None:
    """A row for each time feature that was trained; every K with the threshold and without it."""
    _time_features(work, out)
    _thresholds(work, out)


def _time_features(work: Work, out: Findings) -> None:
    rows = []
    for dataset in work.datasets:
        found = work.experiments(dataset, "skipw")
        compared = {
            one.name: one
            for pair in combinations(found, 2)
            if pair[0].architecture["time_feature"] != pair[1].architecture["time_feature"]
            and set(differences(*pair)) <= FREE
            for one in pair
        }
        if not compared:
            out.missing(f"{dataset}: SkipW without t or with another time feature (D.4.1)")
        rows += [_time_row(work, one) for one in compared.values()]
    table = pd.DataFrame(rows)
    if len(table):
        table = table.sort_values(["dataset", "window", "time_feature", "cost_per_input"])
    out.table(
        "time-features", table,
        "What the gate sees besides the state: models that differ in that (and λ) alone; test values at K = L, "
        "thr = 0.5. second_window: inputs processed in the second window, where the Adding Task has no marker.",
    )  # fmt: skip


def _time_row(work: Work, one: Experiment) -> dict[str, object]:
    end = budget_curve(work.points(one.dataset), one.name).iloc[-1]
    table = work.table(one, "patterns")
    strip = None if table is None else by_position(table, one.window, REFERENCE_THRESHOLD)
    window = one.window or 1
    return {
        "dataset": one.dataset,
        "experiment": one.name,
        "window": window,
        "time_feature": one.architecture["time_feature"],
        "time_scale": one.architecture["time_scale"],
        "cost_per_input": one.cost_per_input,
        "value": end["value"],
        "inputs": end["inputs"],
        "second_window": None if strip is None else float(strip[window : 2 * window].sum()),
    }


def _thresholds(work: Work, out: Findings) -> None:
    tables = []
    for dataset in work.datasets:
        skipw = work.experiments(dataset, "skipw")
        plain = [one for one in skipw if one.plain] or skipw
        for window in sorted({one.window for one in plain if one.window}):
            shown = pick(work.points(dataset), [one for one in plain if one.window == window])
            if shown is None:
                continue
            runs = run_budgets(work, shown, [0.0, REFERENCE_THRESHOLD], limit=SEQUENCES.get(dataset))
            own = summary(shown, runs).assign(dataset=dataset, name=label_of(shown, short=True))
            spans = [(k * window, (k + 1) * window) for k in (0, 1)]
            shares = {key: one.seen.by_position() for key, one in runs.items()}
            for place, (start, stop) in enumerate(spans):
                own[f"window_{place + 1}"] = [
                    float(shares[int(k), float(thr)][start:stop].sum())
                    for k, thr in zip(own["budget"], own["threshold"], strict=True)
                ]
            tables.append(own)
    if not tables:
        out.missing("SkipW at thr = 0 (D.4.2): no SkipW model")
        return
    table = pd.concat(tables, ignore_index=True)
    out.table(
        "thresholds", table,
        "The same weights at thr = 0.5 and at thr = 0. window_1, window_2: inputs processed in the first two windows.",
    )  # fmt: skip
    figure, axes = panels(len(tables), width=4.4, height=3.4)
    for panel, own in zip(axes, tables, strict=True):
        dataset = str(own["dataset"].iloc[0])
        metric = metric_of(dataset)
        for threshold, style, colour in ((0.5, "-", colour_of("skipw")), (0.0, "--", "#D55E00")):
            part = own[own["threshold"] == threshold].sort_values("budget")
            panel.plot(
                100 * part["inputs"], on_axis(part["value"], metric), style, color=colour, marker="o", markersize=4,
                linewidth=1.4, label=f"thr = {threshold:g}, over K",
            )  # fmt: skip
        label_axes(panel, metric, f"{work.title(dataset)}: {own['name'].iloc[0]}")
    legend_below(figure, axes)
    out.figure(
        "thresholds",
        figure,
        "The same weights with the threshold and without it, for every K (ablation D.4.2), on test.",
    )
