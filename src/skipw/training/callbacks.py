"""What happens after each validation: the history, the journal, the stop rules, the progress shown."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pandas as pd

from skipw.training.lightning_module import TrainingModule

__all__ = ["History", "Patience", "Progress", "StopRule", "write_history"]

log = logging.getLogger(__name__)
StopRule = Callable[[dict[str, float]], bool]


class History(pl.Callback):
    """One row a validation, kept in the checkpoint and handed to the logger; asks the stop rules.

    Where several processes train, each keeps the same rows; the first one's rules decide for all.

    Args:
        stop_rules: each is given the row after a validation and says whether training is over.
    """

    def __init__(self, stop_rules: list[StopRule]) -> None:
        self.rows: list[dict[str, float]] = []
        self.stop_rules = stop_rules
        self._over = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Killed between the checkpoint of the last validation and the end.
        if trainer.strategy.broadcast(self._over):
            trainer.should_stop = True

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        if trainer.sanity_checking:  # the look at what a training starts from is no row of its history
            return
        row = {"epoch": len(self.rows), "step": trainer.global_step, **pl_module.latest}
        row["seconds"] += self.rows[-1]["seconds"] if self.rows else 0.0
        self.rows.append(row)
        if trainer.logger is not None:
            values = {key: value for key, value in row.items() if key not in ("epoch", "step")}
            trainer.logger.log_metrics(values, step=trainer.global_step)
        verdicts = [rule(row) for rule in self.stop_rules]
        if trainer.strategy.broadcast(any(verdicts)):
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        return {"rows": [dict(row) for row in self.rows]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = [dict(row) for row in state_dict["rows"]]
        for row in self.rows:  # a rule that counts gets its count back
            verdicts = [rule(row) for rule in self.stop_rules]
            self._over = any(verdicts)


def write_history(rows: list[dict[str, float]], path: Path) -> None:
    """Write history.csv: a row a validation."""
    pd.DataFrame(rows).to_csv(path, index=False, float_format="%.7g")


class Patience:
    """A stop rule: true after ``limit`` validations in a row without a better ``val_objective``.

    Args:
        limit: validations to wait; None waits for ever.
        first_step: validations before this step don't count.
    """

    def __init__(self, limit: int | None, first_step: int = 0) -> None:
        self.limit = limit
        self.first_step = first_step
        self.best = math.inf
        self.waited = 0

    def __call__(self, row: dict[str, float]) -> bool:
        if self.limit is None or row["step"] < self.first_step:
            return False
        if row["val_objective"] < self.best:
            self.best, self.waited = row["val_objective"], 0
        else:
            self.waited += 1
        return self.waited >= self.limit


class Progress(pl.Callback):
    """A bar with the time left where stderr is a terminal and rich is there, else a log line per validation.

    Args:
        title: the experiment.
        steps: in all.
        metric: of the data set.
    """

    def __init__(self, title: str, steps: int, metric: str) -> None:
        self.title = title
        self.steps = steps
        self.metric = metric
        self.bar: Any = None
        self.task: Any = None
        self._started = (0, 0.0)
        self._drawn = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = (trainer.global_step, time.perf_counter())
        if sys.stderr.isatty():
            self.bar = _rich_bar()
        if self.bar is not None:
            self.task = self.bar.add_task(
                self.title, total=self.steps, completed=trainer.global_step, state=""
            )
            self.bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        now = time.perf_counter()
        if self.bar is not None and now - self._drawn > 0.2:
            self._drawn = now
            self.bar.update(self.task, completed=trainer.global_step)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        if trainer.sanity_checking:
            return
        latest = pl_module.latest
        value, inputs = latest[f"val_{self.metric}"], latest["val_inputs_processed"]
        state = f"val_{self.metric} {value:.4g}, inputs {inputs:.1%}"
        if self.bar is not None:
            self.bar.update(self.task, completed=trainer.global_step, state=state)
            return
        first, start = self._started
        done = max(1, trainer.global_step - first)
        left = (time.perf_counter() - start) / done * (self.steps - trainer.global_step)
        where = f"step {trainer.global_step} of {self.steps}"
        log.info("%s: %s, %s, %d s left", self.title, where, state, round(left))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.close()

    def on_exception(self, trainer: pl.Trainer, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def _rich_bar() -> Any:
    """A rich progress bar on stderr, or None where rich is absent."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress
    except ImportError:
        return None
    return RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[state]}"),
        console=Console(stderr=True),
    )
