"""A study is found again by its name, and never taken for another one."""

from __future__ import annotations

import json
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from skipw.studies.errors import StudyError
from skipw.studies.storage import open_storage
from skipw.studies.study import find_study, offer_recipe, recipe_points, studies_of
from tests.studies.conftest import Lab


def test_the_same_study_is_found_again(lab: Lab) -> None:
    plan = lab.plan()
    study = lab.study(plan)
    again = lab.study(lab.plan(trials=99, workers=2, sampler="random"))
    assert again.study_name == study.study_name == plan.study_name
    assert again._study_id == study._study_id
    assert again.user_attrs["facts"] == json.loads(json.dumps(plan.facts()))
    assert again.user_attrs["constant"] == plan.constant
    assert again.metric_names == ["error", "inputs_processed"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"space": "paper"},
            r"another space \(.*window\), other search settings \(space\), another recipe \(learning_rate\)",
        ),
        ({"models": ("skipw",)}, r"another space \(model\), other search settings \(models\)"),
        ({"epochs": 9.0}, r"other search settings \(epochs\)"),
        ({"seed": 4, "val_limit": 7}, r"other search settings \(seed, val_limit\)"),
    ],
)
def test_a_name_that_belongs_to_another_search_says_what_differs(
    changes: dict[str, Any], said: str, lab: Lab
) -> None:
    lab.study(lab.plan(), "mine")
    with pytest.raises(StudyError, match=f"the study mine was made for {said}; leave --study out"):
        lab.study(lab.plan(**changes), "mine")
    assert lab.study(lab.plan(), "mine").study_name == "mine"


def test_a_name_that_belongs_to_other_data_says_what_differs(lab: Lab) -> None:
    lab.study(lab.plan(), "mine")
    with pytest.raises(StudyError, match=r"another data set \(har, not adding\)"):
        lab.study(lab.plan("adding"), "mine")
    text = lab.path.read_text()
    lab.path.write_text(text.replace("gate_bias: 2.0", "gate_bias: 1.0"))
    with pytest.raises(StudyError, match=r"made for another recipe \(gate_bias\);"):
        lab.study(lab.plan(), "mine")
    lab.path.write_text(text.replace("thrrnn: [0.5, 0.75]", "thrrnn: [0.5]"))
    with pytest.raises(StudyError, match=r"made for other thresholds \(thrrnn\);"):
        lab.study(lab.plan(), "mine")
    lab.path.write_text(text)
    meta = lab.data / "prepared" / "har" / "meta.json"
    content = json.loads(meta.read_text())
    meta.write_text(json.dumps({**content, "data_source": "official"}))
    with pytest.raises(
        StudyError, match=r"another data source \(generated, not official\), data that were prep"
    ):
        lab.study(lab.plan(), "mine")


@pytest.mark.parametrize("directions", [["minimize"], ["minimize", "maximize"], ["minimize"] * 3])
def test_somebody_else_s_study_is_left_alone(directions: list[str], lab: Lab) -> None:
    storage = open_storage(str(lab.journal))
    foreign = optuna.create_study(storage=storage, study_name="mine", directions=directions)
    with pytest.raises(StudyError, match="the study mine was not made by skipw; choose another name"):
        lab.study(lab.plan(), "mine")
    assert foreign.user_attrs == {} and not foreign.trials


def test_somebody_else_s_study_with_trials_is_left_alone(lab: Lab) -> None:
    storage = open_storage(str(lab.journal))
    foreign = optuna.create_study(storage=storage, study_name="mine", directions=["minimize", "minimize"])
    foreign.enqueue_trial({"x": 1})
    with pytest.raises(StudyError, match="was not made by skipw"):
        lab.study(lab.plan(), "mine")


def test_a_study_whose_making_was_killed_is_made_complete(lab: Lab) -> None:
    plan = lab.plan()
    storage = open_storage(str(lab.journal))
    optuna.create_study(storage=storage, study_name=plan.study_name, directions=["minimize", "minimize"])
    study = lab.study(plan)
    assert study.user_attrs["facts"]["dataset"] == "har"


def test_the_studies_of_a_data_set_the_newest_last(lab: Lab) -> None:
    storage = open_storage(str(lab.journal))
    with pytest.raises(StudyError, match="holds no study of har; `skipw search har` starts one"):
        find_study(storage, "har")
    first, second = lab.study(lab.plan()), lab.study(lab.plan(seed=1))
    lab.study(lab.plan("adding")).ask()
    optuna.create_study(storage=storage, study_name="foreign")
    second.ask()
    first.ask()
    assert studies_of(storage, "har") == [second.study_name, first.study_name]
    assert find_study(storage, "har").study_name == first.study_name
    second.ask()
    assert find_study(storage, "har").study_name == second.study_name
    assert find_study(storage, "har", first.study_name).study_name == first.study_name
    assert studies_of(storage, "mnist") == []


def test_a_study_that_is_not_there_says_which_are(lab: Lab) -> None:
    storage = open_storage(str(lab.journal))
    lab.study(lab.plan(), "one")
    lab.study(lab.plan("adding"), "two")
    with pytest.raises(StudyError, match="holds no study three; those of har: one"):
        find_study(storage, "har", "three")
    with pytest.raises(StudyError, match="the study two is not one of har"):
        find_study(storage, "har", "two")
    with pytest.raises(StudyError, match="those of mnist: none"):
        find_study(storage, "mnist", "three")


def test_the_first_trials_are_the_recipe_s_one_for_each_model(lab: Lab) -> None:
    plan = lab.plan()
    points = recipe_points(plan)
    assert [point["model"] for point in points] == ["skipw", "thrrnn"]  # SkipRNN is trained as ThrRNN is
    assert points[0]["window"] == 4 and points[0]["hidden_size"] == 32 and points[0]["learning_rate"] == 5e-3
    assert not any(point["warm_start"] for point in points)
    study = lab.study(plan)
    for number in range(3):
        offer_recipe(study, plan)
        offer_recipe(study, plan)
        waiting = study.get_trials(states=(TrialState.WAITING,))
        assert len(waiting) == (number < 2)
        study.ask()
    fixed = [trial.system_attrs.get("fixed_params") for trial in study.trials]
    assert fixed == [*points, None]


def test_without_the_recipe_nothing_is_queued(lab: Lab) -> None:
    plan = lab.plan(from_recipe=False)
    study = lab.study(plan)
    offer_recipe(study, plan)
    assert recipe_points(plan) == [] and not study.trials
    both = lab.plan(models=("skiprnn",), warm_start=False)
    assert [set(point) >= {"model", "cell"} for point in recipe_points(both)] == [True]
    assert "warm_start" not in recipe_points(both)[0] and "window" not in recipe_points(both)[0]
