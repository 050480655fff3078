"""Small prepared data sets, one of each kind, settings for them, and studies that take seconds."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skipw.params import Params, SearchSettings, load
from skipw.studies.outcome import Outcome
from skipw.studies.plan import Plan, make_plan
from skipw.studies.worker import WorkerSpec, work

PARAMS = """
scale: tiny
train:
  recipes:
    adding: {cell: lstm, hidden_size: 64, window: 8, batch_size: 64, steps: 20, val_every: 10}
    har: {cell: gru, hidden_size: 32, window: 4, batch_size: 32, learning_rate: 5.0e-3, gate_bias: 2.0}
evaluate:
  thresholds: {skipw: [0.4, 0.5], thrrnn: [0.5, 0.75]}
"""


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/prepared with a small adding and a small har: three classes, told by the slope of the inputs."""
    from skipw.data.adding import prepare_adding
    from skipw.data.normaliser import Normaliser
    from skipw.data.prepared import Split, save_prepared

    folder = tmp_path_factory.mktemp("data") / "prepared"
    prepare_adding(folder / "adding", seed=3, num_steps=12, train=96, val=20, test=20)
    rng = np.random.default_rng(5)

    def split(n: int) -> Split:
        targets = rng.integers(3, size=n)
        lengths = rng.integers(6, 13, size=n)
        time = np.arange(12, dtype=np.float32)[None, :, None] / 12
        inputs = rng.normal(0, 0.1, (n, 12, 3)) + (targets[:, None, None] - 1) * 2 * time
        inputs[np.arange(12) >= lengths[:, None]] = 0
        return Split(inputs.astype(np.float32), targets.astype(np.int64), lengths.astype(np.int64))

    meta = {
        "dataset": "har", "title": "Made for tests", "data_source": "generated", "task": "classification",
        "metric": "accuracy", "classes": ["falls", "rises", "stays"], "input_size": 3, "num_steps": 12,
        "normaliser": Normaliser("none", 3).to_json(), "vocabulary_size": 0, "embedding_size": 0,
        "preprocessing": {},
    }  # fmt: skip
    save_prepared(folder / "har", {"train": split(192), "val": split(48), "test": split(24)}, meta, {})
    return folder


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables are made once for all tests (seconds)."""
    from skipw.tracking import store

    database = tmp_path_factory.mktemp("database") / "mlflow.db"
    store._create_database(database, database.parent / "artifacts")
    return database


@pytest.fixture
def mlruns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Studies and MLflow's journal under the test's own folder; no other is touched."""
    folder = tmp_path / "mlruns"
    folder.mkdir()
    monkeypatch.setenv("SKIPW_MLRUNS", str(folder))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    elsewhere = tmp_path / "current"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    yield folder
    assert not list(elsewhere.iterdir()), "something was written into the current folder"


@pytest.fixture
def database(mlruns: Path, empty_database: Path) -> Path:
    """An empty journal of MLflow."""
    return Path(shutil.copyfile(empty_database, mlruns / "mlflow.db"))


class InThisProcess:
    """A crew of one, who works here as soon as it is started."""

    def __init__(self, spec: WorkerSpec, logs: Path) -> None:
        self.spec = spec

    def start(self, number: int) -> None:
        work(self.spec)

    def alive(self) -> int:
        return 0

    def deaths(self) -> list[str]:
        return []

    def stop(self) -> None:
        pass


@dataclass
class Lab:
    """Where a test's studies are made.

    Attributes:
        data: root of the outputs, with the prepared data sets.
        path: of params.yaml.
        journal: the file of its studies.
    """

    data: Path
    path: Path
    journal: Path

    @property
    def params(self) -> Params:
        return load(self.path)

    def search(self, **changes: Any) -> SearchSettings:
        values: dict[str, Any] = {"trials": 3, "epochs": 3.0, "validations": 3, "val_limit": None, **changes}
        return dataclasses.replace(SearchSettings(), **values)

    def plan(self, dataset: str = "har", **changes: Any) -> Plan:
        return make_plan(dataset, self.params, self.search(**changes), self.data)

    def study(self, plan: Plan, name: str | None = None) -> Any:
        from skipw.studies.storage import open_storage
        from skipw.studies.study import open_study

        return open_study(plan, open_storage(str(self.journal)), name)

    def spec(self, plan: Plan, *, tracking: bool = False) -> WorkerSpec:
        return WorkerSpec(
            storage=str(self.journal),
            study=plan.study_name,
            dataset=plan.dataset,
            params=str(self.path),
            data=str(self.data),
            search=dataclasses.asdict(plan.search),
            tracking=tracking,
        )

    def work(self, plan: Plan, *, tracking: bool = False) -> Any:
        """Run trials here until there are enough; the study."""
        study = self.study(plan)
        work(self.spec(plan, tracking=tracking))
        return study

    def run(
        self, dataset: str = "har", *, tracking: bool = False, crew: Any = InThisProcess, **changes: Any
    ) -> Outcome:
        """A whole search."""
        from skipw.studies.search import run_search

        return run_search(
            dataset, self.params, self.path, self.search(**changes), self.data,
            storage=str(self.journal), tracking=tracking, crew=crew,
        )  # fmt: skip


@pytest.fixture
def lab(prepared: Path, mlruns: Path, tmp_path: Path) -> Lab:
    data = tmp_path / "data"
    shutil.copytree(prepared, data / "prepared")
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS)
    return Lab(data, path, mlruns / "study.journal")


@pytest.fixture
def quick_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A launcher that looks at its study more often."""
    monkeypatch.setattr("skipw.studies.search.LOOK", 0.05)


Killer = Callable[[int, int], None]


class Killed(BaseException):
    """What a test raises in SIGKILL's place: no handler for errors catches it."""
