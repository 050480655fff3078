"""Workers on a Dask cluster: what ``crew`` does on one machine, on as many as a scheduler knows.

A task of the cluster starts one worker as a process of its node, waits for it, and ends it when told to: a thread
can't be ended, a process can. The process is tied to the task's, so it ends when its node's Dask worker is killed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from skipw.studies.errors import StudyError
from skipw.studies.node import run_worker
from skipw.studies.worker import PATIENCE, WorkerSpec
from skipw.tracking.store import mlruns_folder

if TYPE_CHECKING:
    from distributed import Client, Event, Future

__all__ = ["DaskCrew"]

log = logging.getLogger(__name__)
PASSED_ON = ("MLFLOW_TRACKING_URI", "SKIPW_HEARTBEAT")
TIMEOUT = 10  # seconds, of connecting
LOST = (OSError, RuntimeError, TimeoutError)  # what distributed raises where the scheduler is gone


class DaskCrew:
    """A task of a Dask cluster for each worker.

    A task whose node dies is run again elsewhere by the cluster itself. Nodes need this package, the prepared data
    at the launcher's path, and a database as storage; ``params.yaml`` travels with the task. Each of a node's GPUs
    goes to one task before any gets a second.

    Args:
        address: of the scheduler, ``tcp://host:8786`` (or ``tls://``).
        spec: what the workers are told.
        logs: ignored; each node keeps its workers' output in its own ``mlruns`` folder.
    Raises:
        StudyError: Dask is not installed, or the scheduler can't be reached.
    """

    def __init__(self, address: str, spec: WorkerSpec, logs: Path) -> None:
        self._address = address
        self._client = _connect(address)
        self._name = f"skipw-{spec.study}-{uuid4().hex[:8]}"
        self._stop = self._event("stop")
        self._running: dict[Future, Event] = {}
        self._started = 0
        self._order = {
            "spec": dataclasses.asdict(spec),
            "params": Path(spec.params).read_text(encoding="utf-8"),
            "host": socket.gethostname(),
            "mlruns": str(mlruns_folder()),
            "environment": {name: os.environ[name] for name in PASSED_ON if os.environ.get(name)},
            "stop": self._stop.name,
        }
        if not self._client.scheduler_info()["workers"]:
            log.warning("the cluster at %s has no workers yet; trials begin when some join", address)

    def start(self, number: int) -> None:
        """Submit so many tasks.

        Raises:
            StudyError: the scheduler is gone.
        """
        for _ in range(number):
            begun = self._event(f"begun-{self._started}")
            order = {**self._order, "begun": begun.name}
            try:
                task = self._client.submit(run_worker, order, key=f"{self._name}-{self._started}", pure=False)
            except LOST as error:
                raise StudyError(self._gone(error)) from error
            self._running[task] = begun
            self._started += 1

    def alive(self) -> int:
        return sum(not task.done() for task in self._running)

    def deaths(self) -> list[str]:
        """Why tasks ended that should not have, since the last call.

        Raises:
            StudyError: the package is missing on a node, or the scheduler is gone.
        """
        reasons = []
        for task in [task for task in self._running if task.done()]:
            del self._running[task]
            match task.status:
                case "finished":
                    reason = self._result(task)
                case "error":
                    reason = self._failure(task)
                case _:
                    raise StudyError(self._gone(f"a task is {task.status}"))
            if reason is not None:
                reasons.append(reason)
        return reasons

    def stop(self) -> None:
        """End all workers; waits until they have left their checkpoints. Tasks not yet begun are withdrawn."""
        try:
            self._stop.set()
            waiting = [
                task for task, begun in self._running.items() if not task.done() and not begun.is_set()
            ]
            if waiting:
                self._client.cancel(waiting)
            limit = time.monotonic() + PATIENCE + 10
            while self.alive() and time.monotonic() < limit:
                time.sleep(0.1)
            for begun in self._running.values():
                begun.clear()
            if not self.alive():
                self._stop.clear()
        except LOST as error:
            log.warning("%s", self._gone(error))
        finally:
            self._running.clear()
            with contextlib.suppress(*LOST):
                self._client.close(timeout=TIMEOUT)

    def _event(self, name: str) -> Event:
        from distributed import Event

        return Event(f"{self._name}-{name}", client=self._client)

    def _result(self, task: Future) -> str | None:
        try:
            answer: Any = task.result(timeout=TIMEOUT)
        except LOST as error:  # its node died with the answer; the trials are in the study
            log.debug("a worker's answer was lost: %s", error)
            return None
        return None if answer is None else str(answer)

    def _failure(self, task: Future) -> str:
        error = task.exception(timeout=TIMEOUT)
        if isinstance(error, ImportError):
            raise StudyError(
                f"a node of the cluster says: {error}; install skipw[train,pipeline,cluster] on it."
            )
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"

    def _gone(self, error: object) -> str:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        return f"the cluster at {self._address} is gone ({reason}); start it again, then the same command goes on."


def _connect(address: str) -> Client:
    try:
        from distributed import Client
    except ImportError as error:
        raise StudyError(
            f"a cluster needs Dask ({error}); install it: pip install 'skipw[cluster]'."
        ) from error
    try:
        return Client(address, timeout=TIMEOUT, set_as_default=False)
    except (*LOST, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise StudyError(
            f"no Dask scheduler answers at {address} ({reason}); expected tcp://HOST:8786, which `dask scheduler` "
            "prints when it starts."
        ) from error
