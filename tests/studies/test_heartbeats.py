"""Trials whose machine died, found by their missing signs of life: in a database and through Optuna's gRPC proxy."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from skipw.studies import heartbeat
from skipw.studies import storage as storages
from skipw.studies.backlog import count, requeue_orphans
from skipw.studies.places import Sign
from skipw.studies.storage import open_storage

ELSEWHERE = {"host": "another-machine", "pid": 1, "sign": "/nowhere/1.alive"}
FakeTrial = Callable[[optuna.Trial], tuple[float, float]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "HEARTBEAT", 1)
    monkeypatch.setattr(heartbeat, "GRACE", 3)


@pytest.fixture(params=["database", "grpc"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty storage."""
    database = f"sqlite:///{tmp_path / 'study.db'}"
    if request.param == "grpc":
        return serve(database)
    # A file is given the signs of life of a server's database.
    monkeypatch.setattr(storages, "_database", lambda url: heartbeat.Database(url, {}))
    return database


def serve(database: str) -> str:
    """Optuna's proxy before a database, in a thread of this process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = {"host": "127.0.0.1", "port": port}
    backend = optuna.storages.get_storage(database)
    threading.Thread(
        target=optuna.storages.run_grpc_proxy_server, args=(backend,), kwargs=arguments, daemon=True
    ).start()
    return f"grpc://127.0.0.1:{port}"


def study_in(storage: str) -> optuna.Study:
    return optuna.create_study(
        storage=open_storage(storage),
        study_name="fake",
        directions=["minimize", "minimize"],
        load_if_exists=True,
    )


def fake(worker: dict[str, Any], seconds: float = 0.0) -> FakeTrial:
    def objective(trial: optuna.Trial) -> tuple[float, float]:
        trial.set_user_attr("worker", worker)
        x = trial.suggest_float("x", 0.0, 1.0)
        time.sleep(seconds)
        return x, 1 - x

    return objective


def test_dead_machine_with_the_last_trial(storage: str) -> None:
    """Nobody asks for another trial, so Optuna itself would never look."""
    theirs = study_in(storage)
    trial = theirs.ask()
    trial.suggest_float("x", 0.0, 1.0)
    trial.set_user_attr("worker", ELSEWHERE)
    trial.set_user_attr("settings", {})  # all were drawn
    trial.set_user_attr("experiment", "adding-trial-000")
    theirs._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
    ours = study_in(storage)
    requeue_orphans(ours)
    assert count(ours).running == 1
    end = time.monotonic() + 20
    while count(ours).running and time.monotonic() < end:
        requeue_orphans(ours)
        time.sleep(0.2)
    assert (count(ours).running, count(ours).waiting, count(ours).failed) == (0, 1, 1)
    again = ours.get_trials()[-1]
    assert again.params == trial.params and "worker" not in again.user_attrs
    assert again.user_attrs["experiment"] == "adding-trial-000"
    ours.optimize(fake(ELSEWHERE), n_trials=1)
    assert ours.get_trials()[-1].state == TrialState.COMPLETE and len(ours.get_trials()) == 2


def test_living_machine_keeps_its_trial(storage: str) -> None:
    theirs, ours = study_in(storage), study_in(storage)
    worker = threading.Thread(target=theirs.optimize, args=(fake(ELSEWHERE, 6.0),), kwargs={"n_trials": 1})
    worker.start()
    while worker.is_alive():
        requeue_orphans(ours)
        worker.join(0.3)
    assert [trial.state for trial in ours.get_trials()] == [TrialState.COMPLETE]


def test_many_clients_of_one_proxy(tmp_path: Path) -> None:
    storage = serve(f"sqlite:///{tmp_path / 'study.db'}")
    study_in(storage)
    clients = [
        threading.Thread(
            target=lambda: study_in(storage).optimize(fake(ELSEWHERE), n_trials=5)  # a channel of its own
        )
        for _ in range(4)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    trials = study_in(storage).get_trials()
    assert [trial.number for trial in trials] == list(range(20))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}


def test_process_of_this_machine_that_slept(tmp_path: Path) -> None:
    """Its lock says that it lives, however old its last sign is."""
    study = study_in(f"sqlite:///{tmp_path / 'study.db'}")
    sign = Sign(tmp_path / "workers")
    trial = study.ask()
    trial.set_user_attr("worker", sign.attributes())
    study._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
    time.sleep(5)
    requeue_orphans(study)
    assert count(study).running == 1
    sign.close()
    requeue_orphans(study)
    assert (count(study).running, count(study).waiting) == (0, 1)


def test_signs_of_two_machines_in_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers often give their processes the same numbers."""
    here = Sign(tmp_path)
    monkeypatch.setattr(socket, "gethostname", lambda: "another-machine")
    there = Sign(tmp_path)
    assert here.path != there.path
    there.close()
    here.close()
