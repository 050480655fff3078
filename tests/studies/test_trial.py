"""One trial: trained once, judged everywhere, stopped for a reason, warm started, tried again after a kill."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Callable
from typing import Any

import optuna
import pandas as pd
import pytest
from optuna import Study
from optuna.trial import TrialState

from skipw.models.saved import load_description
from skipw.studies import trial as trials
from skipw.studies import worker
from skipw.studies.errors import StudyError
from skipw.studies.places import Places
from skipw.studies.plan import Plan
from skipw.studies.retry import MAX_RETRIES
from skipw.studies.space import nearest
from skipw.training.callbacks import History
from tests.studies.conftest import Killed, Lab

Facts = list[tuple[dict[str, Any], list[float] | None, Any, Any]]


def facts(study: Study) -> Facts:
    """What a reproducible study gives, trial by trial."""
    finished = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    return [
        (trial.params, trial.values, trial.user_attrs.get("points"), trial.user_attrs.get("reason"))
        for trial in finished
    ]


def states(study: Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def places_of(lab: Lab, plan: Plan) -> Places:
    return Places.of(lab.data, plan.study_name)


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """``kill_at(training, validation)``: the process dies there, as far as a test in one process can show it."""
    real, seen = History.on_validation_end, {"trainings": 0}
    real_init = History.__init__

    def count(self: History, *args: Any) -> None:
        seen["trainings"] += 1
        real_init(self, *args)

    def plan_it(training: int, validation: int) -> None:
        def die(self: History, *args: Any) -> None:
            if seen["trainings"] == training and len(self.rows) == validation:
                raise Killed
            real(self, *args)

        seen["trainings"] = 0
        monkeypatch.setattr(History, "__init__", count)
        monkeypatch.setattr(History, "on_validation_end", die)

    return plan_it


def test_a_trial_is_trained_once_and_judged_at_every_point(lab: Lab) -> None:
    plan = lab.plan(trials=1)
    study = lab.work(plan)
    (trial,) = study.trials
    assert trial.state == TrialState.COMPLETE
    points = trial.user_attrs["points"]
    budgets = {(budget, threshold) for budget, threshold, _, _ in points}
    assert budgets == {(k, thr) for k in range(5) for thr in (0.4, 0.5)}  # K of 0..L, thr of params.yaml
    trained = next(point for point in points if point[:2] == [4, 0.5])
    assert trial.values == pytest.approx([1 - trained[3], trained[2]])
    folder = places_of(lab, plan).model("har-trial-000")
    description = load_description(folder)
    assert description["experiment"] == trial.user_attrs["experiment"] == "har-trial-000"
    assert description["settings"] == trial.user_attrs["settings"]
    assert description["checkpoint_sha256"] == trial.user_attrs["checkpoint_sha256"]
    history = pd.read_csv(folder / "history.csv")
    assert [row[0] for row in trial.user_attrs["history"]] == pytest.approx(list(history["step"] / 18))
    assert trial.user_attrs["seconds"] > 0 and trial.user_attrs["init_from"] is None
    assert not list(places_of(lab, plan).scratch.iterdir())


def test_the_same_seed_gives_the_same_trials_also_when_it_was_killed(
    lab: Lab, kill_at: Callable[[int, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skipw.studies.samplers.STARTUP", 3)  # so that TPE has its say
    plan = lab.plan(trials=6, epochs=2.0)
    whole = facts(lab.work(plan))
    assert len(whole) == 6 and len({json.dumps(row[0]) for row in whole}) == 6
    lab.journal.unlink()
    shutil.rmtree(places_of(lab, plan).work)
    for training in (1, 3, 3):  # in the recipe's first, in one drawn at random, in one of TPE's
        kill_at(training, 1)
        with pytest.raises(Killed):
            lab.work(plan)
    kill_at(0, 0)
    study = lab.work(plan)
    assert facts(study) == whole
    assert states(study).count("FAIL") == 3 and len(study.trials) == 9
    lab.journal.unlink()
    assert facts(lab.work(lab.plan(trials=6, epochs=2.0, workers=1))) == whole


def test_a_killed_trial_goes_on_from_its_checkpoint(
    lab: Lab, kill_at: Callable[[int, int], None], caplog: pytest.LogCaptureFixture
) -> None:
    plan = lab.plan(trials=1)
    kill_at(1, 2)
    with pytest.raises(Killed):
        lab.work(plan)
    study = lab.study(plan)
    assert states(study) == ["RUNNING"]
    (left,) = places_of(lab, plan).scratch.iterdir()
    assert left.name.startswith("har-trial-000-") and (left / "last.ckpt").exists()
    kill_at(0, 0)
    with caplog.at_level(logging.INFO):
        lab.work(plan)
    assert "har-trial-000: going on from the checkpoint of a stopped run" in caplog.text
    assert "trial 0 was left by its worker" in caplog.text
    assert states(study) == ["FAIL", "COMPLETE"]
    assert study.trials[1].user_attrs["experiment"] == "har-trial-000"
    assert study.trials[1].params == study.trials[0].params
    assert not left.exists()


def test_one_that_was_killed_after_its_training_is_not_trained_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = lab.plan(trials=1)

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(trials, "grid_of", die)
        with pytest.raises(Killed):
            lab.work(plan)
    sha256 = load_description(places_of(lab, plan).model("har-trial-000"))["checkpoint_sha256"]
    monkeypatch.setattr(trials, "_train", die)
    study = lab.work(plan)
    assert study.trials[1].state == TrialState.COMPLETE
    assert study.trials[1].user_attrs["checkpoint_sha256"] == sha256
    assert len(study.trials[1].user_attrs["history"]) == 3


def test_a_model_of_a_deleted_study_is_not_taken_for_this_one_s(lab: Lab) -> None:
    plan = lab.plan(trials=1)
    lab.work(plan)
    lab.journal.unlink()
    folder = places_of(lab, plan).model("har-trial-000")
    description = json.loads((folder / "model.json").read_text())
    description["settings"]["hidden_size"] = 999  # another sampler drew something else
    (folder / "model.json").write_text(json.dumps(description))
    study = lab.work(plan)
    assert study.trials[0].state == TrialState.COMPLETE
    assert load_description(folder)["settings"] == study.trials[0].user_attrs["settings"]


def test_a_trial_whose_worker_dies_each_time_is_given_up(
    lab: Lab, kill_at: Callable[[int, int], None]
) -> None:
    plan = lab.plan(trials=1)
    for _ in range(MAX_RETRIES + 1):
        kill_at(1, 0)
        with pytest.raises(Killed):
            lab.work(plan)
    kill_at(0, 0)
    study = lab.work(plan)
    assert states(study) == ["FAIL"] * (MAX_RETRIES + 1) + ["COMPLETE"]
    assert study.trials[-1].params["model"] == "thrrnn"  # the next one, not the fatal one
    assert "given up" in study.trials[MAX_RETRIES].user_attrs["reason"]


def test_sigterm_lets_a_trial_go(
    lab: Lab, kill_at: Callable[[int, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = lab.plan(trials=1)

    def end(*_: Any, **__: Any) -> None:
        raise SystemExit(143)

    with monkeypatch.context() as patched:
        patched.setattr(trials, "grid_of", end)  # while it is judged
        for _ in range(MAX_RETRIES + 2):
            with pytest.raises(SystemExit):
                lab.work(plan)
    study = lab.work(plan)
    assert states(study) == ["FAIL"] * (MAX_RETRIES + 2) + ["COMPLETE"]


def test_a_training_that_fails_each_time_ends_the_search(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fail(*_: Any, **__: Any) -> None:
        calls.append(1)
        raise ValueError("no such thing")

    monkeypatch.setattr(trials, "_train", fail)
    with pytest.raises(
        StudyError, match="3 trials in a row failed, the last with error: ValueError: no such thing"
    ):
        lab.work(lab.plan())
    assert len(calls) == worker.FAILURES
    with pytest.raises(StudyError, match="in a row failed"):
        lab.work(lab.plan())
    assert len(calls) == worker.FAILURES + 1


def test_one_that_fails_once_costs_a_trial_of_its_own(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    real = trials._train

    def fail(settings: Any, *args: Any) -> None:
        if settings.experiment == "har-trial-001":
            raise ValueError("once")
        real(settings, *args)

    monkeypatch.setattr(trials, "_train", fail)
    study = lab.work(lab.plan(trials=2))
    assert states(study) == ["COMPLETE", "FAIL", "COMPLETE"]
    assert study.trials[1].user_attrs["reason"] == "error: ValueError: once"


def test_a_diverging_trial_stops_with_its_reason(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from skipw.training.lightning_module import TrainingModule

    real = TrainingModule.task_loss

    def explode(self: TrainingModule, *args: Any) -> torch.Tensor:
        return real(self, *args) * (math.nan if self.training and self.global_step >= 9 else 1.0)

    monkeypatch.setattr(TrainingModule, "task_loss", explode)
    plan = lab.plan(trials=1)
    study = lab.work(plan)
    (trial,) = study.trials
    assert trial.state == TrialState.PRUNED
    assert trial.user_attrs["reason"].startswith("diverged: ")
    assert not places_of(lab, plan).model("har-trial-000").exists()
    assert not list(places_of(lab, plan).scratch.iterdir())


def test_a_trial_without_a_finite_value_stops_with_its_reason(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = trials.points_of

    def broken(*args: Any) -> Any:
        points = real(*args)
        return [point._replace(value=math.nan) if point.budget == 4 else point for point in points]

    monkeypatch.setattr(trials, "points_of", broken)
    study = lab.work(lab.plan(trials=1))
    assert states(study) == ["PRUNED"]
    assert study.trials[0].user_attrs["reason"] == "diverged: the accuracy on val is nan"


def test_a_trial_that_is_stopped_early_says_why_and_keeps_no_model(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skipw.studies.hopeless.NO_LEARNING_GAIN", 1.0)  # nobody learns enough
    plan = lab.plan(trials=1)
    study = lab.work(plan)
    (trial,) = study.trials
    assert trial.state == TrialState.PRUNED and trial.values is None
    assert trial.user_attrs["reason"].startswith("no learning: error")
    assert [row[0] for row in trial.user_attrs["history"]] == pytest.approx([1 / 3, 2 / 3])  # not the third
    assert not places_of(lab, plan).model("har-trial-000").exists()
    assert "points" not in trial.user_attrs


def test_stop_early_can_be_switched_off(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skipw.studies.hopeless.NO_LEARNING_GAIN", 1.0)
    study = lab.work(lab.plan(trials=1, stop_early=False))
    assert states(study) == ["COMPLETE"] and len(study.trials[0].user_attrs["history"]) == 3


def test_a_model_no_better_than_the_constant_is_no_answer(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "_counts", lambda *_: False)
    study = lab.work(lab.plan(trials=1))
    assert states(study) == ["PRUNED"]
    assert "no operating point is better than the constant" in study.trials[0].user_attrs["reason"]


class _Donors:
    """Trials that are asked for a donor, and the finished ones that it is chosen of."""

    def __init__(self, lab: Lab) -> None:
        self.plan = lab.plan()
        self.study = lab.study(self.plan)
        self.places = Places.of(lab.data, self.plan.study_name)

    def finished(self, error: float, cost: float, *, here: bool = True, **changes: Any) -> str:
        experiment = self.plan.experiment(len(self.study.trials))
        params = {**self.shape(cost), **changes}
        trial = optuna.create_trial(
            values=[error, 0.5],
            params=params,
            distributions={name: self.plan.space[name] for name in params},
            user_attrs={"experiment": experiment, "checkpoint_sha256": experiment},
        )
        self.study.add_trial(trial)
        if here:
            folder = self.places.model(experiment)
            folder.mkdir(parents=True)
            (folder / "model.json").write_text("{}")
        return experiment

    def shape(self, cost: float) -> dict[str, Any]:
        return {
            "model": "skipw",
            "cell": "gru",
            "hidden_size": 32,
            "num_layers": 1,
            "window": 4,
            "cost_per_input": cost,
        }

    def chosen(self, cost: float = 2e-2, **changes: Any) -> str | None:
        return trials._donor(self.study.ask(), self.plan, {**self.shape(cost), **changes}, self.places)


@pytest.fixture
def donors(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> _Donors:
    monkeypatch.setattr(trials, "_sha256", lambda folder: folder.name)
    return _Donors(lab)


def test_a_donor_is_the_best_of_the_same_shape_with_a_smaller_cost(donors: _Donors) -> None:
    assert donors.chosen() is None
    donors.finished(0.01, 4e-2)  # a larger λ
    donors.finished(0.01, 2e-2)  # the same
    others = {"model": "thrrnn", "cell": "lstm", "hidden_size": 64, "num_layers": 2, "window": 8}
    for name, value in others.items():
        donors.finished(0.01, 2e-3, **{name: value})
    donors.finished(0.01, 2e-3, here=False)  # its model is elsewhere
    assert donors.chosen() is None
    worse = donors.finished(0.3, 2e-3)
    assert donors.chosen() == worse
    better = donors.finished(0.2, 1e-2)
    donors.finished(0.25, 1e-3)
    assert donors.chosen() == better
    assert donors.chosen(1e-2) != better  # not smaller any more
    assert donors.chosen(hidden_size=96) is None


def test_a_model_of_the_same_name_but_another_study_is_no_donor(
    donors: _Donors, monkeypatch: pytest.MonkeyPatch
) -> None:
    donors.finished(0.2, 2e-3)
    assert donors.chosen() is not None
    monkeypatch.setattr(trials, "_sha256", lambda folder: "other")
    assert donors.chosen() is None


def test_a_warm_start_records_where_it_came_from(lab: Lab, kill_at: Callable[[int, int], None]) -> None:
    plan = lab.plan(trials=3, from_recipe=False)
    point = nearest(plan.space, "skipw", plan.recipe)
    for cost in (1e-3, 2e-3, 4e-3):
        lab.study(plan).enqueue_trial({**point, "cost_per_input": cost, "warm_start": True})
    kill_at(3, 1)
    with pytest.raises(Killed):
        lab.work(plan)
    kill_at(0, 0)
    study = lab.work(plan)
    assert states(study) == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE"]
    first, second, killed, third = study.trials
    assert first.user_attrs["init_from"] is None
    assert second.user_attrs["init_from"] == "har-trial-000"
    best = min((trial.values[0], trial.number) for trial in (first, second))[1]
    assert third.user_attrs["init_from"] == killed.user_attrs["init_from"] == f"har-trial-{best:03d}"
    folder = places_of(lab, plan).model
    assert load_description(folder("har-trial-001"))["init_from"] == "har-trial-000"
    assert load_description(folder("har-trial-001"))["lineage"] == ["har-trial-000"]
    lineage = load_description(folder("har-trial-002"))["lineage"]
    assert lineage == [f"har-trial-{i:03d}" for i in range(best + 1)]


def test_a_journal_that_does_not_answer_costs_no_trial(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.exceptions import MlflowException

    def refuse(*_: Any, **__: Any) -> None:
        raise MlflowException("no space left")

    monkeypatch.setattr("skipw.tracking.runs.training_run", refuse)
    monkeypatch.setattr("skipw.tracking.study_runs.study_run", lambda *_: "parent")
    study = lab.work(lab.plan(trials=1), tracking=True)
    assert states(study) == ["COMPLETE"]
