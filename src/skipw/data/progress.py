"""Progress of long work: a bar with the time left on a terminal, otherwise a quiet line now and then."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

log = logging.getLogger(__name__)

QUIET_SECONDS = 20.0  # between two lines when stderr is not a terminal


@contextmanager
def track_bytes(title: str, total: int | None, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Yields a function that is told how many more bytes arrived."""
    with _track(title, total, done, is_bytes=True) as advance:
        yield advance


@contextmanager
def track_steps(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yields a function that is told how many more steps are done."""
    with _track(title, total, 0, is_bytes=False) as advance:
        yield advance


@contextmanager
def _track(title: str, total: int | None, done: int, *, is_bytes: bool) -> Iterator[Callable[[int], None]]:
    if sys.stderr.isatty() and find_spec("rich") is not None:
        with _bar(title, total, done, is_bytes=is_bytes) as advance:
            yield advance
        return
    state = {"done": done, "said": time.monotonic()}

    def quiet(count: int) -> None:
        state["done"] += count
        if time.monotonic() - state["said"] > QUIET_SECONDS:
            state["said"] = time.monotonic()
            share = f" ({100 * state['done'] / total:.0f} %)" if total else ""
            log.info("%s: %s%s", title, f"{state['done']:,}" + (" bytes" if is_bytes else ""), share)

    yield quiet


@contextmanager
def _bar(title: str, total: int | None, done: int, *, is_bytes: bool) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    counts = (DownloadColumn(), TransferSpeedColumn()) if is_bytes else (MofNCompleteColumn(),)
    columns = (TextColumn("{task.description}"), BarColumn(), *counts, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=total, completed=done)
        yield lambda count: progress.update(task, advance=count)
