"""Progress of long work: a bar with the time left on a terminal, else a log line now and then."""

from __future__ import annotations

import importlib.util
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

__all__ = ["Advance", "progress", "silent"]

log = logging.getLogger(__name__)

Advance: TypeAlias = Callable[[int], None]
"""Called with the number of units that were just done."""


def silent(amount: int) -> None:
    """An ``Advance`` that shows nothing."""


@contextmanager
def progress(description: str, total: int, seconds_between_lines: float = 30.0) -> Iterator[Advance]:
    """Show how far ``total`` units of work have come while the block runs.

    Args:
        description: what is being done.
        total: units of work, for example sequences.
        seconds_between_lines: how often a line is logged where there is no terminal.
    """
    if sys.stderr.isatty() and importlib.util.find_spec("rich") is not None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(description, total=total)
            yield lambda amount: bar.advance(task, amount)
        return
    yield _logged(description, total, seconds_between_lines)


def _logged(description: str, total: int, seconds_between_lines: float) -> Advance:
    start = last = time.monotonic()
    done = 0

    def advance(amount: int) -> None:
        nonlocal done, last
        done += amount
        now = time.monotonic()
        if now - last >= seconds_between_lines and done < total:
            last = now
            left = (now - start) / max(done, 1) * (total - done)
            log.info("%s: %.0f %%, about %.0f s left", description, 100 * done / total, left)

    return advance
