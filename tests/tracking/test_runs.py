"""The journal of a training: batches, resuming, failing, rebuilding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from skipw.tracking.provenance import Provenance
from skipw.tracking.run_logger import RunLogger
from skipw.tracking.run_records import find_run, log_grid, rebuild_run
from skipw.tracking.runs import RUN_ID_FILE, training_run
from skipw.tracking.store import Store, connect

PARAMS = {"steps": 30, "learning_rate": 1e-3, "cost_schedule": ((0.0, 1.0),), "window": None}
TAGS = {"scale": "tiny", "data_source": "generated"}

OWN = Provenance("laptop")


def open_run(scratch: Path) -> RunLogger:
    return training_run("adding-skipw", "adding", PARAMS, TAGS, scratch)


def test_a_run_has_parameters_tags_and_metrics(mlruns: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("DVC_STAGE", "train@adding-skipw")
    logger = open_run(tmp_path)
    for step in (10, 20):
        logger.log_metrics(
            {"val_loss": 1 / step, "val_mse": np.float32(0.5), "gradient_norm": float("nan")}, step
        )
    logger.finalize("success")
    run = connect().client.get_run(logger.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "adding-skipw"
    assert run.data.params == {
        "steps": "30", "learning_rate": "0.001", "cost_schedule": "[[0.0, 1.0]]", "window": "None"
    }  # fmt: skip
    expected = {"experiment": "adding-skipw", "dvc_stage": "train@adding-skipw", **TAGS}
    assert expected.items() <= run.data.tags.items()
    assert run.data.metrics == {"val_loss": 0.05, "val_mse": 0.5}
    history = connect().client.get_metric_history(logger.run_id, "val_loss")
    assert [(point.step, point.value) for point in history] == [(10, 0.1), (20, 0.05)]


def test_metrics_travel_in_batches(mlruns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = open_run(tmp_path)
    sizes: list[int] = []
    original = logger.experiment.log_batch
    monkeypatch.setattr(
        logger.experiment, "log_batch", lambda *a, **k: (sizes.append(len(k["metrics"])), original(*a, **k))
    )
    for step in range(50):
        logger.log_metrics({f"metric_{i}": float(i) for i in range(10)}, step)
        logger.save()
    logger.finalize("success")
    assert sum(sizes) == 500
    assert len(sizes) <= 3


def test_a_stopped_training_goes_on_in_the_same_run(mlruns: Path, tmp_path: Path) -> None:
    first = open_run(tmp_path)
    first.log_metrics({"val_loss": 0.5}, 10)
    first.log_metrics({"val_loss": 0.4}, 20)
    first.finalize("failed")
    assert connect().client.get_run(first.run_id).info.status == "FAILED"
    second = open_run(tmp_path)
    assert second.run_id == first.run_id == (tmp_path / RUN_ID_FILE).read_text().strip()
    assert connect().client.get_run(first.run_id).info.status == "RUNNING"
    second.log_metrics({"val_loss": 0.4}, 20)  # repeated, because the last checkpoint was older
    second.log_metrics({"val_loss": 0.3}, 30)
    second.finalize("success")
    history = connect().client.get_metric_history(first.run_id, "val_loss")
    assert [point.step for point in history] == [10, 20, 30]
    assert connect().client.get_run(first.run_id).info.status == "FINISHED"


def test_a_deleted_run_is_replaced(mlruns: Path, tmp_path: Path) -> None:
    first = open_run(tmp_path)
    connect().client.delete_run(first.run_id)
    assert open_run(tmp_path).run_id != first.run_id


def test_a_broken_journal_never_stops_a_training(
    mlruns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logger = open_run(tmp_path)

    def broken(*args: Any, **kwargs: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(logger.experiment, "log_batch", broken)
    monkeypatch.setattr(logger.experiment, "set_terminated", broken)
    logger.log_metrics({"val_loss": 0.5}, 10)
    logger.finalize("success")
    assert "no space left on device" in caplog.text
    assert "1 numbers of this run are missing" in caplog.text


@pytest.fixture
def history() -> pd.DataFrame:
    return pd.DataFrame({"epoch": [0, 1], "step": [10, 20], "val_loss": [0.5, 1 / 3], "seconds": [2.0, 4.0]})


def test_a_run_is_rebuilt_from_files(mlruns: Path, history: pd.DataFrame) -> None:
    journal = connect()
    run_id = rebuild_run(journal, "adding-skipw", "adding", PARAMS, TAGS, history)
    run = journal.client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time == 4000
    assert run.data.params["steps"] == "30"
    assert run.data.tags["rebuilt"] == "true"
    points = journal.client.get_metric_history(run_id, "val_loss")
    assert [(point.step, point.timestamp - run.info.start_time) for point in points] == [
        (10, 2000),
        (20, 4000),
    ]


def test_a_run_is_found_by_its_numbers_then_by_its_checkpoint(
    mlruns: Path, tmp_path: Path, history: pd.DataFrame
) -> None:
    logger = open_run(tmp_path)
    logger.log_metrics({"val_loss": 1 / 3}, 20)
    logger.finalize("success")
    journal = connect()
    rounded = history.assign(val_loss=[0.5, 0.3333333])
    assert (
        find_run(journal, "adding-skipw", "adding", "abc", history.assign(val_loss=[0.5, 0.34]), OWN) is None
    )
    assert found_id(journal, "abc", rounded) == logger.run_id
    assert found_id(journal, "abc", history.assign(val_loss=9.0)) == logger.run_id
    assert find_run(journal, "adding-skipw", "adding", "other", rounded, OWN) is None


def found_id(journal: Store, sha256: str, history: pd.DataFrame) -> str:
    run = find_run(journal, "adding-skipw", "adding", sha256, history, OWN)
    assert run is not None
    return str(run.info.run_id)


def test_a_grid_is_a_table_and_a_curve(mlruns: Path, data: Path, history: pd.DataFrame) -> None:
    from skipw.evaluation.table import read_grid

    path = data / "evaluation" / "adding" / "adding-skipw" / "grid.csv"
    journal = connect()
    run_id = rebuild_run(journal, "adding-skipw", "adding", PARAMS, TAGS, history)
    for _ in range(2):
        log_grid(journal, journal.client.get_run(run_id), read_grid(path), [path])
    with journal.as_default():
        table = journal.client.load_table(journal.experiment("adding"), "grid.json", [run_id])
    assert len(table) == 6
    assert {"budget", "threshold", "value", "inputs_processed"} <= set(table.columns)
    curve = journal.client.get_metric_history(run_id, "test_mse_at_budget")
    assert [point.step for point in curve] == [1, 3, 5]
    assert [file.path for file in journal.client.list_artifacts(run_id, "grid")] == ["grid/grid.csv"]
