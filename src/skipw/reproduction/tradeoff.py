"""Accuracy against inputs processed, per data set (paper, figures 3 to 6, 12, 19 and 31)."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd

from skipw.evaluation.curves import random_band
from skipw.evaluation.figures.axes import on_axis
from skipw.reproduction.drawing import (
    ANYTIME,
    Axes,
    colour_of,
    label_axes,
    legend_below,
    panels,
)
from skipw.reproduction.experiments import Experiment
from skipw.reproduction.limits import enlarge, limit_values
from skipw.reproduction.paper import perfect_policy, stated_points
from skipw.reproduction.points import (
    LEVELS,
    best_within,
    budget_curve,
    label_of,
    metric_of,
    pick,
    pick_several,
    pick_thresholds,
    plain_skipw,
    where_trained,
)
from skipw.reproduction.runs import run_first
from skipw.reproduction.work import Findings, Work

__all__ = ["run"]

PLACES = {"adding": "Fig. 4", "har": "Figs. 3 and 31", "mnist": "Figs. 5 and 19", "imdb": "Fig. 6"}
STATED_MARKS = {"skipw": "^", "skiprnn": "D"}
BASELINES = ("thrrnn", "skiprnn", "random", "periodic")


def run(work: Work, out: Findings) -> None:
    """One figure over K and one over thr a data set; every point, and all kinds of models at equal cost."""
    for dataset in work.datasets:
        points = work.points(dataset)
        out.table(f"{dataset}-points", points, f"{work.title(dataset)}: every operating point.")
        sampled = _first_inputs(work, dataset, out)
        out.table(
            f"{dataset}-first-inputs", sampled, "The first K inputs of every window, model of random masks."
        )
        out.table(
            f"{dataset}-levels", _levels(work, dataset),
            f"{work.title(dataset)}: each kind's best point on val that processes at most the level; test values.",
        )  # fmt: skip
        _draw_budgets(work, dataset, sampled, out)
        _draw_thresholds(work, dataset, out)


def _plain_skipw(work: Work, dataset: str) -> list[Experiment]:
    """The paper's own SkipW models; all SkipW models where there is none."""
    found = work.experiments(dataset, "skipw")
    return [one for one in found if one.plain] or found


def _levels(work: Work, dataset: str) -> pd.DataFrame:
    """A row a level: value and inputs of each kind of model, of SkipW the paper's own and all."""
    points = work.points(dataset)
    skipw = points[points["model"] == "skipw"]
    kinds = {"skipw": plain_skipw(points)}
    if skipw["variant"].nunique() > 1:
        kinds["skipw_any"] = skipw
    kinds |= {model: points[points["model"] == model] for model in (*BASELINES, "dense")}
    rows = []
    for level in LEVELS:
        row: dict[str, object] = {"dataset": dataset, "level": level}
        for name, own in kinds.items():
            best = best_within(own, level)
            row |= {
                f"{name}_value": None if best is None else best["value"],
                f"{name}_inputs": None if best is None else best["inputs"],
            }
        rows.append(row)
    return pd.DataFrame(rows).dropna(axis=1, how="all")


def _first_inputs(work: Work, dataset: str, out: Findings) -> pd.DataFrame:
    """The set locations of figure 31, by the model trained with random masks, in the windows of the SkipW models."""
    masked = work.experiments(dataset, "random")
    windows = sorted({one.window for one in work.experiments(dataset, "skipw") if one.window})
    if not masked or not windows:
        out.missing(f"{dataset}: the first K inputs of each window (no model trained with random masks)")
        return pd.DataFrame()
    return pd.concat([run_first(work, masked[0], window) for window in windows], ignore_index=True)


def _draw_budgets(work: Work, dataset: str, sampled: pd.DataFrame, out: Findings) -> None:
    metric = metric_of(dataset)
    figure, (whole, near) = panels(2, columns=2, width=5.0, height=5.0)
    for axes in (whole, near):
        _draw_baselines(axes, work, dataset, out)
        _draw_skipw(axes, work, dataset, out)
        for place, (window, own) in enumerate(sampled.groupby("window") if len(sampled) else ()):
            axes.plot(
                100 * own["inputs"], on_axis(own["value"], metric), ":", marker="|", linewidth=1.0,
                color=("#7A5C00", "#B08D2E", "#D9C27A")[place % 3], markersize=6, zorder=2,
                label=f"First K of each window of {window}",
            )  # fmt: skip
        _draw_stated(axes, dataset)
        label_axes(axes, metric)
        axes.set_xlim(-1, 102)
        limit_values(axes, work, dataset)
        if dataset == "adding":
            _draw_envelope(axes, work)
    enlarge(near, work, dataset)
    whole.set_title(f"{work.title(dataset)} ({work.meta(dataset)['data_source']})", fontsize=10, loc="left")
    near.set_title("the better points, enlarged", fontsize=10, loc="left")
    legend_below(figure, [whole, near], columns=3)
    caption = (
        f"{work.title(dataset)}: {'½ · MSE' if dataset == 'adding' else 'accuracy'} against inputs processed, on test "
        f"(the paper's {PLACES[dataset]}). Along a SkipW line K runs from 1 to L at thr = 0.5; the dashed line "
        "joins SkipW models of several λ at K = L. Plus signs: models beyond the paper, at the K of their training. "
        "Hollow triangles and diamonds: what the paper states in numbers."
    )
    out.figure(dataset, figure, caption)


def _draw_baselines(axes: Axes, work: Work, dataset: str, out: Findings) -> None:
    points, metric = work.points(dataset), metric_of(dataset)
    masked = work.experiments(dataset, "random")
    repeats = work.table(masked[0], "repeats") if masked else None
    if repeats is not None:
        band = random_band(repeats, metric, "test")
        low = np.maximum(band["low"], 1e-6) if metric != "accuracy" else band["low"]
        cost = 100 * band["inputs_processed"]
        axes.plot(
            cost,
            on_axis(band["value"], metric),
            color="#8C8C8C",
            linewidth=1.2,
            label="Random: mean",
            zorder=1,
        )
        axes.fill_between(
            cost, on_axis(low, metric), on_axis(band["high"], metric), color="#8C8C8C", alpha=0.3, linewidth=0,
            label="Random: ± 3 standard deviations",
        )  # fmt: skip
    for model, style in (("periodic", ":"), ("thrrnn", "--")):
        found = work.experiments(dataset, model)
        for place, one in enumerate(_thrrnns(work, dataset) if model == "thrrnn" else found):
            own = points[points["experiment"] == one.name].sort_values("inputs")
            axes.plot(
                100 * own["inputs"], on_axis(own["value"], metric), style, marker="x" if model == "periodic" else "o",
                color=colour_of(model, place), linewidth=1.2, markersize=4, zorder=3,
                label=f"{label_of(one)}, over thr" if model == "thrrnn" else label_of(one),
            )  # fmt: skip
    _draw_skiprnn(axes, points, metric)
    if points[points["model"] == "skiprnn"].empty:
        out.missing(f"{dataset}: SkipRNN, over λ")
    own = points[points["model"] == "dense"].sort_values("inputs")
    if own.empty:
        out.missing(f"{dataset}: Dense")
    else:
        axes.plot(
            100 * own["inputs"], on_axis(own["value"], metric), "none", marker="s", color=colour_of("dense"),
            markersize=5, label="Dense", zorder=3,
        )  # fmt: skip


def _draw_skiprnn(axes: Axes, points: pd.DataFrame, metric: str) -> None:
    """The paper's models over λ with one seed as a line, all others as points."""
    own = points[points["model"] == "skiprnn"].sort_values("inputs")
    if own.empty:
        return
    plain = (own["variant"] == "") & (own["seed"] == own["seed"].min())
    line, others = own[plain], own[~plain]
    if len(line):
        axes.plot(
            100 * line["inputs"], on_axis(line["value"], metric), ":", marker="D", color=colour_of("skiprnn"),
            linewidth=1.2, markersize=5, label="SkipRNN, over λ", zorder=3,
        )  # fmt: skip
    if len(others):
        axes.plot(
            100 * others["inputs"], on_axis(others["value"], metric), linestyle="none", marker="D",
            color=colour_of("skiprnn"), markerfacecolor="white", markersize=5, zorder=3,
            label="SkipRNN, other seeds or beyond the paper",
        )  # fmt: skip


def _thrrnns(work: Work, dataset: str) -> list[Experiment]:
    """At most four ThrRNN models whose curves over thr together are the best."""
    return pick_thresholds(work.points(dataset), work.experiments(dataset, "thrrnn"), 4)


def _draw_skipw(axes: Axes, work: Work, dataset: str, out: Findings) -> None:
    points, metric = work.points(dataset), metric_of(dataset)
    plain = _plain_skipw(work, dataset)
    if not plain:
        out.missing(f"{dataset}: SkipW")
        return
    whole = pd.DataFrame([budget_curve(points, one.name).iloc[-1] for one in plain]).sort_values("inputs")
    if len(whole) > 1:
        axes.plot(
            100 * whole["inputs"], on_axis(whole["value"], metric), "--", color="#56B4E9", linewidth=1.2,
            marker="v", markersize=5, markerfacecolor="white", label="SkipW at K = L, over λ", zorder=4,
        )  # fmt: skip
    shown = []
    for window in sorted({one.window for one in plain if one.window}):
        shown += pick_several(points, [one for one in plain if one.window == window], 2)
    for place, one in enumerate(shown[:5]):
        own = budget_curve(points, one.name)
        axes.plot(
            100 * own["inputs"], on_axis(own["value"], metric), "-", marker="^^sPX"[place],
            color=("#0072B2", "#003F66", "#8AA8C4", "#4B3F9E", "#2CA6A4")[place], linewidth=1.5, markersize=5,
            label=_wrapped(f"{label_of(one)}, over K"), zorder=5,
        )  # fmt: skip
    beyond = [one for one in work.experiments(dataset, "skipw") if one.beyond]
    own = where_trained(points, [one for one in beyond if not one.many_budgets])
    if len(own):
        axes.plot(
            100 * own["inputs"], on_axis(own["value"], metric), linestyle="none", marker="P", color=ANYTIME,
            markerfacecolor="white", markersize=6, label="SkipW beyond the paper, where it was trained", zorder=6,
        )  # fmt: skip
    anytime = pick(points, [one for one in beyond if one.many_budgets])
    if anytime is not None and anytime not in shown:
        own = budget_curve(points, anytime.name)
        axes.plot(
            100 * own["inputs"], on_axis(own["value"], metric), "-", marker="*", color=ANYTIME, linewidth=1.5,
            markersize=7, label=f"SkipW of many budgets, L = {anytime.window}, over K", zorder=5,
        )  # fmt: skip


def _draw_envelope(axes: Axes, work: Work) -> None:
    windows = [one.window for one in _plain_skipw(work, "adding") if one.window]
    best = (
        perfect_policy(max(set(windows), key=windows.count), int(work.meta("adding")["num_steps"]))
        if windows
        else None
    )
    if best is None or best.empty:
        return
    low = axes.get_ylim()[0]
    axes.plot(
        100 * best["inputs"], best["half_mse"].clip(lower=1e-12), color="black", linewidth=1.0,
        label=f"Perfect policy, L = {len(best)}, over K", zorder=1,
    )  # fmt: skip
    axes.set_ylim(bottom=low)


def _draw_stated(axes: Axes, dataset: str) -> None:
    stated = stated_points(dataset)
    for model, own in stated.groupby("model"):
        axes.scatter(
            100 * own["inputs"], on_axis(own["value"], metric_of(dataset)), s=55, marker=STATED_MARKS[str(model)],
            facecolors="none", edgecolors=colour_of(str(model)), linewidths=1.2, zorder=6,
            label=f"{'SkipW' if model == 'skipw' else 'SkipRNN'} as the paper states",
        )  # fmt: skip


def _wrapped(label: str) -> str:
    """A legend's entry in lines that fit three columns."""
    return textwrap.fill(label, 44, subsequent_indent="   ")


def _draw_thresholds(work: Work, dataset: str, out: Findings) -> None:
    """Figure 12: SkipW at K = L over thr, ThrRNN over thr, SkipRNN over λ."""
    points, metric = work.points(dataset), metric_of(dataset)
    own = points[(points["model"] == "skipw") & (points["budget"] == points["window"])]
    if own["threshold"].nunique() < 2:
        out.missing(f"{dataset}: SkipW at several thresholds")
        return
    figure, (axes,) = panels(1, columns=1, width=6.4, height=4.2)
    plain = _plain_skipw(work, dataset)
    shown = []
    for window in sorted({one.window for one in plain if one.window}):
        shown += pick_several(points, [one for one in plain if one.window == window], 2)
    for place, one in enumerate(shown[:5]):
        curve = own[(own["experiment"] == one.name) & (own["inputs"] > 0)].sort_values("threshold")
        axes.plot(
            100 * curve["inputs"], on_axis(curve["value"], metric), "-", marker="^^sPX"[place], markersize=5,
            color=("#0072B2", "#003F66", "#8AA8C4", "#4B3F9E", "#2CA6A4")[place], linewidth=1.5,
            label=_wrapped(
                f"{label_of(one)}, thr {curve['threshold'].min():g} to {curve['threshold'].max():g}"
            ),
        )  # fmt: skip
    for place, one in enumerate(_thrrnns(work, dataset)):
        curve = points[points["experiment"] == one.name].sort_values("threshold")
        axes.plot(
            100 * curve["inputs"], on_axis(curve["value"], metric), "--", marker="o", color=colour_of("thrrnn", place),
            linewidth=1.2, markersize=4, label=f"{label_of(one)}, thr {curve['threshold'].min():g} to "
            f"{curve['threshold'].max():g}",
        )  # fmt: skip
    _draw_skiprnn(axes, points, metric)
    label_axes(axes, metric, f"{work.title(dataset)} ({work.meta(dataset)['data_source']})")
    axes.set_xlim(left=-1)
    limit_values(axes, work, dataset)
    legend_below(figure, axes, columns=2)
    what = "what the threshold does (the paper's Fig. 12 shows it on HAR), on test; SkipW at K = L."
    caption = f"{work.title(dataset)}: {what}"
    out.figure(f"{dataset}-thresholds", figure, caption)
