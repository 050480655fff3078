"""A trial whose worker is gone goes back into the queue, with its settings, its name and its checkpoint."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial, TrialState

if TYPE_CHECKING:
    from optuna import Study

__all__ = ["MAX_RETRIES", "origin_of", "put_back", "return_trial"]

MAX_RETRIES = 3  # of one trial whose worker died
log = logging.getLogger(__name__)
OWN = ("worker",)  # attributes that belong to the worker, not to the trial


def origin_of(trial: FrozenTrial) -> int:
    """The number of a trial, or of the one whose work it goes on with: both have one name and one checkpoint."""
    return int(trial.system_attrs.get("failed_trial", trial.number))


def put_back(study: Study, trial: FrozenTrial, *, died: bool = True) -> None:
    """Queue a trial that goes on where a failed one ended; none after ``MAX_RETRIES`` deaths.

    The queued trial names no worker: until its new one has signed it, nobody may take it for an orphan.

    Args:
        study: of the trial.
        trial: the failed one.
        died: False if its worker was ended in order, which counts against no limit.
    """
    history = [*trial.system_attrs.get("retry_history", []), *([trial.number] if died else [])]
    if len(history) > MAX_RETRIES:
        log.warning("trial %d was left by its worker for the last time; others take its place", trial.number)
        return
    study.add_trial(
        optuna.create_trial(
            state=TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs={key: value for key, value in trial.user_attrs.items() if key not in OWN},
            system_attrs={
                **trial.system_attrs,
                "failed_trial": origin_of(trial),
                "retry_history": history,
            },
        )
    )
    log.info("trial %d was left by its worker; it goes on from its checkpoint", trial.number)


def return_trial(study: Study, trial: FrozenTrial, *, died: bool = True) -> bool:
    """Fail a running trial and queue it anew; False if another process was quicker."""
    try:
        study.tell(trial.number, state=TrialState.FAIL)
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
        return False
    put_back(study, trial, died=died)
    return True
