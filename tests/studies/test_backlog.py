"""Trials whose worker died are tried again, once and only once; those of the living are left alone."""

from __future__ import annotations

import datetime
import fcntl
import multiprocessing
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna import Study, Trial
from optuna.trial import TrialState

from skipw.studies import backlog, places
from skipw.studies.backlog import count, origin_of, requeue_orphans, surplus
from skipw.studies.places import Places, Sign, is_alive, living
from skipw.studies.retry import LET_GO, MAX_RETRIES, place_of
from skipw.studies.storage import open_storage
from skipw.studies.study import open_study
from tests.studies.conftest import Lab


@pytest.fixture
def study(lab: Lab) -> Study:
    return lab.study(lab.plan())


@pytest.fixture
def sign(tmp_path: Path) -> Iterator[Sign]:
    """Of a living worker."""
    sign = Sign(tmp_path / "workers")
    yield sign
    sign.close()


def dead(folder: Path, host: str = "") -> dict[str, Any]:
    """The record of a worker that was killed: its sign is still there, nobody holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "4711-dead.alive"
    path.touch()
    return {"host": host or socket.gethostname(), "pid": 4711, "sign": str(path)}


def begin(study: Study, worker: dict[str, Any] | None) -> Trial:
    """A trial in the middle of its training."""
    trial = study.ask()
    if worker is not None:
        trial.set_user_attr("worker", worker)
    trial.suggest_float("learning_rate", 1e-3, 1e-2, log=True)
    trial.set_user_attr("experiment", f"har-trial-{trial.number:03d}")
    trial.set_user_attr("settings", {"seed": 0})
    trial.set_user_attr("run_id", "abc")
    return trial


def states(study: Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def test_an_orphan_goes_into_the_queue_again_once(study: Study, tmp_path: Path) -> None:
    orphan = begin(study, dead(tmp_path))
    assert requeue_orphans(study) == [orphan.number]
    assert requeue_orphans(study) == []
    assert states(study) == ["FAIL", "WAITING"]
    first, again = study.trials
    assert again.params == first.params
    assert again.user_attrs == {"experiment": "har-trial-000", "settings": {"seed": 0}, "run_id": "abc"}
    assert origin_of(again) == origin_of(first) == 0
    assert count(study).waiting == 1 and count(study).failed == 1 and count(study).finished == 0


def test_a_trial_that_is_tried_again_does_not_look_dead_before_it_is_signed(
    study: Study, tmp_path: Path
) -> None:
    begin(study, dead(tmp_path))
    requeue_orphans(study)
    again = study.ask()
    assert again.number == 1
    assert requeue_orphans(study) == []
    assert states(study) == ["FAIL", "RUNNING"]
    assert (
        again.suggest_float("learning_rate", 1e-3, 1e-2, log=True) == study.trials[0].params["learning_rate"]
    )


def test_one_that_was_killed_before_its_settings_were_drawn_draws_them_anew(
    study: Study, tmp_path: Path
) -> None:
    trial = study.ask()
    trial.set_user_attr("worker", dead(tmp_path))
    trial.suggest_float("learning_rate", 1e-3, 1e-2, log=True)
    requeue_orphans(study)
    assert study.trials[1].params == {} and study.trials[1].state == TrialState.WAITING


def test_the_recipe_is_kept_by_one_that_was_killed_at_once(study: Study, tmp_path: Path) -> None:
    study.enqueue_trial({"learning_rate": 5e-3})
    trial = study.ask()
    trial.set_user_attr("worker", dead(tmp_path))
    requeue_orphans(study)
    assert study.ask().suggest_float("learning_rate", 1e-3, 1e-2, log=True) == 5e-3


def test_a_trial_is_given_up_after_so_many_deaths(study: Study, tmp_path: Path) -> None:
    worker = dead(tmp_path)
    for death in range(MAX_RETRIES + 1):
        trial = begin(study, worker)
        assert origin_of(study.trials[trial.number]) == 0
        assert requeue_orphans(study) == [trial.number]
        assert len(study.trials) == min(death + 2, MAX_RETRIES + 1)
    assert states(study) == ["FAIL"] * (MAX_RETRIES + 1)
    assert study.trials[-1].user_attrs["reason"] == f"given up: its worker died {MAX_RETRIES + 1} times"
    assert requeue_orphans(study) == []


def test_workers_that_were_ended_in_order_do_not_count_as_deaths(study: Study, tmp_path: Path) -> None:
    for _ in range(2 * MAX_RETRIES):
        begin(study, dead(tmp_path)).set_user_attr(LET_GO, True)
        requeue_orphans(study)
    assert states(study)[-1] == "WAITING"
    for _ in range(MAX_RETRIES):
        begin(study, dead(tmp_path))
        requeue_orphans(study)
    assert states(study)[-1] == "WAITING"
    begin(study, dead(tmp_path))
    requeue_orphans(study)
    assert states(study)[-1] == "FAIL"


def test_an_interrupted_trial_is_tried_again_and_one_that_failed_is_not(study: Study) -> None:
    def interrupt(trial: Trial) -> tuple[float, float]:
        trial.set_user_attr(LET_GO, True)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.optimize(interrupt, n_trials=1)
    failed = study.ask()
    failed.set_user_attr("reason", "error: ValueError: no")
    study.tell(failed, state=TrialState.FAIL)
    assert requeue_orphans(study) == []
    assert states(study) == ["FAIL", "FAIL", "WAITING"]
    assert origin_of(study.trials[2]) == 0


def test_a_process_that_died_between_failing_and_queueing_loses_no_trial(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(study, dead(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr(backlog, "requeue", lambda *_: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            requeue_orphans(study)
    assert states(study) == ["FAIL"]
    requeue_orphans(study)
    assert states(study) == ["FAIL", "WAITING"]


def _requeue(lab: Lab, name: str, start: Any) -> None:
    plan = lab.plan()
    study = open_study(plan, open_storage(str(lab.journal)))
    folder = Places.of(lab.data, name)
    start.wait()
    for _ in range(5):
        with folder.claiming():
            requeue_orphans(study)


def test_two_processes_requeue_an_orphan_once(lab: Lab, study: Study, tmp_path: Path) -> None:
    for _ in range(3):
        begin(study, dead(tmp_path))
    context = multiprocessing.get_context("fork")
    start = context.Barrier(2)
    processes = [context.Process(target=_requeue, args=(lab, study.study_name, start)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert states(study) == ["FAIL"] * 3 + ["WAITING"] * 3
    assert [origin_of(trial) for trial in study.trials] == [0, 1, 2, 0, 1, 2]


def test_the_living_are_left_alone(study: Study, sign: Sign) -> None:
    begin(study, sign.attributes())
    assert is_alive(sign.attributes()) is True
    assert requeue_orphans(study) == []
    sign.close()
    assert is_alive(sign.attributes()) is False
    assert requeue_orphans(study) == [0]


def test_trials_of_another_machine_are_left_alone(study: Study, tmp_path: Path) -> None:
    elsewhere = {"host": "elsewhere", "pid": 1, "sign": str(tmp_path / "not" / "here.alive")}
    fresh = dead(tmp_path, host="elsewhere")
    assert is_alive(elsewhere) is None and is_alive(fresh) is None
    begin(study, elsewhere)
    begin(study, fresh)
    assert requeue_orphans(study) == []


def test_a_machine_that_came_back_under_another_name_finds_its_trials(study: Study, tmp_path: Path) -> None:
    worker = dead(tmp_path, host="before-the-restart")
    begin(study, worker)
    long_ago = time.time() - places.SILENT - 5
    os.utime(worker["sign"], (long_ago, long_ago))
    assert requeue_orphans(study) == [0]


def test_a_sign_is_touched_as_long_as_its_worker_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "TOUCH", 0.01)
    sign = Sign(tmp_path)
    os.utime(sign.path, (0, 0))
    limit = time.monotonic() + 30
    while sign.path.stat().st_mtime == 0 and time.monotonic() < limit:
        time.sleep(0.01)
    assert time.time() - sign.path.stat().st_mtime < 60
    sign.close(keep=True)
    assert sign.path.exists() and is_alive(sign.attributes()) is False


def test_two_workers_of_one_process_number_are_two(tmp_path: Path) -> None:
    first = Sign(tmp_path)
    first.close(keep=True)
    second = Sign(tmp_path)
    assert first.path != second.path
    assert is_alive(first.attributes()) is False and is_alive(second.attributes()) is True
    assert living(tmp_path) == [second.path]
    second.close()
    assert living(tmp_path) == []


def test_a_look_at_a_sign_does_not_make_it_look_alive(tmp_path: Path) -> None:
    worker = dead(tmp_path)
    with open(worker["sign"]) as other:
        fcntl.flock(other, fcntl.LOCK_SH)  # somebody else who looks at the same moment
        assert is_alive(worker) is False


def test_a_trial_that_nobody_signed_is_an_orphan_after_a_minute(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(study, None)
    assert requeue_orphans(study) == []
    now = time.time()
    monkeypatch.setattr(backlog.time, "time", lambda: now + backlog.NAMELESS + 1)
    assert requeue_orphans(study) == [0]
    assert states(study) == ["FAIL", "WAITING"]


def test_the_last_trial_is_taken_once(study: Study) -> None:
    first, second, third = study.ask(), study.ask(), study.ask()
    assert surplus(study, first.number, 2) is None
    assert surplus(study, second.number, 2) is None
    assert surplus(study, third.number, 2) == "surplus: another machine took the last trial at the same time"
    study.tell(first, state=TrialState.FAIL)
    assert surplus(study, third.number, 2) is None


def test_a_trial_that_was_queued_twice_runs_once(study: Study, tmp_path: Path) -> None:
    begin(study, dead(tmp_path))
    requeue_orphans(study)
    study.add_trial(study.trials[1])  # by a database's heartbeat on another machine
    one, two = study.ask(), study.ask()
    assert (one.number, two.number) == (1, 2)
    assert surplus(study, one.number, 10) is None
    assert surplus(study, two.number, 10) == "surplus: trial 1 is the same one"


def test_a_place_is_that_of_a_study_that_was_never_killed(study: Study, tmp_path: Path) -> None:
    for _ in range(2):
        study.tell(study.ask(), [0.1, 0.1])
    begin(study, dead(tmp_path))  # number 2
    requeue_orphans(study)
    begin(study, dead(tmp_path))  # number 3, which is 2 again
    requeue_orphans(study)
    study.tell(study.ask(), [0.1, 0.1])  # number 4, which is 2 again
    study.tell(study.ask(), [0.1, 0.1])
    assert [place_of(study, trial) for trial in study.trials] == [0, 1, 2, 2, 2, 3]


def test_counts(study: Study, sign: Sign, tmp_path: Path) -> None:
    study.tell(study.ask(), [0.1, 0.2])
    study.tell(study.ask(), state=TrialState.PRUNED)
    begin(study, sign.attributes())
    begin(study, dead(tmp_path))
    requeue_orphans(study)
    found = count(study)
    assert (found.complete, found.stopped, found.running, found.waiting, found.failed) == (1, 1, 1, 1, 1)
    assert found.finished == 2


def test_dates_of_a_journal_are_of_this_clock(study: Study) -> None:
    study.ask()
    began = study.trials[0].datetime_start
    assert began is not None
    assert abs(began.timestamp() - datetime.datetime.now().timestamp()) < 60
