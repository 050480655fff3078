"""Sequential MNIST beside the literature (paper, appendix E, Table 2)."""

from __future__ import annotations

import pandas as pd

from skipw.reproduction.experiments import Experiment
from skipw.reproduction.paper import stated
from skipw.reproduction.points import REFERENCE_THRESHOLD, best_within, budget_curve, label_of
from skipw.reproduction.work import Findings, Work

__all__ = ["run"]

BUDGETS = (28, 11, 10, 9, 8, 7, 3, 2)


def run(work: Work, out: Findings) -> None:
    """The paper's rows, each with our best at no more inputs; and our own models, row by row."""
    if "mnist" not in work.datasets:
        out.missing("mnist: no evaluated model")
        return
    points = work.points("mnist")
    names = {one.name: one for one in work.experiments("mnist")}
    rows = []
    for stated_row in stated("table2"):
        row = {"model": stated_row["name"], "source": stated_row["source"], "accuracy": stated_row["value"],
               "inputs": stated_row["inputs"]}  # fmt: skip
        best = best_within(points[points["model"] == "skipw"], stated_row["inputs"] / 100)
        if best is not None:
            row |= {
                "our_accuracy": 100 * best["value"],
                "our_inputs": 100 * best["inputs"],
                "our_point": _point_text(best),
                "difference": 100 * best["value"] - stated_row["value"],
            }
        rows.append(row)
    out.table(
        "beside-the-paper", pd.DataFrame(rows),
        "The rows of Table 2 (%), and our best SkipW point, chosen on val, that processes no more inputs there.",
    )  # fmt: skip
    own = [row for one in names.values() for row in _rows(points, one)]
    out.table("ours", pd.DataFrame(own), "Our models in the form of Table 2 (%), on test.")
    for kind in ("skipw", "skiprnn", "thrrnn", "dense", "random"):
        if not work.experiments("mnist", kind):
            out.missing(f"mnist: {kind}")


def _point_text(point: pd.Series) -> str:
    variant = f", {point['variant']}" if point["variant"] else ""
    return f"K = {point['budget']}, thr = {point['threshold']:g}, λ = {point['cost_per_input']:.3g}{variant}"


def _rows(points: pd.DataFrame, one: Experiment) -> list[dict[str, object]]:
    own = points[points["experiment"] == one.name]
    if one.model == "skipw":
        own = budget_curve(points, one.name)
        own = own[own["budget"].isin([*BUDGETS, one.window])].sort_values("budget", ascending=False)
    elif one.model == "thrrnn":
        own = own[(own["threshold"] - REFERENCE_THRESHOLD).abs() < 1e-9]
    elif one.model in ("random", "periodic"):
        own = own.iloc[(own["inputs"] - 0.5).abs().argsort()[:1]]
    return [
        {
            "model": label_of(one),
            "budget": point["budget"],
            "accuracy": 100 * point["value"],
            "inputs": 100 * point["inputs"],
            "val_accuracy": 100 * point["value_val"],
            "experiment": one.name,
        }
        for _, point in own.iterrows()
    ]
