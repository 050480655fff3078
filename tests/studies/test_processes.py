"""Searches with real workers, which are killed: SIGKILL, so that nobody can tidy up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from skipw.studies.backlog import FINISHED
from skipw.studies.crew import LocalCrew
from skipw.studies.places import Places, living
from skipw.studies.worker import WorkerSpec
from tests.studies.conftest import InThisProcess, Lab

pytestmark = pytest.mark.slow
PATIENCE = 180.0  # seconds; a busy machine needs many to import its packages

#: Trainings of some seconds, with a checkpoint every twelfth of them.
SEARCH = """
search:
  har: {trials: TRIALS, workers: 1, epochs: 30, validations: 12, models: [thrrnn], from_recipe: true,
        warm_start: false, stop_early: false, val_limit: null}
"""


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited in vain for {what}")


class Watched:
    """A study that processes work on, seen from outside."""

    def __init__(self, lab: Lab, trials: int) -> None:
        lab.path.write_text(lab.path.read_text() + SEARCH.replace("TRIALS", str(trials)))
        self.lab, self.search = lab, lab.params.search.har
        from skipw.studies.plan import make_plan

        self.plan = make_plan("har", lab.params, self.search, lab.data)
        self.study = lab.study(self.plan)
        self.places = Places.of(lab.data, self.plan.study_name)

    def states(self) -> list[str]:
        return [trial.state.name for trial in self.study.get_trials()]

    def finished(self) -> int:
        return len(self.study.get_trials(states=FINISHED))

    def in_training(self, number: int) -> int | None:
        """The process that trains a trial, once it left a checkpoint since this began."""
        trials = self.study.get_trials()
        if len(trials) <= number or trials[number].state != TrialState.RUNNING:
            return None
        trial = trials[number]
        worker, experiment = trial.user_attrs.get("worker"), trial.user_attrs.get("experiment")
        began = trial.datetime_start
        assert began is not None
        for checkpoint in self.places.scratch.glob(f"{experiment}-*/last.ckpt"):
            if worker is not None and checkpoint.stat().st_mtime > began.timestamp() + 0.01:
                return int(worker["pid"])
        return None

    def logs(self) -> str:
        return "".join(path.read_text() for path in sorted(self.places.workers.glob("*.log")))

    @contextmanager
    def launcher(self) -> Iterator[subprocess.Popen[bytes]]:
        """`skipw search har`, in a process of its own."""
        command = [
            sys.executable, "-m", "skipw", "search", "har", "--params", str(self.lab.path),
            "--data", str(self.lab.data), "--storage", str(self.lab.journal), "--no-tracking",
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
        process = subprocess.Popen(
            command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def python_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers import the package that is tested."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "src"))


def test_a_worker_that_is_killed_costs_nothing(lab: Lab, python_path: None, quick_look: None) -> None:
    """Two workers, three trials; the one in trial 0 is killed in the middle of its training."""
    watched = Watched(lab, 3)
    killed: list[int] = []

    def kill() -> None:
        process = wait_for(lambda: watched.in_training(0), "a checkpoint of trial 0")
        os.kill(process, signal.SIGKILL)
        killed.append(process)

    killer = threading.Thread(target=kill)
    killer.start()
    from skipw.studies.search import run_search

    outcome = run_search(
        "har", lab.params, lab.path, lab.search(**{**vars(watched.search), "workers": 2}), lab.data,
        storage=str(lab.journal), tracking=False,
    )  # fmt: skip
    killer.join()
    assert len(killed) == 1
    assert outcome.counts.finished == 3 and outcome.counts.failed == 1
    assert outcome.counts.running == outcome.counts.waiting == 0
    (again,) = [trial for trial in watched.study.get_trials() if trial.system_attrs.get("failed_trial") == 0]
    assert again.state in FINISHED and again.user_attrs["experiment"] == "har-trial-000"
    assert again.params == watched.study.get_trials()[0].params
    assert again.user_attrs["worker"]["pid"] != killed[0]
    assert "har-trial-000: going on from the checkpoint of a stopped run" in watched.logs()
    assert not list(watched.places.scratch.iterdir()) and not living(watched.places.workers)


def test_a_launcher_that_is_killed_or_interrupted_goes_on(
    lab: Lab, python_path: None, quick_look: None
) -> None:
    watched = Watched(lab, 2)
    with watched.launcher() as launcher:
        wait_for(lambda: watched.in_training(0), "a checkpoint of trial 0")
        launcher.kill()
        launcher.wait()
    wait_for(lambda: not living(watched.places.workers), "the worker to end with its launcher")
    assert watched.states() == ["FAIL", "WAITING"]  # given back, not to be found by anybody

    with watched.launcher() as launcher:
        wait_for(lambda: watched.in_training(1), "a new checkpoint of trial 0")
        assert len(living(watched.places.workers)) == 1
        began = time.monotonic()
        launcher.send_signal(signal.SIGINT)
        assert launcher.wait(PATIENCE) == 130
        assert time.monotonic() - began < 30
    assert watched.states() == ["FAIL", "FAIL", "WAITING"]
    assert not living(watched.places.workers)
    last = watched.study.get_trials()[-1]
    assert last.system_attrs["deaths"] == 0  # both times the worker was ended in order
    assert not (lab.data / "studies").exists()

    outcome = lab.run(crew=InThisProcess, **vars(watched.search))
    assert outcome.counts.finished == 2 and outcome.counts.running == outcome.counts.waiting == 0
    assert list(outcome.trials["experiment"]) == ["har-trial-000", "har-trial-003"]


def test_a_worker_s_last_words_are_told(lab: Lab, python_path: None, tmp_path: Path) -> None:
    plan = lab.plan()
    spec = lab.spec(plan)
    crew = LocalCrew(
        WorkerSpec(**{**vars(spec), "study": "another", "dataset": "nothing"}), tmp_path / "logs"
    )
    crew.start(1)
    wait_for(lambda: crew.alive() == 0, "the end of the worker")
    (reason,) = crew.deaths()
    assert reason.startswith("exit status 1: worker: expected a data set of adding")
    assert crew.deaths() == []


def test_no_password_stands_in_the_list_of_processes(lab: Lab, python_path: None, tmp_path: Path) -> None:
    spec = WorkerSpec(**{**vars(lab.spec(lab.plan())), "storage": "postgresql://me:s3cret@127.0.0.1:1/x"})
    crew = LocalCrew(spec, tmp_path / "logs")
    crew.start(1)
    try:
        (process,) = [entry[0] for entry in crew._running]
        assert b"s3cret" not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    finally:
        crew.stop()
    assert crew.alive() == 0
