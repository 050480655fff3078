"""All operating points of a data set in one table, and the choices that are made on them, always on val."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from skipw.evaluation.curves import NAMES
from skipw.evaluation.front import gain_of, operating_points, read_grids
from skipw.evaluation.pareto import hypervolume
from skipw.reproduction.experiments import Experiment

__all__ = [
    "LEVELS",
    "REFERENCE_THRESHOLD",
    "advantage",
    "best_within",
    "budget_curve",
    "label_of",
    "metric_of",
    "own_points",
    "pick",
    "pick_names",
    "pick_several",
    "pick_thresholds",
    "plain_skipw",
    "points_of",
    "where_trained",
]

#: Shares of the inputs at which models are compared.
LEVELS = (0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
REFERENCE_THRESHOLD = 0.5
COLUMNS = [
    "dataset", "data_source", "experiment", "model", "variant", "window", "cost_per_input", "time_feature", "select",
    "seed", "budget", "threshold", "metric", "value_val", "inputs_val", "value", "inputs", "max_in_window",
]  # fmt: skip


def metric_of(dataset: str) -> str:
    """What the paper plots: half the squared error on the Adding Task, elsewhere accuracy."""
    return "paper_mse" if dataset == "adding" else "accuracy"


def points_of(experiments: Sequence[Experiment]) -> pd.DataFrame:
    """Every operating point of these experiments of one data set.

    Returns:
        COLUMNS; ``value`` and ``inputs`` (a share) on test, ``value_val`` and ``inputs_val`` on val. ``variant`` says
        in which settings a model is not the paper's, empty where it is. K = 0 is left out.
    Raises:
        DataFormatError: if a grid is damaged or the data sources are mixed.
    """
    if not experiments:
        return pd.DataFrame(columns=COLUMNS)
    facts = {one.name: one for one in experiments}
    dataset = experiments[0].dataset
    metric = metric_of(dataset)
    grid = read_grids([one.place.grid for one in experiments])
    points = operating_points(grid, metric)
    points = points[(points["budget"] != 0).fillna(True)]
    names = points["experiment"].astype(str)
    skipw = points["model"] == "skipw"
    return pd.DataFrame({
        "dataset": dataset,
        "data_source": str(grid["data_source"].iloc[0]),
        "experiment": names,
        "model": points["model"],
        "variant": names.map(lambda name: facts[name].variant),
        "window": names.map(lambda name: facts[name].window).astype("Int64"),
        "cost_per_input": names.map(lambda name: facts[name].cost_per_input),
        "time_feature": names.map(lambda name: facts[name].architecture.get("time_feature")).where(skipw),
        "select": names.map(lambda name: facts[name].architecture.get("select")).where(skipw),
        "seed": names.map(lambda name: facts[name].seed),
        "budget": points["budget"],
        "threshold": points["threshold"],
        "metric": metric,
        "value_val": points["value_val"],
        "inputs_val": points["inputs_processed_val"],
        "value": points["value_test"],
        "inputs": points["inputs_processed_test"],
        "max_in_window": points["max_inputs_in_window_test"],
    })[COLUMNS].reset_index(drop=True)  # fmt: skip


def budget_curve(points: pd.DataFrame, experiment: str) -> pd.DataFrame:
    """SkipW over K at the threshold nearest to that of its training, by ascending K."""
    own = points[points["experiment"] == experiment]
    if own.empty:
        return own
    nearest = min(own["threshold"].unique(), key=lambda threshold: abs(threshold - REFERENCE_THRESHOLD))
    return own[own["threshold"] == nearest].sort_values("budget")


def own_points(points: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
    """The points by which one model is told: SkipW over K and ThrRNN at the threshold of its training, others all."""
    if experiment.model == "skipw":
        return budget_curve(points, experiment.name)
    own = points[points["experiment"] == experiment.name]
    if experiment.model == "thrrnn":
        own = own[(own["threshold"] - REFERENCE_THRESHOLD).abs() < 1e-9]
    return own


def best_within(points: pd.DataFrame, cost: float) -> pd.Series | None:
    """The point with the best value on val of those that process at most this share there; None if there is none.

    A point that processes nothing counts nowhere. Equal points: the cheaper one.
    """
    own = points[(points["inputs_val"] > 0) & (points["inputs_val"] <= cost + 1e-9)]
    if own.empty:
        return None
    gains = gain_of(own["value_val"], str(own["metric"].iloc[0]))
    return own.assign(gain=gains).sort_values(["gain", "inputs_val"], ascending=[False, True]).iloc[0]


def advantage(points: pd.DataFrame, other: pd.DataFrame, levels: Sequence[float] = LEVELS) -> pd.DataFrame:
    """One kind of model against another at equal cost, each with its best point on val within the cost.

    Args:
        points, other: of ``points_of``, of the two kinds.
        levels: largest shares of the inputs; those at which one of them has no point are left out.
    Returns:
        columns level, value, inputs, other_value, other_inputs, gain (how much better the first is: accuracy as a
        share, or other_value / value for errors).
    """
    rows = []
    for level in levels:
        one, two = best_within(points, level), best_within(other, level)
        if one is None or two is None:
            continue
        gain = (
            one["value"] - two["value"]
            if one["metric"] == "accuracy"
            else two["value"] / max(one["value"], 1e-12)
        )
        rows.append((level, one["value"], one["inputs"], two["value"], two["inputs"], gain))
    columns = ["level", "value", "inputs", "other_value", "other_inputs", "gain"]
    return pd.DataFrame(rows, columns=columns)


def _area(points: pd.DataFrame) -> float:
    """What share of the plane from cost 0 to 1 and from a useless to a perfect model the points dominate on val.

    Errors count by their logarithm, from 0.1 down to 1e-6, so that a model that solves the task is told from one that
    nearly does.
    """
    values = points["value_val"].to_numpy(dtype=float)
    if str(points["metric"].iloc[0]) != "accuracy":
        values = -np.log10(np.clip(values, 1e-6, 0.1) / 0.1) / 5
    return hypervolume(points["inputs_val"].to_numpy(dtype=float), values, (1.0, 0.0), (0.0, 1.0))


def where_trained(points: pd.DataFrame, experiments: Sequence[Experiment]) -> pd.DataFrame:
    """Each model's point at the budget and threshold of its training."""
    trained = points["experiment"].map({one.name: one.trained_budget for one in experiments})
    return points[(points["budget"] == trained) & ((points["threshold"] - 0.5).abs() < 1e-9)]


def pick(points: pd.DataFrame, experiments: Sequence[Experiment]) -> Experiment | None:
    """The experiment whose curve over K dominates most on val; None of none. Equal ones: the first by name."""
    best = pick_several(points, experiments, 1)
    return best[0] if best else None


def pick_several(points: pd.DataFrame, experiments: Sequence[Experiment], at_most: int) -> list[Experiment]:
    """The experiments whose curves over K together dominate most on val, found one after the other.

    Args:
        points: of ``points_of``.
        experiments: SkipW models to choose from.
        at_most: how many; fewer where another one would add less than a thousandth.
    """
    named = {one.name: one for one in experiments}
    return [named[name] for name in pick_names(points, list(named), at_most)]


def pick_thresholds(
    points: pd.DataFrame, experiments: Sequence[Experiment], at_most: int
) -> list[Experiment]:
    """``pick_several`` for ThrRNN: by all points of a model, its curve over thr."""
    named = {one.name: one for one in experiments}
    curves = {name: points[points["experiment"] == name] for name in sorted(named)}
    return [named[name] for name in _cover(curves, at_most)]


def pick_names(points: pd.DataFrame, names: Sequence[str], at_most: int = 1) -> list[str]:
    """``pick_several`` by name."""
    return _cover({name: budget_curve(points, name) for name in sorted(names)}, at_most)


def _cover(curves: dict[str, pd.DataFrame], at_most: int) -> list[str]:
    """The curves that together dominate most on val, found one after the other."""
    chosen: list[str] = []
    covered = 0.0
    curves = {name: curve for name, curve in curves.items() if len(curve)}
    while len(chosen) < min(at_most, len(curves)):
        areas = {
            name: _area(pd.concat([curves[name], *(curves[other] for other in chosen)]))
            for name in curves
            if name not in chosen
        }
        best = max(areas, key=lambda name: areas[name])
        if chosen and areas[best] < covered + 1e-3:
            break
        covered = areas[best]
        chosen.append(best)
    return chosen


def plain_skipw(points: pd.DataFrame) -> pd.DataFrame:
    """The points of the paper's own SkipW models; of all SkipW models where there is none."""
    skipw = points[points["model"] == "skipw"]
    plain = skipw[skipw["variant"] == ""]
    return plain if len(plain) else skipw


def label_of(experiment: Experiment, *, short: bool = False) -> str:
    """A name for legends: kind, L, λ, and, unless it must be short, what is not the paper's."""
    parts = [NAMES[experiment.model]]
    if experiment.window is not None:
        parts.append(f"L = {experiment.window}")
    if experiment.model in ("skipw", "thrrnn", "skiprnn"):
        parts.append(f"λ = {experiment.cost_per_input:.3g}")
    if steered := experiment.settings.get("target_inputs"):
        parts[-1] = f"λ steered to {100 * steered:.3g} %"
    if experiment.variant and not short:
        parts.append(experiment.variant)
    return ", ".join(parts)
