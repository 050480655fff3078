"""Which trials are done, running, waiting; and those whose worker died, put into the queue again."""

from __future__ import annotations

import logging
import time
import warnings
from dataclasses import dataclass

import optuna
from optuna import Study
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState

from skipw.studies.places import is_alive
from skipw.studies.storage import MAX_RETRIES

__all__ = ["FINISHED", "Counts", "count", "origin_of", "requeue_orphans", "surplus"]

log = logging.getLogger(__name__)
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)  # a trial that was stopped early is an answer too
NAMELESS = 60  # seconds after which a running trial without a worker's name counts as orphaned


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


def origin_of(trial: FrozenTrial) -> int:
    """The number of a trial, or of the one whose work it goes on with: both have one name and one checkpoint."""
    return int(trial.system_attrs.get("failed_trial", trial.number))


def surplus(study: Study, number: int, wanted: int) -> bool:
    """Whether a trial that was just begun is one too many: several machines may each take the last one."""
    others = study.get_trials(deepcopy=False, states=(*FINISHED, TrialState.RUNNING))
    return sum(trial.number < number for trial in others) >= wanted


def requeue_orphans(study: Study) -> list[int]:
    """Fail each running trial whose worker on this machine died, and put the same settings into the queue.

    The new trial goes on from the old one's last checkpoint. After ``MAX_RETRIES`` deaths it is given up. Trials
    of other machines are left to the database's heartbeat.

    Returns:
        the numbers of the orphans.
    """
    orphans = []
    retry = _retry()
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not _is_orphan(trial):
            continue
        try:
            study.tell(trial.number, state=TrialState.FAIL)
        except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
            continue  # another process was quicker
        retry(study, trial)
        orphans.append(trial.number)
        log.info("trial %d was left by its worker; it goes on from its checkpoint", trial.number)
    return orphans


def _retry() -> RetryHeartbeatStaleTrialCallback:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return RetryHeartbeatStaleTrialCallback(max_retry=MAX_RETRIES)


def _is_orphan(trial: FrozenTrial) -> bool:
    worker = trial.user_attrs.get("worker")
    if worker is None:  # killed between taking the trial and signing it
        began = trial.datetime_start
        return began is not None and time.time() - began.timestamp() > NAMELESS
    return is_alive(worker) is False
