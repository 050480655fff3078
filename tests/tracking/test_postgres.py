"""The journal in a real PostgreSQL database: the same as in SQLite, and many processes may begin at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from skipw.errors import ParamsError
from skipw.tracking import store
from skipw.tracking.links import compare_link
from skipw.tracking.predictor import load_predictor
from skipw.tracking.registry import register_front
from skipw.tracking.runs import training_run
from skipw.tracking.store import connect
from tests.postgres import FreshDatabase
from tests.tracking.small_pipeline import RATES, SCALE, keep_small

SOURCE = Path(store.__file__).resolve().parents[2]
WORKER = """
from skipw.tracking.store import connect
journal = connect()
experiment = journal.experiment("adding")
run = journal.client.create_run(experiment).info.run_id
journal.client.log_metric(run, "loss", 0.5)
journal.client.set_terminated(run)
print("experiment", experiment)
"""


@pytest.fixture
def journal(
    postgres: FreshDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Path]]:
    """An empty database as MLFLOW_TRACKING_URI: its address and the folder for artifacts."""
    address, folder, elsewhere = postgres(), tmp_path / "mlruns", tmp_path / "current"
    elsewhere.mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("SKIPW_MLRUNS", str(folder))
    monkeypatch.chdir(elsewhere)
    yield address, folder
    assert not list(elsewhere.iterdir()), "something was written into the current folder"


@pytest.mark.slow
def test_a_front_is_registered_and_its_models_load(journal: tuple[str, Path], data: Path) -> None:
    import mlflow.pyfunc

    address, folder = journal
    assert compare_link("adding") is None  # which makes no tables either
    keep_small(data, "adding-skipw", "adding-random")
    done = register_front("adding", data, scale=SCALE, rates=RATES)
    assert done.added == ("adding-skipw",)
    again = register_front("adding", data, scale=SCALE, rates=RATES)
    assert (again.added, again.kept, again.left) == ((), ("adding-skipw",), ())

    opened = connect()
    assert (opened.uri, opened.artifacts) == (address, folder / "artifacts")
    version = opened.client.get_model_version_by_alias("skipw-adding", "knee")
    run = opened.client.get_run(version.run_id)
    assert run.info.artifact_uri.startswith((folder / "artifacts" / "skipw-adding").as_uri())
    assert "grid.json" in {file.path for file in opened.client.list_artifacts(version.run_id)}
    assert len(opened.client.get_metric_history(version.run_id, "test_mse_at_budget")) == 3
    assert str(compare_link("adding")).startswith("http://127.0.0.1:5000/#/")

    rows = [[0.5, 1.0], [0.3, 0.0], [0.25, 1.0]]
    with opened.as_default():
        served = mlflow.pyfunc.load_model("models:/skipw-adding@knee")
    answer = served.predict(pd.DataFrame({"sequence": [rows]}), params={"budget": 1})
    same = load_predictor("models:/skipw-adding@knee").predict([rows], {"budget": 1})
    pd.testing.assert_frame_equal(answer, same)
    assert answer["inputs_processed"][0] <= 1 / 3


@pytest.mark.slow
def test_a_training_writes_its_run(journal: tuple[str, Path], tmp_path: Path) -> None:
    tags = {"scale": SCALE, "data_source": "generated", "title": "Adding"}
    logger = training_run("adding-skipw", "adding", {"steps": 30}, tags, tmp_path / "scratch")
    for step in (1, 2, 3):
        logger.log_metrics({"val_loss": 1.0 / step}, step)
    logger.finalize("success")
    (run,) = connect().client.search_runs([connect().experiment("adding")], "params.steps = '30'")
    assert run.info.status == "FINISHED"
    assert run.data.metrics["val_loss"] == pytest.approx(1 / 3)


@pytest.mark.slow
def test_four_processes_meet_at_an_empty_database(journal: tuple[str, Path]) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), *sys.path])}
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
    answers = [worker.communicate(timeout=180) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4, [errors for _, errors in answers]
    assert len({printed for printed, _ in answers}) == 1
    opened = connect()
    assert len(opened.client.search_runs([opened.experiment("adding")])) == 4


def test_registering_waits_for_another(journal: tuple[str, Path]) -> None:
    address, folder = journal
    order, inside = [], threading.Event()

    def other() -> None:
        inside.wait(30)
        with store._alone(address, "skipw-adding", folder):
            order.append("second")

    thread = threading.Thread(target=other)
    thread.start()
    with store._alone(address, "skipw-adding", folder), store._alone(address, "skipw-har", folder):
        inside.set()
        thread.join(0.5)
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]
    assert not folder.exists()


def test_a_database_that_is_not_there_is_named_without_the_password(
    journal: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = journal[0].replace("skipw@", "skipw:secret@") + "_gone"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", gone)
    with pytest.raises(
        ParamsError, match='database "test_.*_gone" does not exist.*a database that exists'
    ) as caught:
        connect()
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+nodriver://skipw@127.0.0.1/x")
    with pytest.raises(ParamsError, match="expected an address such as postgresql"):
        connect()
