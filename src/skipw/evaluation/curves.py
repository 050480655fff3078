"""Group the rows of the grids into the curves that every figure of a front shows, each with its look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from skipw.evaluation.front import operating_points

__all__ = ["COLOURS", "Curve", "curves_of", "describe_point", "random_band"]

#: Okabe and Ito's palette, told apart by all kinds of colour vision; the next tint where a model has more
#: experiments.
COLOURS = {
    "skipw": ("#0072B2", "#56B4E9", "#003F66", "#8AA8C4"),
    "thrrnn": ("#D55E00", "#E69F00"),
    "skiprnn": ("#009E73", "#6CC5A1"),
    "dense": ("#000000", "#555555"),
    "random": ("#8C8C8C", "#B5B5B5"),
    "periodic": ("#CC79A7", "#E0B1CC"),
}
NAMES = {
    "skipw": "SkipW",
    "thrrnn": "ThrRNN",
    "skiprnn": "SkipRNN",
    "dense": "Dense",
    "random": "Random subsampling",
    "periodic": "Periodic subsampling",
}
REFERENCE_THRESHOLD = 0.5


@dataclass(frozen=True)
class Curve:
    """The operating points that one line joins.

    Attributes:
        experiment, model, name: of the model; the name is for people.
        threshold: of all its points, for SkipW; None for the others.
        points: of ``operating_points``, in the order of the line.
        colour: of its experiment.
        main: False for SkipW at a threshold other than the one it was trained with: drawn faintly.
    """

    experiment: str
    model: str
    name: str
    threshold: float | None
    points: pd.DataFrame
    colour: str
    main: bool


def curves_of(grid: pd.DataFrame, metric: str) -> list[Curve]:
    """All curves of a data set, in the order of ``COLOURS``, then by experiment.

    SkipW has one curve a threshold, over the budgets from 1 up; the threshold nearest to 0.5 is its main one.
    ThrRNN has one over the thresholds; random and periodic one over the rates; SkipRNN and dense are single
    points.
    """
    points = operating_points(grid, metric)
    facts = grid.groupby("experiment")[["cost_per_input", "window"]].first()
    curves: list[Curve] = []
    for model, colours in COLOURS.items():
        names = list(dict.fromkeys(points.loc[points["model"] == model, "experiment"]))
        for place, experiment in enumerate(sorted(names, key=len)):
            own = points[points["experiment"] == experiment]
            name = _name(model, facts.loc[experiment])
            colour = colours[place % len(colours)]
            curves += _curves(experiment, model, name, colour, own)
    return _told_apart(curves)


def _curves(experiment: str, model: str, name: str, colour: str, points: pd.DataFrame) -> Iterator[Curve]:
    if model != "skipw":
        order = "threshold" if model == "thrrnn" else "inputs_processed_test"
        yield Curve(experiment, model, name, None, points.sort_values(order), colour, True)
        return
    points = points[points["budget"] > 0]
    thresholds = sorted(points["threshold"].unique(), key=lambda t: abs(t - REFERENCE_THRESHOLD))
    for place, threshold in enumerate(thresholds):
        own = points[points["threshold"] == threshold].sort_values("budget")
        yield Curve(experiment, model, name, float(threshold), own, colour, place == 0)


def _name(model: str, facts: pd.Series) -> str:
    if model in ("dense", "random", "periodic"):
        return NAMES[model]
    window = "" if pd.isna(facts["window"]) else f", L = {int(facts['window'])}"
    return f"{NAMES[model]}, λ = {facts['cost_per_input']:.3g}{window}"


def _told_apart(curves: list[Curve]) -> list[Curve]:
    """Names with the experiment added where two experiments would be called the same."""
    owners: dict[str, set[str]] = {}
    for curve in curves:
        owners.setdefault(curve.name, set()).add(curve.experiment)
    return [
        Curve(**{**vars(curve), "name": f"{curve.name} ({curve.experiment})"})
        if len(owners[curve.name]) > 1
        else curve
        for curve in curves
    ]


def describe_point(point: pd.Series) -> str:
    """An operating point for people, such as ``K = 3, thr = 0.5``."""
    parts = []
    if not pd.isna(point["budget"]):
        parts.append(f"K = {point['budget']}")
    if not pd.isna(point["threshold"]):
        parts.append(f"thr = {point['threshold']:g}")
    return ", ".join(parts) if parts else f"{100 * point['inputs_processed']:.3g} % of the inputs"


def random_band(repeats: pd.DataFrame, metric: str, split: str) -> pd.DataFrame:
    """Mean and three standard deviations of random subsampling over its repetitions (figures 3 and 4).

    Args:
        repeats: the content of repeats.csv.
        metric: "accuracy" or "mse".
        split: "val" or "test".
    Returns:
        columns rate, inputs_processed, value, low, high; by ascending rate.
    """
    own = repeats[(repeats["metric"] == metric) & (repeats["split"] == split)]
    groups = own.groupby("rate", as_index=False)
    band = groups.agg(inputs_processed=("inputs_processed", "mean"), value=("value", "mean"))
    deviation = own.groupby("rate")["value"].std(ddof=1).fillna(0.0).to_numpy()
    return band.assign(low=band["value"] - 3 * deviation, high=band["value"] + 3 * deviation)
