"""Experiments are told apart by what they say of themselves, and chosen on val."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from skipw.reproduction.experiments import differences, find_experiments, same_but_for
from skipw.reproduction.points import LEVELS, advantage, best_within, pick, pick_thresholds
from skipw.reproduction.seeds import groups_of
from skipw.reproduction.work import Work


def test_plain_models_and_models_beyond_the_paper(finished: Path) -> None:
    found = {one.name: one for one in find_experiments("adding", finished)}
    plain = {name for name, one in found.items() if one.plain}
    assert plain == set(found) - {"adding-blind", "adding-many"}
    assert found["adding-many"].variant == "random budgets 0.5"
    assert found["adding-blind"].variant == "time feature none"
    assert found["adding-periodic"].model == "periodic"


def test_a_setting_that_nobody_knows_yet_is_beyond_the_paper(data: Path) -> None:
    path = data / "models" / "adding" / "adding-one" / "model.json"
    description = json.loads(path.read_text())
    description["settings"] |= {"distillation": 0.5, "unused_option": None, "sandwich": False}
    path.write_text(json.dumps(description))
    found = {one.name: one for one in find_experiments("adding", data)}
    assert found["adding-one"].beyond == {"distillation": 0.5}


def test_a_mean_of_the_weights_is_the_papers_method_and_fastgrnn_is_not(data: Path) -> None:
    path = data / "models" / "adding" / "adding-one" / "model.json"
    description = json.loads(path.read_text())
    description["settings"] |= {"average": 0.99}
    path.write_text(json.dumps(description))
    found = {one.name: one for one in find_experiments("adding", data)}
    assert found["adding-one"].plain
    description["architecture"]["cell"] = "fastgrnn"
    path.write_text(json.dumps(description))
    found = {one.name: one for one in find_experiments("adding", data)}
    assert found["adding-one"].variant == "FastGRNN cells"


def test_one_setting_apart(finished: Path) -> None:
    found = {one.name.removeprefix("adding-"): one for one in find_experiments("adding", finished)}
    assert same_but_for(found["one"], found["two"], "cost_per_input")
    assert set(differences(found["one"], found["many"])) == {"random_budget"}
    assert [{one.name for one in group} for group in groups_of(list(found.values()))] == [
        {"adding-one", "adding-one-again"}
    ]


def points(
    rows: list[tuple[str, str, int, float, float, float, float]], metric: str = "accuracy"
) -> pd.DataFrame:
    names = ["experiment", "model", "budget", "value_val", "inputs_val", "value", "inputs"]
    table = pd.DataFrame(rows, columns=names)
    return table.assign(metric=metric, threshold=0.5, variant="", window=4)


def test_the_best_within_a_cost_is_chosen_on_val() -> None:
    table = points([
        ("a", "skipw", 1, 0.80, 0.10, 0.70, 0.11),
        ("a", "skipw", 2, 0.79, 0.09, 0.95, 0.09),
        ("a", "skipw", 3, 0.90, 0.30, 0.90, 0.30),
        ("a", "skipw", 4, 0.99, 0.00, 0.99, 0.00),
    ])  # fmt: skip
    best = best_within(table, 0.1)
    assert best is not None and best["value"] == 0.70
    assert best_within(table, 0.05) is None


def test_advantage_needs_both_models_at_a_cost() -> None:
    ours = points([("a", "skipw", 1, 1e-3, 0.4, 1e-3, 0.4)], "paper_mse")
    theirs = points([("b", "skiprnn", 1, 2e-3, 0.2, 2e-3, 0.2)], "paper_mse")
    table = advantage(ours, theirs)
    assert table["level"].tolist() == [level for level in LEVELS if level >= 0.4]
    assert table["gain"].tolist() == pytest.approx([2.0] * len(table))


def test_the_shown_model_dominates_on_val(work: Work) -> None:
    found = [one for one in work.experiments("har", "skipw") if one.plain]
    table = work.points("har").copy()
    better = table["experiment"] == "har-two"
    table.loc[better, "value_val"] = 0.99
    chosen = pick(table, found)
    assert chosen is not None and chosen.name == "har-two"


def test_thrrnn_curves_that_add_nothing_are_not_shown(work: Work) -> None:
    (one,) = work.experiments("har", "thrrnn")[:1]
    models = [replace(one, name=name) for name in ("cheap", "accurate", "worse")]
    table = points([
        ("accurate", "thrrnn", 0, 0.95, 0.5, 0.95, 0.5),
        ("cheap", "thrrnn", 0, 0.80, 0.1, 0.80, 0.1),
        ("worse", "thrrnn", 0, 0.80, 0.5, 0.80, 0.5),
    ])  # fmt: skip
    assert [one.name for one in pick_thresholds(table, models, 4)] == ["cheap", "accurate"]
    assert [one.name for one in pick_thresholds(table, models, 1)] == ["cheap"]
