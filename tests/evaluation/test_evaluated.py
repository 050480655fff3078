"""Which experiments there are, where their files lie, and what trials are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skipw.errors import DataFormatError
from skipw.evaluation.evaluated import describe_settings, evaluated, trial_number


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("har-skipw", "har-random"):
        touch(tmp_path / "models" / "har" / name / "model.json")
    for name in ("har-skipw", "har-random", "har-periodic"):
        touch(tmp_path / "evaluation" / "har" / name / "grid.csv")
    touch(tmp_path / "evaluation" / "har" / "har-skipw" / "shares.csv")
    return tmp_path


def test_without_a_study_there_are_the_experiments(data: Path) -> None:
    found = {one.experiment: one for one in evaluated("har", data)}
    assert list(found) == ["har-periodic", "har-random", "har-skipw"]
    skipw = found["har-skipw"]
    assert skipw.model_folder == data / "models" / "har" / "har-skipw"
    assert skipw.grid == data / "evaluation" / "har" / "har-skipw" / "grid.csv"
    assert [path.name for path in skipw.tables] == ["grid.csv", "shares.csv"]
    assert found["har-periodic"].model_folder == data / "models" / "har" / "har-random"
    assert [one.experiment for one in found.values() if not one.owns_model] == ["har-periodic"]
    assert evaluated("mnist", data) == []


def test_a_trial_has_everything_in_one_folder(data: Path) -> None:
    trials = data / "studies" / "har" / "trials"
    touch(data / "studies" / "har" / "study.json")
    for name in ("grid.csv", "history.csv", "model.json"):
        touch(trials / "har-trial-007" / name)
    touch(trials / "har-trial-008" / "model.json")  # not evaluated
    *named, trial = evaluated("har", data)
    assert len(named) == 3
    assert trial.experiment == "har-trial-007"
    assert trial.model_folder == trial.grid_folder == trials / "har-trial-007"
    assert [path.name for path in trial.tables] == ["grid.csv"]
    assert trial.owns_model


def test_a_trial_and_an_experiment_of_one_name_are_refused(data: Path) -> None:
    touch(data / "evaluation" / "har" / "har-trial-007" / "grid.csv")
    touch(data / "studies" / "har" / "trials" / "har-trial-007" / "grid.csv")
    with pytest.raises(DataFormatError, match="har-trial-007 is the name of an experiment"):
        evaluated("har", data)


@pytest.mark.parametrize(
    ("experiment", "number"),
    [
        ("har-trial-007", 7),
        ("mnist-trial-1234", 1234),
        ("har-skipw", None),
        ("har-trial-best", None),
        ("", None),
    ],
)
def test_trials_are_known_by_their_name(experiment: str, number: int | None) -> None:
    assert trial_number(experiment) == number


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "SkipW GRU 64, L 8, λ 1e-3"),
        ({"num_layers": 2, "cost_per_input": 0.000123}, "SkipW 2 × GRU 64, L 8, λ 1.2e-4"),
        ({"model": "thrrnn", "cell": "lstm", "window": None, "select": None}, "ThrRNN LSTM 64, λ 1e-3"),
        ({"cost_per_input": 0.0, "select": "first"}, "SkipW GRU 64, L 8, λ 0, first"),
        ({"cost_per_input": 0.25}, "SkipW GRU 64, L 8, λ 0.25"),
    ],
)
def test_settings_are_short(changes: dict[str, Any], text: str) -> None:
    facts = {"model": "skipw", "cell": "gru", "num_layers": 1, "hidden_size": 64, "window": 8}
    assert describe_settings(facts | {"cost_per_input": 1e-3, "select": "topk"} | changes) == text
