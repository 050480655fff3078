"""What a study has found: its front, and its hypervolume after each trial."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from optuna import Study
from optuna.trial import TrialState

from skipw.evaluation.pareto import hypervolume, non_dominated
from skipw.studies.outcome import Outcome, read_outcome
from tests.studies.conftest import Lab


@pytest.fixture
def study(lab: Lab) -> Study:
    return lab.study(lab.plan())


def finish(
    study: Study, points: list[tuple[int | None, float | None, float, float]], model: str = "skipw"
) -> int:
    """A complete trial with operating points (budget, threshold, inputs, accuracy)."""
    trial = study.ask()
    trial.suggest_categorical("model", ["skipw", "thrrnn", "skiprnn"])
    trial.set_user_attr("experiment", f"har-trial-{trial.number:03d}")
    trial.set_user_attr("points", [list(point) for point in points])
    study.tell(trial, [1 - points[-1][3], points[-1][2]])
    return trial.number


def stop(study: Study, reason: str) -> int:
    trial = study.ask()
    trial.set_user_attr("reason", reason)
    study.tell(trial, state=TrialState.PRUNED)
    return trial.number


def test_an_empty_study_has_no_front_and_no_hypervolume(study: Study) -> None:
    outcome = read_outcome(study)
    assert outcome.hypervolume == 0.0 and outcome.hypervolumes == []
    assert len(outcome.front) == len(outcome.points) == len(outcome.trials) == 0
    assert outcome.counts.finished == 0


def test_all_points_of_all_trials_make_the_front(study: Study) -> None:
    finish(study, [(1, 0.5, 0.2, 0.6), (2, 0.5, 0.4, 0.9), (4, 0.5, 0.6, 0.85)])
    finish(study, [(1, 0.5, 0.1, 0.5), (2, 0.5, 0.4, 0.8), (4, 0.5, 0.9, 0.95)])
    outcome = read_outcome(study)
    assert list(outcome.front["inputs_processed"]) == [0.1, 0.2, 0.4, 0.9]
    assert list(outcome.front["trial"]) == [1, 0, 0, 1]
    assert list(outcome.front["value"]) == [0.5, 0.6, 0.9, 0.95]
    assert outcome.front["error"].tolist() == pytest.approx([0.5, 0.4, 0.1, 0.05])


def test_no_input_at_all_and_the_constant_predictor_make_no_front(study: Study, lab: Lab) -> None:
    constant = 1 - lab.plan().constant
    finish(
        study,
        [(0, 0.5, 0.05, 0.99), (1, 0.5, 0.0, 0.99), (2, 0.5, 0.3, constant), (3, 0.5, 0.5, constant + 0.01)],
    )
    outcome = read_outcome(study)
    assert outcome.front["budget"].tolist() == [3]
    assert len(outcome.points) == 4
    assert outcome.hypervolume == pytest.approx(0.5 * 0.01 / lab.plan().constant)


def test_models_without_budget_or_threshold_are_on_the_front_too(study: Study) -> None:
    finish(study, [(None, 0.5, 0.2, 0.7), (None, 0.75, 0.1, 0.6)])
    finish(study, [(None, None, 0.3, 0.8)])
    outcome = read_outcome(study)
    assert len(outcome.front) == 3
    assert outcome.front["budget"].isna().all()


def test_the_hypervolume_is_that_of_all_points_so_far_and_never_falls(study: Study, lab: Lab) -> None:
    rng = np.random.default_rng(3)
    constant, seen, expected = lab.plan().constant, np.zeros((0, 2)), []
    for number in range(25):
        if number % 6 == 5:
            stop(study, "dead gates")
        else:
            inputs, values = rng.uniform(0.05, 1, 4), rng.uniform(0.1, 1, 4)
            points = [(k + 1, 0.5, float(inputs[k]), float(values[k])) for k in range(4)]
            finish(study, points)
            seen = np.concatenate([seen, np.stack([inputs, values - 1], axis=1)])
        kept = seen[non_dominated(seen[:, 0], seen[:, 1])]
        expected.append(hypervolume(kept[:, 0], kept[:, 1], (1.0, -constant), (0.0, 0.0)))
    outcome = read_outcome(study)
    assert outcome.hypervolumes == pytest.approx(expected, abs=1e-12)
    assert (np.diff(outcome.hypervolumes) >= 0).all() and 0 < outcome.hypervolume <= 1
    assert outcome.hypervolume == outcome.hypervolumes[-1]


def test_trials_stand_in_the_order_in_which_they_ended(study: Study) -> None:
    first, second = study.ask(), study.ask()
    for trial, value in ((second, 0.9), (first, 0.8)):
        trial.set_user_attr("experiment", f"har-trial-{trial.number:03d}")
        trial.set_user_attr("points", [[None, 0.5, 0.5, value]])
        study.tell(trial, [1 - value, 0.5])
    outcome = read_outcome(study)
    assert list(outcome.trials["trial"]) == [1, 0]
    assert outcome.hypervolumes[0] == outcome.hypervolumes[1] > 0


def test_a_row_says_what_became_of_a_trial(study: Study) -> None:
    number = finish(study, [(1, 0.5, 0.25, 0.75)])
    stop(study, "no learning: x")
    failed = study.ask()
    study.tell(failed, state=TrialState.FAIL)
    study.ask()
    trials: list[dict[str, Any]] = read_outcome(study).trials.to_dict("records")  # type: ignore[assignment]
    assert [row["trial"] for row in trials] == [number, 1]
    assert trials[0]["state"] == "complete" and trials[0]["error"] == 0.25 and trials[0]["points"] == 1
    assert trials[1]["state"] == "stopped" and trials[1]["reason"] == "no learning: x"
    assert trials[0]["experiment"] == "har-trial-000" and trials[0]["continues"] == ""


def test_a_study_is_read_the_same_from_its_storage_and_from_elsewhere(study: Study, lab: Lab) -> None:
    finish(study, [(1, 0.5, 0.25, 0.75)])
    one, two = read_outcome(study), read_outcome(lab.study(lab.plan()))
    assert one.points.equals(two.points) and one.hypervolumes == two.hypervolumes
    assert isinstance(one, Outcome) and one.facts == two.facts
    assert one.dataset == "har" and one.metric == "accuracy" and one.data_source == "generated"
