"""A study in a PostgreSQL database: a worker is killed, then a whole machine of two."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.studies import small_study

HOSTNAME = "import os, socket\nsocket.gethostname = lambda: os.environ['TEST_HOST']\n"
LAUNCHER = (
    "import json, sys; from tests.studies.test_postgres import launch; launch(*json.loads(sys.argv[1]))"
)


def launch(data: str, storage: str, trials: int) -> None:
    search = small_study.settings(trials=trials, epochs=10.0)  # time to be killed in
    small_study.run(Path(data), storage, search)


def check(storage: str, killed: Any, wanted: int) -> None:
    """Exactly the wanted trials have finished, none is stuck, and the killed one's work went on."""
    trials = small_study.trials_of(storage)
    states = [trial.state.name for trial in trials]
    done = [trial for trial in trials if trial.state.name in ("COMPLETE", "PRUNED")]
    assert len(done) == wanted and "RUNNING" not in states
    assert trials[killed.number].state.name == "FAIL"
    names = [trial.user_attrs["experiment"] for trial in done]
    assert killed.user_attrs["experiment"] in names and len(set(names)) == wanted


@pytest.mark.slow
def test_killed_worker(postgres: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIPW_MLRUNS", str(tmp_path / "mlruns"))
    storage, data = postgres(), small_study.prepare(tmp_path / "data")
    killer = small_study.InMidTrial(storage, tmp_path / "mlruns", small_study.kill_worker)
    outcome = small_study.run(data, storage, small_study.settings(trials=4, epochs=10.0))
    killer.join()
    assert outcome.counts.finished == 4
    check(storage, killer.trial, 4)
    logs = (tmp_path / "mlruns").glob("studies/small/workers/*.log")
    assert any("going on from the checkpoint" in log.read_text() for log in logs)


@pytest.mark.slow
def test_machine_of_two_dies(postgres: Callable[[], str], tmp_path: Path) -> None:
    """Two launchers run one study; one of them is killed with all its workers. Only heartbeats tell the other.

    The "machines" are this one under two names, so that neither looks at the other's processes.
    """
    (tmp_path / "names").mkdir()
    (tmp_path / "names" / "sitecustomize.py").write_text(HOSTNAME)
    storage, launchers = postgres(), {}
    for host in ("first", "second"):
        data = small_study.prepare(tmp_path / host)
        own = {"TEST_HOST": host, "SKIPW_MLRUNS": str(tmp_path / "mlruns"), "SKIPW_HEARTBEAT": "1"}
        paths = [str(tmp_path / "names"), "src", ".", os.environ.get("PYTHONPATH", "")]
        launchers[host] = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, json.dumps([str(data), storage, 4])],
            env={**os.environ, **own, "PYTHONPATH": os.pathsep.join(paths)},
            cwd=small_study.PARAMS.parent,
            stderr=subprocess.PIPE,
            text=True,
        )

    def die(trial: Any) -> None:
        launcher = psutil.Process(launchers[trial.user_attrs["worker"]["host"]].pid)
        for process in (launcher, *launcher.children(recursive=True)):
            process.kill()

    killer = small_study.InMidTrial(storage, tmp_path / "mlruns", die)
    try:
        codes = {host: launcher.wait(240) for host, launcher in launchers.items()}
        messages = {host: launcher.communicate()[1] for host, launcher in launchers.items()}
    finally:
        for launcher in launchers.values():
            launcher.kill()
    assert killer.trial is not None, messages
    dead = killer.trial.user_attrs["worker"]["host"]
    alive = "second" if dead == "first" else "first"
    assert codes == {dead: -signal.SIGKILL, alive: 0}, messages
    check(storage, killer.trial, 4)
