"""A study on a Dask cluster of this machine; everything that takes part in it is killed once."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from skipw.studies.errors import StudyError
from skipw.studies.node import _environment, _gpu
from skipw.studies.worker import WorkerSpec
from tests.studies import small_study

distributed = pytest.importorskip("distributed", reason="pip install 'skipw[cluster]'")
LAUNCHER = "import json, sys; from tests.studies.test_cluster import launch; launch(*json.loads(sys.argv[1]))"


@pytest.fixture(scope="module")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One folder for all tests: a node that was started anew has the environment of that moment."""
    folder = tmp_path_factory.mktemp("cluster") / "mlruns"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKIPW_MLRUNS", str(folder))
        yield folder


@pytest.fixture(scope="module")
def cluster(mlruns: Path) -> Iterator[Any]:
    """A scheduler and two worker processes on the loopback, one task each at a time."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    ) as made:
        yield made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return small_study.prepare(tmp_path / "data")


def launch(address: str, data: str, storage: str, trials: int) -> Any:
    from skipw.studies.cluster import DaskCrew

    search = small_study.settings(trials=trials, epochs=10.0)  # some seconds each: time to be killed in
    return small_study.run(Path(data), storage, search, crew=functools.partial(DaskCrew, address))


def kill_node(trial: Any) -> None:
    """SIGKILL to the Dask worker whose task runs a trial, not to the trial's own process."""
    psutil.Process(trial.user_attrs["worker"]["pid"]).parent().kill()


@pytest.mark.slow
def test_launcher_and_node_are_killed(cluster: Any, mlruns: Path, data: Path, tmp_path: Path) -> None:
    storage = str(tmp_path / "study.journal")
    arguments = json.dumps([cluster.scheduler_address, str(data), storage, 6])
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, arguments], cwd=small_study.PARAMS.parent)
    first = small_study.InMidTrial(storage, mlruns, lambda _: launcher.kill())
    assert launcher.wait(180) == -signal.SIGKILL
    first.join()
    second = small_study.InMidTrial(storage, mlruns, kill_node, done=0.5)
    outcome = launch(cluster.scheduler_address, str(data), storage, 6)
    second.join(1)
    trials = small_study.trials_of(storage)
    states = [trial.state.name for trial in trials]
    assert second.trial is not None
    killed = trials[second.trial.number]
    assert outcome.counts.finished == len(outcome.trials) == 6
    assert states.count("RUNNING") == states.count("WAITING") == 0
    assert killed.state.name == "FAIL"
    names = [t.user_attrs["experiment"] for t in trials if t.state.name in ("COMPLETE", "PRUNED")]
    assert killed.user_attrs["experiment"] in names and len(set(names)) == 6
    log = "".join(path.read_text() for path in mlruns.glob("studies/small/workers/*.log"))
    assert "going on from the checkpoint" in log


@pytest.mark.slow
def test_stop_ends_processes_and_returns_their_trials(
    cluster: Any, mlruns: Path, data: Path, tmp_path: Path
) -> None:
    """Models of the same names lie there, from the study of the test before; they are no answers to this one."""
    from skipw.params import load
    from skipw.studies.cluster import DaskCrew
    from skipw.studies.plan import make_plan
    from skipw.studies.storage import open_storage
    from skipw.studies.study import open_study

    search = small_study.settings(epochs=3000.0, validations=1500)
    storage = str(tmp_path / "study.journal")
    open_study(
        make_plan("adding", load(small_study.PARAMS), search, data), open_storage(storage), small_study.STUDY
    )
    crew = DaskCrew(cluster.scheduler_address, _spec(storage, data, search), tmp_path)
    begun = small_study.InMidTrial(storage, mlruns, lambda _: None)
    crew.start(3)  # one more than there are slots
    begun.join()
    assert crew.alive() == 3 and crew.deaths() == []
    start = time.monotonic()
    crew.stop()
    assert time.monotonic() - start < 25 and crew.alive() == 0
    trials = small_study.trials_of(storage)
    assert {trial.state.name for trial in trials} <= {"FAIL", "WAITING"}
    again = trials[-1]
    assert again.state.name == "WAITING" and again.system_attrs["deaths"] == 0
    assert not psutil.pid_exists(begun.trial.user_attrs["worker"]["pid"])


def test_bad_settings_end_the_study(cluster: Any, data: Path, tmp_path: Path) -> None:
    from skipw.studies.cluster import DaskCrew

    spec = _spec("grpc://nobody", data, small_study.settings())
    crew = DaskCrew(cluster.scheduler_address, spec, tmp_path)
    crew.start(1)
    while crew.alive():
        time.sleep(0.1)
    assert crew.deaths() == ["exit status 1: worker: expected grpc://HOST:PORT, got 'grpc://nobody'."]
    crew.stop()


def test_no_scheduler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from skipw.studies import cluster

    monkeypatch.setattr(cluster, "TIMEOUT", 1)
    with pytest.raises(StudyError, match="no Dask scheduler answers at tcp://127.0.0.1:9"):
        cluster.DaskCrew("tcp://127.0.0.1:9", _spec("x", tmp_path, small_study.settings()), tmp_path)


def test_dask_is_absent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from skipw.studies.cluster import DaskCrew

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(StudyError, match=r"pip install 'skipw\[cluster\]'"):
        DaskCrew("tcp://127.0.0.1:9", _spec("x", tmp_path, small_study.settings()), tmp_path)


def test_gpus_are_shared_out_evenly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with _gpu() as first:
        with _gpu() as second, _gpu() as third:
            assert {first, second} == {"0", "1"} and third == "0"
        with _gpu() as fourth:
            assert fourth == second
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with _gpu() as none:
        assert none is None


def test_environment_of_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.delenv("SKIPW_MLRUNS", raising=False)
    order = {"environment": {"MLFLOW_TRACKING_URI": "http://there"}, "mlruns": "/launcher/mlruns"}
    ours = _environment(order, "1")
    assert "SLURM_NTASKS" not in ours and ours["CUDA_VISIBLE_DEVICES"] == "1"
    assert ours["MLFLOW_TRACKING_URI"] == "http://there" and ours["SKIPW_MLRUNS"] == "/launcher/mlruns"
    monkeypatch.setenv("SKIPW_MLRUNS", "/node/mlruns")
    assert _environment(order, None)["SKIPW_MLRUNS"] == "/node/mlruns"
    assert os.environ["SLURM_NTASKS"] == "4"


def _spec(storage: str, data: Path, search: Any) -> WorkerSpec:
    return WorkerSpec(
        storage=storage,
        study=small_study.STUDY,
        dataset="adding",
        params=str(small_study.PARAMS),
        data=str(data),
        search=dataclasses.asdict(search),
        tracking=False,
    )
