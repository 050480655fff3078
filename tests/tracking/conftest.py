"""A small finished pipeline on disk and a fresh journal."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tracking.small_pipeline import GRIDS, write_front, write_grid, write_model


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("finished") / "data"
    for seed, (experiment, (kind, points)) in enumerate(GRIDS.items()):
        if kind != "periodic":
            write_model(data, experiment, kind, seed)
        write_grid(data, experiment, kind, points)
    write_front(data)
    return data


@pytest.fixture
def data(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished pipeline, to be changed by the test."""
    return Path(shutil.copytree(finished, tmp_path / "data"))


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables are made once for all tests (seven seconds)."""
    from skipw.tracking import store

    database = tmp_path_factory.mktemp("database") / "mlflow.db"
    store._create_database(database, database.parent / "artifacts")
    return database


@pytest.fixture
def mlruns(empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh journal under the test's own folder; no other is touched."""
    folder = tmp_path / "mlruns"
    folder.mkdir()
    shutil.copyfile(empty_database, folder / "mlflow.db")
    monkeypatch.setenv("SKIPW_MLRUNS", str(folder))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    elsewhere = tmp_path / "current"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    yield folder
    assert not list(elsewhere.iterdir()), "something was written into the current folder"
