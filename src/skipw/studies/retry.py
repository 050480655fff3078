"""A trial whose worker died is tried again: another trial with the same settings goes on from its checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

if TYPE_CHECKING:
    from optuna import Study

__all__ = [
    "LET_GO",
    "MAX_RETRIES",
    "given_up",
    "has_successor",
    "is_retry",
    "origin_of",
    "place_of",
    "requeue",
]

MAX_RETRIES = 3  # of one trial whose worker died
ORIGIN, HISTORY, DEATHS = (
    "failed_trial",
    "retry_history",
    "deaths",
)  # system attributes; the first two are Optuna's
LET_GO = "let_go"  # user attribute of a trial whose worker was ended in order
#: What a trial hands on to the next one. Never its worker: the next one would look as if it had died already.
KEPT = ("experiment", "init_from", "settings", "run_id")


def origin_of(trial: FrozenTrial) -> int:
    """The number of a trial, or of the one whose work it goes on with: both have one name and one checkpoint."""
    return int(trial.system_attrs.get(ORIGIN, trial.number))


def is_retry(trial: FrozenTrial) -> bool:
    """Whether a trial goes on with another one's work."""
    return ORIGIN in trial.system_attrs


def place_of(study: Study, trial: FrozenTrial) -> int:
    """How many trials came before this one, or before the one that it goes on with, retries not counted.

    Unlike a trial's number it is the same whether or not the study was ever killed.
    """
    origin = origin_of(trial)
    trials = study.get_trials(deepcopy=False)
    return sum(other.number < origin and not is_retry(other) for other in trials)


def has_successor(study: Study, trial: FrozenTrial) -> bool:
    """Whether another trial goes on with this one's work."""
    trials = study.get_trials(deepcopy=False)
    return any(other.system_attrs.get(HISTORY, [None])[-1] == trial.number for other in trials)


def given_up(trial: FrozenTrial) -> bool:
    """Whether this trial's workers died too often; one that was ended in order (Ctrl-C) does not count."""
    return _deaths(trial) > MAX_RETRIES


def _deaths(trial: FrozenTrial) -> int:
    return int(trial.system_attrs.get(DEATHS, 0)) + (not trial.user_attrs.get(LET_GO, False))


def requeue(study: Study, trial: FrozenTrial) -> None:
    """Put a trial that was left by its worker into the queue again, unless it was too often.

    One that was killed before all its settings were drawn draws them anew.
    """
    if given_up(trial):
        return
    drawn = "settings" in trial.user_attrs
    system: dict[str, Any] = {
        **trial.system_attrs,
        ORIGIN: origin_of(trial),
        HISTORY: [*trial.system_attrs.get(HISTORY, []), trial.number],
        DEATHS: _deaths(trial),
    }
    study.add_trial(
        optuna.create_trial(
            state=TrialState.WAITING,
            params=trial.params if drawn else {},
            distributions=trial.distributions if drawn else {},
            user_attrs={key: value for key, value in trial.user_attrs.items() if key in KEPT},
            system_attrs=system,
        )
    )
