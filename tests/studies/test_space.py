"""The search spaces: what varies, between which values, and that a training can be made of each point."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from skipw.checked import build
from skipw.errors import ParamsError
from skipw.params import DATASETS, TrainSettings
from skipw.studies.plan import Plan
from skipw.studies.space import Space, nearest, space_json, space_of, suggest
from tests.studies.conftest import Lab

ALL = ("skipw", "thrrnn", "skiprnn")

#: Appendix A: "The following parameters were included in the search".
APPENDIX_A: dict[str, set[Any]] = {
    "batch_size": {4096, 512},
    "cost_per_input": {1e-4, 1e-3, 1e-2},
    "cell": {"lstm", "gru"},
    "hidden_size": {30, 40, 50, 60},
    "window": {4, 8, 16},
    "model": {"skipw", "thrrnn"},
}


def draws(space: Space, number: int, seed: int = 0) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [suggest(study.ask(), space) for _ in range(number)]


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_paper_s_space_is_that_of_its_appendix_a(dataset: str) -> None:
    space = space_of("paper", dataset, ALL, classification=dataset != "adding")
    choices = {name: set(d.choices) for name, d in space.items() if isinstance(d, CategoricalDistribution)}
    assert choices == APPENDIX_A
    assert set(space) == set(APPENDIX_A)


def test_the_paper_s_space_serves_the_models_that_are_asked_for() -> None:
    space = space_of("paper", "har", ["thrrnn", "skiprnn"], classification=True)
    assert space["model"].choices == ("thrrnn",)  # type: ignore[attr-defined]
    with pytest.raises(ParamsError, match="skipw and thrrnn, got the models skiprnn"):
        space_of("paper", "har", ["skiprnn"], classification=True)


def test_an_unknown_space_is_refused() -> None:
    with pytest.raises(ParamsError, match="wide or paper, got 'broad'"):
        space_of("broad", "har", ALL, classification=True)


@pytest.mark.parametrize("name", ["wide", "paper"])
def test_only_skipw_has_a_window(name: str) -> None:
    space = space_of(name, "har", ALL, classification=True)
    drawn = draws(space, 60)
    assert {point["model"] for point in drawn} == set(space["model"].choices)  # type: ignore[attr-defined]
    for point in drawn:
        assert ("window" in point) == (point["model"] == "skipw")
    assert len({point["window"] for point in drawn if "window" in point}) > 2


@pytest.mark.parametrize("dataset", DATASETS)
def test_wide_regularises_classification_alone(dataset: str) -> None:
    classification = dataset != "adding"
    space = space_of("wide", dataset, ALL, classification=classification)
    assert ("weight_decay" in space) == ("dropout" in space) == classification
    low, high = space["cost_per_input"].low, space["cost_per_input"].high  # type: ignore[attr-defined]
    assert 0 < low < high


@pytest.mark.parametrize("name", ["wide", "paper"])
@pytest.mark.parametrize("dataset", DATASETS)
def test_every_point_makes_a_training(name: str, dataset: str, lab: Lab) -> None:
    plan = lab.plan(space=name)
    space = space_of(name, dataset, ALL, classification=dataset != "adding")
    other = dataclasses.replace(plan, dataset=dataset, space=space)
    for number, point in enumerate(draws(space, 40)):
        settings = other.settings(point, other.experiment(number), "donor")
        assert {key: getattr(settings, key) for key in point} == point
        assert settings.experiment == f"{dataset}-trial-{number:03d}" and settings.init_from == "donor"
        assert settings.steps // settings.val_every >= plan.search.validations
        assert build(TrainSettings, dataclasses.asdict(settings), "again") == settings


@pytest.mark.parametrize("name", ["wide", "paper"])
@pytest.mark.parametrize("model", ["skipw", "thrrnn"])
def test_the_nearest_point_lies_in_the_space(name: str, model: str) -> None:
    space = space_of(name, "har", ALL, classification=True)
    for wanted in (
        {},
        {"hidden_size": 1, "cost_per_input": 0.0, "window": 0, "cell": "rnn", "batch_size": 1},
        {"hidden_size": 10**6, "cost_per_input": 1e3, "window": 999, "cell": 7, "batch_size": 10**6},
        {"hidden_size": 60, "cost_per_input": 3e-3, "window": 9, "cell": "gru", "batch_size": 100},
    ):
        point = nearest(space, model, wanted)
        assert point["model"] == model
        assert set(point) == set(space) - ({"window"} if model != "skipw" else set())
        for key, value in point.items():
            distribution = space[key]
            assert distribution._contains(distribution.to_internal_repr(value)), (key, value)


def test_nearest_takes_what_is_wanted_or_what_is_next_to_it() -> None:
    space: Space = {
        "model": CategoricalDistribution(["skipw", "thrrnn"]),
        "cell": CategoricalDistribution(["lstm", "gru"]),
        "batch_size": CategoricalDistribution([4096, 512]),
        "hidden_size": IntDistribution(32, 128, step=32),
        "num_layers": IntDistribution(1, 2),
        "cost_per_input": FloatDistribution(1e-4, 1e-2, log=True),
        "dropout": FloatDistribution(0.0, 0.5, step=0.1),
    }
    point = nearest(space, "thrrnn", {"cell": "gru", "batch_size": 256, "hidden_size": 60, "dropout": 0.27})
    assert point["cell"] == "gru" and point["batch_size"] == 512 and point["hidden_size"] == 64
    assert math.isclose(point["cost_per_input"], 1e-3)  # the middle of the logarithm
    assert math.isclose(point["dropout"], 0.3)
    assert isinstance(point["hidden_size"], int) and isinstance(point["num_layers"], int)


def test_a_space_as_plain_values_tells_spaces_apart() -> None:
    wide = space_json(space_of("wide", "har", ALL, classification=True))
    assert wide == space_json(space_of("wide", "har", ALL, classification=True))
    others = [
        space_of("wide", "mnist", ALL, classification=True),
        space_of("wide", "har", ALL[:2], classification=True),
        space_of("wide", "har", ALL, classification=False),
        space_of("paper", "har", ALL, classification=True),
    ]
    assert all(space_json(other) != wide for other in others)


def test_a_plan_s_space_is_that_of_its_search(lab: Lab) -> None:
    plan: Plan = lab.plan("adding", models=("thrrnn", "skipw"))
    assert plan.models == ("thrrnn", "skipw")
    assert "weight_decay" not in plan.space
    assert lab.plan("har", space="paper", models=ALL).models == ("skipw", "thrrnn")
