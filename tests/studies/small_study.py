"""A small study that tests run for real: little data, short trials, several validations each."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from skipw.data.adding import prepare_adding
from skipw.params import Params, SearchSettings
from skipw.studies.storage import open_storage

STUDY = "small"
PARAMS = Path(__file__).parents[2] / "params.yaml"


def prepare(folder: Path) -> Path:
    """A root of outputs with a little Adding Task in it."""
    prepare_adding(folder / "prepared" / "adding", seed=3, num_steps=20, train=320, val=100, test=125)
    return folder


def settings(**changes: Any) -> SearchSettings:
    """Six trials of one model that take a few seconds each."""
    values: dict[str, Any] = {
        "trials": 6,
        "epochs": 2.0,
        "models": ("skipw",),
        "sampler": "random",
        "warm_start": False,
        "stop_early": False,
        "validations": 6,
        "workers": 2,
        **changes,
    }
    return SearchSettings(**values)


def run(data: Path, storage: str, search: SearchSettings, params: Params | None = None, **more: Any) -> Any:
    """``run_search`` of the small study, without MLflow."""
    from skipw.params import load
    from skipw.studies.search import run_search

    params = params or load(PARAMS)
    return run_search(
        "adding", params, PARAMS, search, data, storage=storage, study_name=STUDY, tracking=False, **more
    )


def trials_of(storage: str) -> list[Any]:
    """All trials; none as long as there is no study."""
    import optuna

    try:
        return optuna.load_study(storage=open_storage(storage), study_name=STUDY).get_trials(deepcopy=False)
    except KeyError:
        return []


class InMidTrial(threading.Thread):
    """Waits until a trial has left a checkpoint while it runs, then calls a function with that trial.

    The trial's process stands still meanwhile, so that the trial can't end first.

    Args:
        storage: of the study.
        mlruns: the folder with the unfinished trainings.
        action: what to do.
        done: at most this share of the training; one that is nearly through, and goes on afterwards, could end and
            clear its checkpoint away before it hears what became of it.
    """

    def __init__(
        self, storage: str, mlruns: Path, action: Callable[[Any], None], *, done: float = 1.0
    ) -> None:
        super().__init__(daemon=True)
        self._storage, self._mlruns, self._action, self._done = storage, mlruns, action, done
        self.trial: Any = None
        self.start()

    def run(self) -> None:
        end = time.monotonic() + 180
        while time.monotonic() < end and self.trial is None:
            self._watch([trial for trial in trials_of(self._storage) if trial.state.name == "RUNNING"])

    def _watch(self, trials: list[Any]) -> None:
        """Look for these trials' checkpoints for a moment, far oftener than a storage can be asked.

        A trial of a second has its checkpoints for half of it, and a busy machine takes as long for one question.
        """
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            for trial in trials:
                if self._has_checkpoint(trial):
                    self._catch(trial)
                    return
            time.sleep(0.005)

    def _catch(self, trial: Any) -> None:
        """Hold the trial's process, act if the trial still runs, let the process go on."""
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(trial.user_attrs["worker"]["pid"])
            process.suspend()
            running = trials_of(self._storage)[trial.number].state.name == "RUNNING"
            if running and self._share_done(trial) <= self._done:
                self.trial = trial
                self._action(trial)
            process.resume()

    def _has_checkpoint(self, trial: Any) -> bool:
        return bool(self._checkpoints(trial))

    def _checkpoints(self, trial: Any) -> list[Path]:
        name = trial.user_attrs.get("experiment", "no name yet")
        return list(self._mlruns.glob(f"studies/{STUDY}/unfinished/{name}-*/last.ckpt"))

    def _share_done(self, trial: Any) -> float:
        """Of the training's steps, by its checkpoint; infinite where that is gone or half written."""
        import torch

        try:
            (path,) = self._checkpoints(trial)
            step = torch.load(path, weights_only=True, map_location="cpu")["global_step"]
        except (ValueError, OSError, RuntimeError, EOFError, pickle.UnpicklingError):
            return float("inf")
        return float(step) / trial.user_attrs["settings"]["steps"]


def kill_worker(trial: Any) -> None:
    """SIGKILL to the process that runs a trial."""
    os.kill(trial.user_attrs["worker"]["pid"], signal.SIGKILL)
