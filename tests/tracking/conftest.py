"""A small finished pipeline on disk and a fresh journal."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tracking.served import Server, serving
from tests.tracking.small_pipeline import (
    GRIDS,
    RATES,
    SCALE,
    keep_small,
    write_front,
    write_grid,
    write_model,
)


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


@pytest.fixture(scope="session")
def registry(
    empty_database: Path, finished: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """A journal with the small models registered; its environment."""
    from skipw.tracking.registry import register_front

    folder = tmp_path_factory.mktemp("registry") / "mlruns"
    folder.mkdir()
    shutil.copyfile(empty_database, folder / "mlflow.db")
    data = Path(shutil.copytree(finished, folder.parent / "data"))
    keep_small(data, "adding-skipw", "adding-dense")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKIPW_MLRUNS", str(folder))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        register_front("adding", data, scale=SCALE, rates=RATES)
    return {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}


@pytest.fixture(scope="session")
def version(registry: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """``skipw serve`` on the registered SkipW model of window 5."""
    folder = tmp_path_factory.mktemp("served")
    limits = (
        "--max-body",
        "1000000",
        "--max-sequences",
        "100",
        "--max-inputs",
        "10000",
        "--body-timeout",
        "3",
    )
    with serving(folder, "models:/skipw-adding@cheapest", *limits, environment=registry) as server:
        yield server
