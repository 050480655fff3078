"""A Lightning logger that writes to MLflow in batches, instead of 23 ms a metric."""

from __future__ import annotations

import logging
import math
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import lightning.pytorch as pl
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from skipw.tracking.store import Store

__all__ = ["RunLogger"]

log = logging.getLogger(__name__)
FINAL_STATUS = {"success": "FINISHED", "failed": "FAILED", "aborted": "KILLED"}


class RunLogger(pl.loggers.Logger):
    """Logs the metrics of one MLflow run.

    A journal that can't be written (a full disk, a server that is down) never stops a training: what is lost
    is said once, and history.csv has it all.

    Args:
        store: the journal.
        run_id: an open run.
        dataset: shown as the logger's name.
        interval: least time between two writes, in s.
    """

    def __init__(self, store: Store, run_id: str, dataset: str, *, interval: float = 2.0) -> None:
        super().__init__()
        self._store = store
        self._run_id = run_id
        self._dataset = dataset
        self._interval = interval
        self._pending: list[Metric] = []
        self._written_until: dict[str, int] = {}
        self._last_write = time.monotonic()
        self._lost = 0
        self._closed = False

    @property
    def name(self) -> str:
        return self._dataset

    @property
    def version(self) -> str:
        return self._run_id

    @property
    def run_id(self) -> str:
        """The MLflow run's id."""
        return self._run_id

    @property
    def experiment(self) -> Any:
        """The MLflow client, as in Lightning's own logger."""
        return self._store.client

    def skip_written(self, keys: list[str]) -> None:
        """Drop metrics of steps that a former process wrote already (a resumed training repeats a few)."""
        client = self._store.client
        for key in keys:
            history = client.get_metric_history(self._run_id, key)
            self._written_until[key] = max((point.step for point in history), default=-1)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the settings were logged when the run was opened."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Queue numbers, except those that are not finite; they are written every ``interval`` at most."""
        now = int(time.time() * 1000)
        place = 0 if step is None else int(step)
        for key, value in metrics.items():
            number = float(value)
            if math.isfinite(number) and place > self._written_until.get(key, -1):
                self._pending.append(Metric(key, number, now, place))
        self.save()

    def save(self) -> None:
        """Write what is queued if the last write was long ago (Lightning calls this after each step)."""
        if time.monotonic() - self._last_write >= self._interval:
            self._write()

    def finalize(self, status: str) -> None:
        """Write what is left and close the run: "success" finishes it, "failed" fails it."""
        self._write()
        if self._lost:
            log.warning("%d numbers of this run are missing in MLflow; history.csv has them", self._lost)
        if self._closed:
            return
        final = FINAL_STATUS.get(status, "FAILED")
        client, run_id = self._store.client, self._run_id
        self._closed = self._attempt("the end of the run", lambda: client.set_terminated(run_id, final))

    def _write(self) -> None:
        metrics, self._pending = self._pending, []
        self._last_write = time.monotonic()
        for start in range(0, len(metrics), 1000):  # the most that one call takes
            part = metrics[start : start + 1000]
            written = self._attempt("metrics", partial(self._log, part))
            self._lost += 0 if written else len(part)

    def _log(self, metrics: list[Metric]) -> None:
        self._store.client.log_batch(self._run_id, metrics=metrics)

    def _attempt(self, what: str, action: Callable[[], Any]) -> bool:
        try:
            action()
        except (MlflowException, OSError) as error:
            log.warning("MLflow did not take %s, training goes on: %s", what, str(error).splitlines()[0])
            return False
        return True
