"""One model for the whole front: trained at many budgets, against models trained for one cost each."""

from __future__ import annotations

from itertools import combinations

import pandas as pd

from skipw.evaluation.figures.axes import on_axis
from skipw.evaluation.front import gain_of
from skipw.reproduction.drawing import ANYTIME, colour_of, label_axes, legend_below, panels
from skipw.reproduction.experiments import Experiment, differences
from skipw.reproduction.points import best_within, budget_curve, label_of, metric_of, pick, where_trained
from skipw.reproduction.work import Findings, Work

__all__ = ["run"]


def run(work: Work, out: Findings) -> None:
    """At every K: that model, the best of one cost with no more inputs, and the best of those with K lowered."""
    tables = []
    for dataset in work.datasets:
        skipw = work.experiments(dataset, "skipw")
        many = [one for one in skipw if one.many_budgets]
        single = [one for one in skipw if not one.many_budgets]
        if not many:
            out.missing(f"{dataset}: SkipW trained at many budgets")
            continue
        if not single:
            out.missing(f"{dataset}: SkipW trained for one cost each, to compare with")
        shown = _nearest(work.points(dataset), many, single)
        if shown is None:
            continue
        tables.append((shown, _against(work, shown, single)))
    if tables:
        everything = [table.assign(dataset=one.dataset, experiment=one.name) for one, table in tables]
        out.table(
            "at-every-budget", pd.concat(everything, ignore_index=True),
            "The model of many budgets that comes nearest to the goal on val (at the largest share of its K no worse "
            "than a model of one cost), at every K; `one_cost`: the best model trained without them that processes no "
            "more at the K it was trained for (L, unless its settings say another), chosen on val; `reduced`: the best "
            "such model at any K.",
        )  # fmt: skip
        _draw(work, tables, out)
    _ablations(work, out)


def _nearest(points: pd.DataFrame, many: list[Experiment], single: list[Experiment]) -> Experiment | None:
    """The model that at the largest share of its K is no worse on val than a model of one cost with no more inputs.

    Of equal ones that whose curve over K dominates most on val.
    """
    whole = where_trained(points, single)

    def share(one: Experiment) -> float:
        met = []
        for _, point in budget_curve(points, one.name).iterrows():
            best = best_within(whole, float(point["inputs_val"]))
            if best is not None:
                own, other = (gain_of(each["value_val"], str(each["metric"])) for each in (point, best))
                met.append(own >= other)
        return sum(met) / len(met) if met else 0.0

    shares = {one.name: share(one) for one in many}
    return pick(points, [one for one in many if shares[one.name] == max(shares.values())])


def _against(work: Work, shown: Experiment, single: list[Experiment]) -> pd.DataFrame:
    points = work.points(shown.dataset)
    own = points[points["experiment"].isin([one.name for one in single])]
    whole = where_trained(points, single)
    rows = []
    for _, point in budget_curve(points, shown.name).iterrows():
        row = {
            "window": shown.window,
            "budget": point["budget"],
            "value": point["value"],
            "inputs": point["inputs"],
        }
        for column, others in (("one_cost", whole), ("reduced", own)):
            best = best_within(others, float(point["inputs_val"]))
            row |= {
                f"{column}_value": None if best is None else best["value"],
                f"{column}_inputs": None if best is None else best["inputs"],
                f"{column}_experiment": None if best is None else best["experiment"],
            }
        rows.append(row)
    return pd.DataFrame(rows)


def _draw(work: Work, tables: list[tuple[Experiment, pd.DataFrame]], out: Findings) -> None:
    figure, axes = panels(len(tables), width=4.6, height=3.4)
    for panel, (shown, table) in zip(axes, tables, strict=True):
        points, metric = work.points(shown.dataset), metric_of(shown.dataset)
        panel.plot(
            100 * table["inputs"], on_axis(table["value"], metric), color=ANYTIME, marker="*", markersize=6,
            linewidth=1.4, label="one model, many budgets, over K", zorder=4,
        )  # fmt: skip
        skipw = work.experiments(shown.dataset, "skipw")
        ends = where_trained(points, [one for one in skipw if not one.many_budgets])
        if len(ends):
            panel.plot(
                100 * ends["inputs"], on_axis(ends["value"], metric), linestyle="", color=colour_of("skipw", 1),
                marker="v", markersize=5, label="models of one cost, where they were trained", zorder=3,
            )  # fmt: skip
        plain = [one for one in skipw if one.plain]
        best = pick(points, plain)
        if best is not None:
            curve = budget_curve(points, best.name)
            panel.plot(
                100 * curve["inputs"], on_axis(curve["value"], metric), "-", color=colour_of("skipw"), marker="^",
                markersize=4, linewidth=1.2, label="the best of the paper's kind, over K", zorder=3,
            )  # fmt: skip
        label_axes(panel, metric, f"{work.title(shown.dataset)}: {label_of(shown, short=True)}")
    legend_below(figure, axes)
    out.figure(
        "anytime",
        figure,
        "One model trained at many budgets against models trained for one cost each, on test.",
    )


def _ablations(work: Work, out: Findings) -> None:
    """Pairs of SkipW models of which one goes beyond the paper and that differ in one setting alone.

    They were started from the same model, too; from models of the same kind where they differ in their cells.
    """
    rows = []
    for dataset in work.datasets:
        points = work.points(dataset)
        for one, other in combinations(work.experiments(dataset, "skipw"), 2):
            fields = set(differences(one, other)) - {"random_budget_from"}
            if len(fields) != 1 or not (one.beyond or other.beyond) or fields == {"seed"}:
                continue
            field = fields.pop()
            if field != "cell" and one.settings.get("init_from") != other.settings.get("init_from"):
                continue
            values = differences(one, other)[field]
            rows += _pair_rows(points, (one, other), field, values)
    if not rows:
        out.missing("pairs of models that differ in one setting beyond the paper's")
    table = pd.DataFrame(rows)
    out.table(
        "ablations", table,
        "Pairs of trainings that differ in one setting alone, on test, at K = L, L / 2, L / 4 and 1.",
    )  # fmt: skip


def _pair_rows(
    points: pd.DataFrame, pair: tuple[Experiment, Experiment], field: str, values: tuple[object, object]
) -> list[dict[str, object]]:
    window = pair[0].window or 1
    curves = [budget_curve(points, one.name).set_index("budget") for one in pair]
    rows: list[dict[str, object]] = []
    for budget in sorted({1, max(1, window // 4), max(1, window // 2), window}):
        if not all(budget in curve.index for curve in curves):
            continue
        row: dict[str, object] = {
            "dataset": pair[0].dataset,
            "setting": field,
            "window": window,
            "budget": budget,
        }
        for which, one, value, curve in zip("ab", pair, values, curves, strict=True):
            row |= {
                f"{which}": str(value),
                f"{which}_experiment": one.name,
                f"{which}_value": curve.loc[budget, "value"],
                f"{which}_inputs": curve.loc[budget, "inputs"],
            }
        rows.append(row)
    return rows
