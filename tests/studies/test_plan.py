"""What a study is: its name changes with all that makes trials comparable, and with nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skipw.errors import DataFormatError, ParamsError
from skipw.studies.plan import error_of, make_plan
from tests.studies.conftest import Lab


@pytest.mark.parametrize(
    "changes",
    [
        {"space": "paper"},
        {"models": ("skipw",)},
        {"epochs": 4.0},
        {"seed": 1},
        {"validations": 5},
        {"val_limit": 20},
        {"warm_start": False},
        {"stop_early": False},
        {"from_recipe": False},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_search_has_another_name(changes: dict[str, Any], lab: Lab) -> None:
    assert lab.plan(**changes).study_name != lab.plan().study_name


@pytest.mark.parametrize(
    "changes",
    [{"trials": 50}, {"workers": 7}, {"sampler": "nsga2"}, {"test_limit": 5}],
    ids=lambda changes: next(iter(changes)),
)
def test_more_of_the_same_keeps_its_name(changes: dict[str, Any], lab: Lab) -> None:
    assert lab.plan(**changes).study_name == lab.plan().study_name
    assert lab.plan(**changes).facts() == lab.plan().facts()


def test_data_recipe_and_thresholds_change_the_name(lab: Lab) -> None:
    names = [lab.plan().study_name, lab.plan("adding").study_name]
    text = lab.path.read_text()
    lab.path.write_text(text.replace("gate_bias: 2.0", "gate_bias: 1.5"))
    names.append(lab.plan().study_name)
    lab.path.write_text(text.replace("skipw: [0.4, 0.5]", "skipw: [0.5]"))
    names.append(lab.plan().study_name)
    lab.path.write_text(text)
    meta = lab.data / "prepared" / "har" / "meta.json"
    content = json.loads(meta.read_text())
    for key, value in (("data_source", "official"), ("preprocessing", {"cut": 3})):
        meta.write_text(json.dumps({**content, key: value}))
        names.append(lab.plan().study_name)
    assert len(set(names)) == len(names)
    meta.write_text(json.dumps(content))
    assert all(name.startswith(("skipw-har-", "skipw-adding-")) for name in names)


def test_what_a_plan_sets_itself_is_not_the_recipe_s(lab: Lab) -> None:
    before = lab.plan("adding")
    lab.path.write_text(lab.path.read_text().replace("steps: 20, val_every: 10", "steps: 99, val_every: 9"))
    assert lab.plan("adding").study_name == before.study_name
    settings = before.settings({"model": "skipw", "window": 4}, "adding-trial-000")
    assert settings.steps == round(3.0 * 96 / settings.batch_size) or settings.steps == 3
    assert settings.cell == "gru"  # of the space; what is not given keeps its default


def test_epochs_are_passes_over_the_data_whatever_the_batch(lab: Lab) -> None:
    plan = lab.plan(epochs=10.0)
    steps = {
        batch: plan.settings({"model": "thrrnn", "batch_size": batch}, "x").steps for batch in (32, 64, 4096)
    }
    assert steps == {32: 60, 64: 30, 4096: 10}
    lab.path.write_text(lab.path.read_text().replace("gate_bias: 2.0", "gate_bias: 2.0, train_limit: 64"))
    limited = lab.plan(epochs=10.0)
    assert limited.settings({"model": "thrrnn", "batch_size": 32}, "x").steps == 20


def test_the_name_does_not_depend_on_where_things_lie(lab: Lab, tmp_path: Path) -> None:
    elsewhere = tmp_path / "other"
    lab.data.rename(elsewhere)
    moved = make_plan("har", lab.params, lab.search(), elsewhere)
    elsewhere.rename(lab.data)
    assert moved.study_name == lab.plan().study_name


def test_bad_input_is_a_clear_error(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="expected a data set of .*adding.*, got 'cifar'"):
        lab.plan("cifar")
    with pytest.raises(ParamsError, match="at least 1 of trials, got 0"):
        lab.plan(trials=0)
    with pytest.raises(ParamsError, match="at least 1 of workers, got -1"):
        lab.plan(workers=-1)
    with pytest.raises(ParamsError, match="epochs must be more than 0"):
        lab.plan(epochs=0.0)
    with pytest.raises(ParamsError, match="epochs must be"):
        lab.plan(epochs=float("nan"))
    with pytest.raises(ParamsError, match="at least one model"):
        lab.plan(models=())
    with pytest.raises(DataFormatError, match="mnist"):
        lab.plan("mnist")
    with pytest.raises(DataFormatError, match="prepare"):
        make_plan("har", lab.params, lab.search(), tmp_path / "nothing")


def test_errors_are_minimised() -> None:
    assert error_of(0.9, "accuracy") == pytest.approx(0.1)
    assert error_of(0.9, "mse") == 0.9
