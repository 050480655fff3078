"""Which trials are done, running, waiting; and those whose worker died, put into the queue again."""

from __future__ import annotations

import logging
import time
import warnings
from dataclasses import dataclass

import optuna
from optuna import Study
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import FrozenTrial, TrialState

from skipw.studies.places import is_alive
from skipw.studies.retry import MAX_RETRIES, given_up, has_successor, origin_of, requeue

__all__ = ["FINISHED", "Counts", "count", "origin_of", "requeue_orphans", "surplus"]

log = logging.getLogger(__name__)
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


def surplus(study: Study, number: int, wanted: int) -> str | None:
    """Why a trial that was just begun is one too many; None if it is not.

    Several machines may each take the last one, or each find that the same trial was left by its worker.
    """
    others = [
        trial
        for trial in study.get_trials(deepcopy=False, states=(*FINISHED, TrialState.RUNNING))
        if trial.number < number
    ]
    if len(others) >= wanted:
        return "surplus: another machine took the last trial at the same time"
    origin = origin_of(study.get_trials(deepcopy=False)[number])
    twins = [trial.number for trial in others if origin_of(trial) == origin]
    return f"surplus: trial {twins[0]} is the same one" if twins else None


def requeue_orphans(study: Study) -> list[int]:
    """Fail each running trial whose worker died, and put the same settings into the queue.

    The new trial goes on from the old one's last checkpoint. After ``MAX_RETRIES`` deaths it is given up. A worker of
    this machine is known by its lock; those of others by their heartbeats, where the storage has them. Only one
    process of a machine may call this at a time: hold ``Places.claiming``.

    Returns:
        the numbers of this machine's orphans.
    """
    shared = isinstance(study._storage, BaseHeartbeat) and study._storage.get_heartbeat_interval() is not None
    if shared:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            optuna.storages.fail_stale_trials(study)
    orphans = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _is_orphan(trial, shared) and _fail(study, trial):
            orphans.append(trial.number)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.FAIL,)):
        # Failed above, or by a process that died before it came to the second half, or interrupted.
        if "reason" in trial.user_attrs or given_up(trial) or has_successor(study, trial):
            continue
        requeue(study, trial)
        log.info("trial %d was left by its worker; it goes on from its checkpoint", trial.number)
    return orphans


def _fail(study: Study, trial: FrozenTrial) -> bool:
    """Whether it was still there to be failed; another machine may have been quicker."""
    try:
        if given_up(trial):
            reason = f"given up: its worker died {MAX_RETRIES + 1} times"
            study._storage.set_trial_user_attr(trial._trial_id, "reason", reason)
            log.warning("trial %d: %s", trial.number, reason)
        study.tell(trial.number, state=TrialState.FAIL)
    except (ValueError, UpdateFinishedTrialError):
        return False
    return True


def _is_orphan(trial: FrozenTrial, shared: bool) -> bool:
    worker = trial.user_attrs.get("worker")
    if worker is not None:
        return is_alive(worker) is False
    # Killed between taking the trial and signing it.
    if shared:  # the clocks of several machines differ, and so do their time zones: this process's own counts
        return time.monotonic() - _NAMELESS.setdefault(trial._trial_id, time.monotonic()) > NAMELESS
    began = trial.datetime_start
    return began is not None and time.time() - began.timestamp() > NAMELESS
