"""Which model of many budgets is compared with those of one cost."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from skipw.evaluation.evaluated import Evaluated
from skipw.reproduction.anytime import _ablations, _nearest
from skipw.reproduction.experiments import Experiment


def experiment(name: str, **settings: object) -> Experiment:
    architecture = {"model": "skipw", "window": 2, "time_feature": "steps", "select": "topk"}
    place = Evaluated(name, Path("model"), Path("grid"))
    return Experiment(name, "har", "skipw", place, {"architecture": architecture, "settings": settings})


def points(**curves: list[tuple[float, float, float]]) -> pd.DataFrame:
    """Accuracy on val, on test and the share of the inputs, at K = 1 and 2."""
    rows = [
        {
            "experiment": name, "budget": budget, "threshold": 0.5, "metric": "accuracy",
            "value_val": val, "value": test, "inputs_val": inputs, "inputs": inputs,
        }
        for name, curve in curves.items()
        for budget, (val, test, inputs) in enumerate(curve, start=1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


ONE = [(0.5, 0.5, 0.2), (0.90, 0.90, 0.4)]  # trained at K = 2


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        # Of two K that can be compared one is met by the first, both by the second, whose curve dominates less.
        ([(0.89, 0.99, 0.41), (0.99, 0.99, 0.42)], [(0.90, 0.1, 0.5), (0.91, 0.1, 0.6)], "second"),
        # K = 1 of the first has no counterpart at its cost and does not count.
        ([(0.1, 0.1, 0.1), (0.92, 0.9, 0.5)], [(0.89, 0.9, 0.45), (0.95, 0.9, 0.6)], "first"),
        # Equal shares: the one that dominates more.
        ([(0.90, 0.9, 0.5), (0.91, 0.9, 0.6)], [(0.95, 0.9, 0.5), (0.96, 0.9, 0.6)], "second"),
    ],
)
def test_the_model_that_is_no_worse_at_most_of_its_budgets_on_val(
    first: list[tuple[float, float, float]], second: list[tuple[float, float, float]], wanted: str
) -> None:
    many = [experiment(name, random_budget=1.0) for name in ("first", "second")]
    chosen = _nearest(points(one=ONE, first=first, second=second), many, [experiment("one")])
    assert chosen is not None and chosen.name == wanted
    assert all(each.many_budgets for each in many)


def test_links_of_a_chain_are_no_ablation_of_one_another() -> None:
    """Trainings that differ in one setting started from the same model, or differ in their cells."""
    tried = [
        experiment("a", random_budget=1.0, init_from="start"),
        experiment("b", random_budget=0.5, init_from="start"),
        experiment("c", random_budget=0.4, init_from="a"),
        experiment("d", random_budget=1.0, init_from="start-fastgrnn", cell="fastgrnn"),
    ]
    table = points(**{one.name: ONE for one in tried})
    work = SimpleNamespace(datasets=["har"], experiments=lambda *_: tried, points=lambda _: table)
    found: list[pd.DataFrame] = []
    out = SimpleNamespace(table=lambda name, table, caption: found.append(table), missing=pytest.fail)
    _ablations(work, out)  # type: ignore[arg-type]
    pairs = found[0][["setting", "a_experiment", "b_experiment"]].drop_duplicates()
    assert pairs.to_numpy().tolist() == [["random_budget", "a", "b"], ["cell", "a", "d"]]
