"""Where the journal is, and that several processes can begin at once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from skipw.errors import DataUnavailableError, ParamsError
from skipw.tracking import store
from skipw.tracking.links import compare_link
from skipw.tracking.predictor import load_predictor
from skipw.tracking.serving.source import find_source
from skipw.tracking.store import connect, mlruns_folder

SOURCE = Path(store.__file__).resolve().parents[2]
WORKER = """
from skipw.tracking.store import connect
journal = connect()
experiment = journal.experiment("adding")
run = journal.client.create_run(experiment).info.run_id
journal.client.set_terminated(run)
print("experiment", experiment)
"""


def test_the_folder_is_the_repositorys_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKIPW_MLRUNS", raising=False)
    (tmp_path / ".git").mkdir()
    (tmp_path / "paper").mkdir()
    monkeypatch.chdir(tmp_path / "paper")
    assert mlruns_folder() == tmp_path / "mlruns"


def test_a_dvc_experiment_writes_into_the_same_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SKIPW_MLRUNS", raising=False)
    workspace = tmp_path / ".dvc" / "tmp" / "exps" / "tmp1234"
    (workspace / ".git").mkdir(parents=True)
    monkeypatch.chdir(workspace)
    assert mlruns_folder() == tmp_path / "mlruns"


def test_the_environment_chooses_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIPW_MLRUNS", str(tmp_path / "elsewhere"))
    assert mlruns_folder() == tmp_path / "elsewhere"


def test_the_tracking_uri_wins_and_becomes_absolute(mlruns: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mlruns)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    monkeypatch.setenv("SKIPW_MLRUNS", "/nowhere")
    journal = connect()
    assert journal.uri == f"sqlite:///{mlruns}/mlflow.db"
    assert journal.artifacts == mlruns / "artifacts"
    assert os.environ["MLFLOW_TRACKING_URI"] == "sqlite:///mlflow.db"


@pytest.mark.parametrize("address", ["mlruns", "file:///tmp/mlruns"])
def test_a_plain_folder_is_refused_with_a_remedy(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(ParamsError, match=r"use sqlite:///.*mlruns/mlflow.db"):
        connect()


def test_an_address_that_mlflow_does_not_know_is_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "foo://user:secret@x")
    with pytest.raises(ParamsError, match="begins with foo://; expected http://") as caught:
        connect()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", ["http", "https"])
def test_a_server_that_does_not_answer_is_a_message_within_seconds(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{kind}://user:secret@127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setattr(store, "SERVER_PAUSE", 0.1)
        before = time.monotonic()
        with pytest.raises(
            ParamsError, match=r"no MLflow server answers .*refused.*unset the variable"
        ) as caught:
            connect()
    assert time.monotonic() - before < 30
    assert "secret" not in str(caught.value)


def test_a_server_that_starts_again_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([requests.exceptions.ConnectionError("still down"), None])

    def get(url: str, **_: object) -> None:
        assert url == "http://127.0.0.1:1/health"
        if (error := next(answers)) is not None:
            raise error

    monkeypatch.setattr(requests, "get", get)
    monkeypatch.setattr(store, "SERVER_PAUSE", 0.0)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1/")
    assert connect().uri == "http://127.0.0.1:1/"
    assert next(answers, "all used") == "all used"


@pytest.mark.parametrize("damage", ["other", "short"])
def test_a_damaged_database_is_named(
    mlruns: Path, tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (mlruns / "mlflow.db").read_bytes()
    path = tmp_path / "damaged.db"  # MLflow keeps an engine of each path
    path.write_bytes(content[: len(content) // 2] if damage == "short" else b"no database at all\n" * 300)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    with pytest.raises(ParamsError, match=r"damaged.db can't be read \(.*make register"):
        connect()


def test_a_model_is_looked_up_without_making_a_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("SKIPW_MLRUNS", str(tmp_path / "none"))
    for look_up in (load_predictor, find_source):
        with pytest.raises(DataUnavailableError, match="nothing is registered here yet"):
            look_up("models:/skipw-har@knee")
    assert not (tmp_path / "none").exists()


def test_telemetry_is_off_and_experiments_have_absolute_artifacts(
    mlruns: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    journal = connect()
    experiment = journal.client.get_experiment(journal.experiment("har"))
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert experiment.name == "skipw-har"
    assert experiment.artifact_location == (mlruns / "artifacts" / "skipw-har").as_uri()
    assert journal.experiment("har") == experiment.experiment_id


def test_a_deleted_experiment_comes_back(mlruns: Path) -> None:
    journal = connect()
    first = journal.experiment("har")
    journal.client.delete_experiment(first)
    assert journal.experiment("har") == first
    assert journal.client.get_experiment(first).lifecycle_stage == "active"


def test_a_link_creates_no_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("SKIPW_MLRUNS", str(tmp_path / "none"))
    assert compare_link("adding") is None
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_four_processes_meet_at_a_fresh_database(tmp_path: Path) -> None:
    (tmp_path / ".mlflow.db.new").write_bytes(b"what a killed process left behind")
    environment = {**os.environ, "SKIPW_MLRUNS": str(tmp_path), "PYTHONPATH": str(SOURCE)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    answers = [worker.communicate(timeout=120) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4, [errors for _, errors in answers]
    assert len({printed for printed, _ in answers}) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mlflow.db.lock", "mlflow.db"]
