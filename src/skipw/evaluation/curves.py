"""Group the rows of the grids into the curves that every figure of a front shows, each with its look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pandas as pd

from skipw.evaluation.evaluated import describe_settings, trial_number
from skipw.evaluation.front import operating_points

__all__ = ["COLOURS", "NAMES", "Curve", "curves_of", "describe_point", "random_band", "search_group"]

#: Okabe and Ito's palette, told apart by all kinds of colour vision; the next tint where a model has more
#: experiments.
COLOURS = {
    "skipw": ("#0072B2", "#56B4E9", "#003F66", "#8AA8C4"),
    "thrrnn": ("#D55E00", "#E69F00", "#8F3F00", "#F4C57A"),
    "skiprnn": ("#009E73", "#6CC5A1"),
    "dense": ("#000000", "#555555"),
    "random": ("#8C8C8C", "#B5B5B5"),
    "periodic": ("#CC79A7", "#E0B1CC"),
}
#: Trials of a search stay behind the named experiments.
PALE = {"skipw": "#A9CBE8", "thrrnn": "#F4C8A4", "skiprnn": "#A5DBCB"}
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
        group: what the legend calls this curve together with others, ``search: SkipW``; None for a named
            experiment, which stands in the legend itself.
        threshold: of all its points, for SkipW; None for the others.
        points: of ``operating_points``, in the order of the line.
        colour: of its experiment.
        main: False for SkipW at a threshold other than the one it was trained with: drawn faintly.
    """

    experiment: str
    model: str
    name: str
    group: str | None
    threshold: float | None
    points: pd.DataFrame
    colour: str
    main: bool


def curves_of(grid: pd.DataFrame, metric: str) -> list[Curve]:
    """All curves of a data set, in the order of ``COLOURS``, then by experiment; trials of a search come last.

    SkipW has one curve a threshold, over the budgets from 1 up; the threshold nearest to 0.5 is its main one.
    ThrRNN has one over the thresholds; random and periodic one over the rates; SkipRNN and dense are single
    points.
    """
    points = operating_points(grid, metric)
    facts = {str(row["experiment"]): row for _, row in grid.drop_duplicates("experiment").iterrows()}
    named: list[Curve] = []
    tried: list[Curve] = []
    for model, colours in COLOURS.items():
        present = points[points["model"] == model]
        experiments = {str(name): own for name, own in present.groupby("experiment", sort=False)}
        trials, others = _trials_apart(experiments)
        for place, experiment in enumerate(sorted(others, key=len)):
            name, colour = _name(model, facts[experiment]), colours[place % len(colours)]
            named += _curves(experiment, model, (name, None), colour, experiments[experiment])
        for experiment, number in trials.items():
            name = f"trial {number} ({describe_settings(facts[experiment])})"
            colour, group = PALE.get(model, "#B5B5B5"), search_group(model)
            tried += _curves(experiment, model, (name, group), colour, experiments[experiment])
    return _told_apart(named) + tried


def search_group(model: str) -> str:
    """What the trials of a search are called together, by their kind of model."""
    return f"search: {NAMES[model]}"


def _trials_apart(experiments: Iterable[str]) -> tuple[dict[str, int], list[str]]:
    """The trials by number, and the experiments that are none."""
    numbers = {name: trial_number(name) for name in experiments}
    trials = {name: number for name, number in numbers.items() if number is not None}
    return dict(sorted(trials.items(), key=lambda trial: trial[1])), [n for n in numbers if n not in trials]


def _curves(
    experiment: str, model: str, names: tuple[str, str | None], colour: str, points: pd.DataFrame
) -> Iterator[Curve]:
    if model != "skipw":
        order = "threshold" if model == "thrrnn" else "inputs_processed_test"
        yield Curve(experiment, model, *names, None, points.sort_values(order), colour, True)
        return
    points = points[points["budget"] > 0]
    thresholds = sorted(points["threshold"].unique(), key=lambda t: abs(t - REFERENCE_THRESHOLD))
    for place, threshold in enumerate(thresholds):
        own = points[points["threshold"] == threshold].sort_values("budget")
        yield Curve(experiment, model, *names, float(threshold), own, colour, place == 0)


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
