"""How far a study is: a live screen on a terminal, a line a finished trial elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from optuna import Study
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from skipw.studies.backlog import FINISHED
from skipw.studies.outcome import Outcome, read_outcome

__all__ = ["Display", "brief", "clock", "result_text"]

log = logging.getLogger(__name__)


class Display:
    """Shows trials done, the front's hypervolume and the time left while the block runs.

    Args:
        study: that runs.
        wanted: finished trials in all.
        console: where to; stderr by default.
    """

    def __init__(self, study: Study, wanted: int, console: Console | None = None) -> None:
        self._study, self._wanted = study, wanted
        self._console = console or Console(stderr=True)
        self._begun = time.monotonic()
        self._known: set[int] | None = None
        self._at_start = 0
        self._outcome: Outcome | None = None
        self._live: Live | None = None

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=2, get_renderable=self._screen)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def update(self) -> int:
        """Look at the study; returns how many trials have finished."""
        done = {trial.number: trial for trial in self._study.get_trials(deepcopy=False, states=FINISHED)}
        if self._known is None:
            self._known, self._at_start = set(done), len(done)
        new = [done[number] for number in sorted(done.keys() - self._known)]
        if new or self._outcome is None:
            self._outcome = read_outcome(self._study)
        before = len(self._known)
        self._known |= done.keys()
        for place, trial in enumerate(new, start=before + 1):
            self._say(trial, place)
        return len(done)

    def seconds_left(self) -> float | None:
        """From the pace since this began; None before its first trial has finished."""
        assert self._known is not None
        here = len(self._known) - self._at_start
        if here == 0:
            return None
        return (time.monotonic() - self._begun) / here * max(0, self._wanted - len(self._known))

    def _say(self, trial: FrozenTrial, done: int) -> None:
        assert self._outcome is not None
        left = self.seconds_left()
        rest = "" if left is None else f", about {clock(left)} left"
        line = f"trial {trial.number}: {result_text(trial, self._outcome.metric)} | {brief(trial.params)}"
        volume = f"hypervolume {self._outcome.hypervolume:.4f}"
        if self._live is not None:
            self._console.print(Text(line, no_wrap=True, overflow="ellipsis"))
        else:
            log.info("%s | %d of %d, %s%s", line, done, self._wanted, volume, rest)

    def _screen(self) -> Group:
        done = len(self._known or ())
        head = Table.grid(padding=(0, 1))
        outcome = self._outcome
        left = self.seconds_left() if outcome is not None else None
        rest = "" if left is None else f", about {clock(left)} left"
        figures = ""
        if outcome is not None:
            figures = (
                f"front of {int(outcome.points['front'].sum())} points, hypervolume {outcome.hypervolume:.4f}"
            )
        bar = ProgressBar(total=self._wanted, completed=min(done, self._wanted), width=30)
        elapsed = clock(time.monotonic() - self._begun)
        head.add_row(bar, f"{done} of {self._wanted} trials, {elapsed}{rest}; {figures}")
        running = Table.grid(padding=(0, 1))
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            since = (
                "" if trial.datetime_start is None else clock(time.time() - trial.datetime_start.timestamp())
            )
            text = Text(brief(trial.params), no_wrap=True, overflow="ellipsis", style="dim")
            running.add_row(Text(f"trial {trial.number}", style="bold cyan", no_wrap=True), since, text)
        return Group(head, running)


def result_text(trial: FrozenTrial, metric: str) -> str:
    """What a finished trial gave, or why it was stopped."""
    if trial.state != TrialState.COMPLETE:
        return str(trial.user_attrs.get("reason", "stopped"))
    error, inputs = trial.values
    value = f"{1 - error:.1%}" if metric == "accuracy" else f"MSE {error:.3g}"
    return f"{value} with {inputs:.1%} of the inputs"


def brief(params: Mapping[str, Any]) -> str:
    """A trial's settings in a few words: ``skipw gru 2x64, L 8, λ 1.2e-03, batch 64, rate 3.0e-03``."""
    parts = []
    if "model" in params:
        layers = params.get("num_layers", 1)
        width = params.get("hidden_size", "")
        shape = f"{layers}x{width}" if layers != 1 else f"{width}"
        parts.append(f"{params['model']} {params.get('cell', '')} {shape}".strip())
    if "window" in params:
        parts.append(f"L {params['window']}")
    if "cost_per_input" in params:
        parts.append(f"λ {params['cost_per_input']:.1e}")
    if "batch_size" in params:
        parts.append(f"batch {params['batch_size']}")
    if "learning_rate" in params:
        parts.append(f"rate {params['learning_rate']:.1e}")
    return ", ".join(parts)


def clock(seconds: float) -> str:
    """``75`` -> ``1:15``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
