"""Mean and spread over trainings that differ in their seed only."""

from __future__ import annotations

import textwrap

import pandas as pd

from skipw.evaluation.figures.axes import on_axis
from skipw.reproduction.drawing import colour_of, label_axes, legend_below, panels
from skipw.reproduction.experiments import Experiment, differences
from skipw.reproduction.points import REFERENCE_THRESHOLD, budget_curve, label_of, metric_of
from skipw.reproduction.work import Findings, Work

__all__ = ["groups_of", "run"]


def groups_of(experiments: list[Experiment]) -> list[list[Experiment]]:
    """Experiments with the same settings but for the seed, two or more together."""
    groups: list[list[Experiment]] = []
    for one in experiments:
        for group in groups:
            if one.model == group[0].model and set(differences(one, group[0])) <= {"seed"}:
                if one.seed not in {other.seed for other in group}:
                    group.append(one)
                break
        else:
            groups.append([one])
    return [group for group in groups if len(group) > 1]


def run(work: Work, out: Findings) -> None:
    """A row for each operating point of each group; a curve with its spread for SkipW."""
    tables: dict[str, list[tuple[str, str, pd.DataFrame]]] = {}
    for dataset in work.datasets:
        found = groups_of(work.experiments(dataset, "skipw", "thrrnn", "skiprnn", "dense"))
        if not found:
            out.missing(f"{dataset}: several seeds")
        for group in found:
            tables.setdefault(dataset, []).append((group[0].model, label_of(group[0]), _spread(work, group)))
    if not tables:
        return
    rows = [table.assign(name=name) for parts in tables.values() for _, name, table in parts]
    out.table(
        "seeds", pd.concat(rows, ignore_index=True), "Mean, standard deviation and range over seeds, on test."
    )
    figure, axes = panels(len(tables), width=4.6, height=3.4)
    for panel, (dataset, parts) in zip(axes, tables.items(), strict=True):
        metric = metric_of(dataset)
        for place, (model, name, table) in enumerate(parts):
            spread = on_axis(table[["value_min", "value_max"]].to_numpy().T, metric)
            middle = on_axis(table["value_mean"].to_numpy(), metric)
            label = textwrap.fill(f"{name}, {table['seeds'].iloc[0]} seeds", 62, subsequent_indent="   ")
            panel.errorbar(
                100 * table["inputs_mean"], middle, yerr=abs(spread - middle), xerr=100 * table["inputs_std"],
                color=colour_of(model, place), linewidth=1.2, marker="o", markersize=3.5, capsize=2,
                linestyle="-" if len(table) > 1 else "none", label=label,
            )  # fmt: skip
        label_axes(panel, metric, work.title(dataset))
    legend_below(figure, axes, columns=2)
    out.figure(
        "seeds",
        figure,
        "Mean over seeds on test; vertical bars: range, horizontal: standard deviation of the inputs.",
    )


def _spread(work: Work, group: list[Experiment]) -> pd.DataFrame:
    points = work.points(group[0].dataset)
    parts = []
    for one in group:
        own = (
            budget_curve(points, one.name)
            if one.model == "skipw"
            else points[points["experiment"] == one.name]
        )
        if one.model == "thrrnn":
            own = own[(own["threshold"] - REFERENCE_THRESHOLD).abs() < 1e-9]
        parts.append(own)
    everything = pd.concat(parts)
    everything["budget"] = everything["budget"].fillna(-1)
    table = everything.groupby("budget", as_index=False).agg(
        seeds=("seed", "nunique"), value_mean=("value", "mean"), value_std=("value", "std"), value_min=("value", "min"),
        value_max=("value", "max"), inputs_mean=("inputs", "mean"), inputs_std=("inputs", "std"),
    )  # fmt: skip
    table["budget"] = table["budget"].where(table["budget"] >= 0)
    return table.assign(
        dataset=group[0].dataset, model=group[0].model, experiments="; ".join(o.name for o in group)
    )
