"""Which trials are done, running, waiting; and those whose worker died, put into the queue again."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass

import optuna
from optuna import Study
from optuna.exceptions import ExperimentalWarning
from optuna.storages._heartbeat import is_heartbeat_enabled
from optuna.trial import FrozenTrial, TrialState

from skipw.studies.places import is_alive
from skipw.studies.retries import origin_of, return_trial

__all__ = ["FINISHED", "Counts", "count", "origin_of", "requeue_orphans", "surplus"]

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)  # a trial that was stopped early is an answer too
NAMELESS = 60  # seconds after which a running trial without a worker's name counts as orphaned
_NAMELESS: dict[int, float] = {}  # when this process first saw such a trial


@dataclass(frozen=True)
class Counts:
    """Trials of a study by state; ``failed`` are no answers, and others took their places."""

    complete: int
    stopped: int
    running: int
    waiting: int
    failed: int

    @property
    def finished(self) -> int:
        return self.complete + self.stopped


def count(study: Study) -> Counts:
    """The trials of a study by state."""
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    return Counts(
        complete=states.count(TrialState.COMPLETE),
        stopped=states.count(TrialState.PRUNED),
        running=states.count(TrialState.RUNNING),
        waiting=states.count(TrialState.WAITING),
        failed=states.count(TrialState.FAIL),
    )


def surplus(study: Study, number: int, wanted: int) -> bool:
    """Whether a trial that was just begun is one too many: several machines may each take the last one."""
    others = study.get_trials(deepcopy=False, states=(*FINISHED, TrialState.RUNNING))
    return sum(trial.number < number for trial in others) >= wanted


def requeue_orphans(study: Study) -> list[int]:
    """Fail each running trial whose worker died, and put the same settings into the queue.

    The new trial goes on from the old one's last checkpoint. After ``MAX_RETRIES`` deaths it is given up. A worker
    of this machine is known by its lock; those of others by their heartbeats, where the storage has them.

    Returns:
        the numbers of this machine's orphans.
    """
    shared = is_heartbeat_enabled(study._storage)
    if shared:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            optuna.storages.fail_stale_trials(study)
    orphans = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _is_orphan(trial, shared) and return_trial(study, trial):
            orphans.append(trial.number)
    return orphans


def _is_orphan(trial: FrozenTrial, shared: bool) -> bool:
    worker = trial.user_attrs.get("worker")
    if worker is not None:
        return is_alive(worker) is False
    # Killed between taking the trial and signing it.
    if shared:  # the clocks of several machines differ, and so do their time zones: this process's own counts
        return time.monotonic() - _NAMELESS.setdefault(trial._trial_id, time.monotonic()) > NAMELESS
    began = trial.datetime_start
    return began is not None and time.time() - began.timestamp() > NAMELESS
