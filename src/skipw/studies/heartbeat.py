"""Storages in which running trials give signs of life, so that a dead machine's trials are found by others.

Optuna calls ``record_heartbeat`` from a thread of the worker while a trial runs, and asks for stale trials before
each new one.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import GrpcStorageProxy, RDBStorage
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import FrozenTrial, TrialState

from skipw.studies.places import is_alive
from skipw.studies.retry import requeue

if TYPE_CHECKING:
    from optuna import Study

__all__ = ["GRACE", "HEARTBEAT", "Database", "Proxy"]

log = logging.getLogger(__name__)
#: Seconds between two signs of life of a trial; the same for all machines of a study.
HEARTBEAT = int(os.environ.get("SKIPW_HEARTBEAT", "10"))
GRACE = 6 * HEARTBEAT  # seconds without one after which a trial's worker counts as dead
SIGN = "heartbeat"


class Database(RDBStorage):
    """A database. The server's clock tells when a sign of life is too old, whatever the machines' clocks say.

    A trial whose process can be seen alive on this machine is never stale: a laptop that slept wakes up late.
    """

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        with _experimental():
            super().__init__(
                url,
                engine_kwargs=options,
                heartbeat_interval=HEARTBEAT,
                grace_period=GRACE,
                heartbeat_stale_trial_callback=requeue,
            )

    def record_heartbeat(self, trial_id: int) -> None:
        with _tolerant():
            super().record_heartbeat(trial_id)

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        stale = super()._get_stale_trial_ids(study_id)
        return [number for number in stale if not _seen_alive(self.get_trial(number))]


class Proxy(GrpcStorageProxy, BaseHeartbeat):
    """Optuna's gRPC proxy, which passes no heartbeats on: here they are an attribute of the trial.

    A trial is stale when this process has seen no change of it for ``GRACE`` seconds of its own clock.

    Args:
        host: of the proxy.
        port: of the proxy.
    """

    def __init__(self, *, host: str, port: int) -> None:
        with _experimental():
            super().__init__(host=host, port=port)
        self._seen: dict[int, tuple[Any, float]] = {}

    def record_heartbeat(self, trial_id: int) -> None:
        with _tolerant():
            self.set_trial_system_attr(trial_id, SIGN, time.time())

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        now = time.monotonic()
        before, self._seen = self._seen, {}
        stale = []
        for trial in self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,)):
            sign = trial.system_attrs.get(SIGN)
            known, since = before.get(trial._trial_id, (None, now))
            since = since if known == sign else now
            self._seen[trial._trial_id] = (sign, since)
            if now - since > GRACE and not _seen_alive(trial):
                stale.append(trial._trial_id)
        return stale

    def get_heartbeat_interval(self) -> int:
        return HEARTBEAT

    def get_heartbeat_stale_trial_callback(self) -> Callable[[Study, FrozenTrial], None]:
        return requeue


@contextmanager
def _experimental() -> Iterator[None]:
    """Optuna calls heartbeats and its proxy experimental; that they work is for our tests to say."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


@contextmanager
def _tolerant() -> Iterator[None]:
    """A sign that could not be given is given next time; an error would end the thread that gives them."""
    try:
        yield
    except UpdateFinishedTrialError:  # others took the trial for dead
        log.debug("a sign of life came too late")
    except Exception as error:
        log.warning("no sign of life could be given: %s", " ".join(str(error).split())[:200])


def _seen_alive(trial: FrozenTrial) -> bool:
    return is_alive(trial.user_attrs.get("worker", {})) is True
