"""Start the processes that train together, serve them, and end them all whatever happens.

The training itself is Lightning's: its DDP strategy in each process, as under torchrun. The processes are started
here and not by Lightning, because ``fit`` is a function with a logger and a stop rule, called from a stage, a search
or a notebook. Lightning's ``ddp`` starts the script of ``sys.argv`` again in each process, whatever called ``fit``;
``ddp_spawn`` has to pickle the logger and the stop rule, which hold databases and closures, and loses what they
remember; ``ddp_fork`` can't be used once a GPU has been. Here logger and stop rule stay where they are, and the
first process asks for them.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import multiprocessing.connection
import signal
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Lock
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skipw.errors import SkipWError
from skipw.training.callbacks import StopRule
from skipw.training.rank import KILL_WAIT, Rank, take_part
from skipw.training.running import Job, terminated

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

__all__ = ["RankError", "train_on_ranks"]

END_WAIT = 20.0  # seconds that a process may take to end after its last word
BLAME_WAIT = 2.0  # seconds in which the process whose end made others fail may still be heard of


class RankError(SkipWError, RuntimeError):
    """One of the processes that train together ended otherwise than it should."""


@dataclass
class _Worker:
    """A process as its beginner sees it; ``failure`` is what it said, or its exit code if it said nothing."""

    rank: int
    process: SpawnProcess
    pipe: Connection
    rows: list[dict[str, float]] | None = None
    failure: SkipWError | int | str | None = None
    silent: bool = field(default=False)


def train_on_ranks(job: Job, *, logger: Logger | None, stop_rule: StopRule | None) -> list[dict[str, float]]:
    """``running.train`` in ``job.settings.devices`` processes, each with one device.

    Returns:
        The rows of all validations; the weights of the best are in ``best.ckpt`` in ``job.unfinished``.
    Raises:
        DivergedError: if the loss or its gradient is not finite.
        RankError: if a process was killed or failed. The others are ended, the last checkpoint stays.
        SystemExit: with code 143 after SIGTERM; the checkpoint stays.
    """
    context = multiprocessing.get_context("spawn")
    writing = context.Lock()
    workers: list[_Worker] = []
    with tempfile.TemporaryDirectory(prefix="skipw-") as folder, _raised_at_sigterm(job):
        try:
            for number in range(job.settings.devices):
                level = logging.getLogger("skipw").getEffectiveLevel()
                rank = Rank(number, job, Path(folder) / "meeting", level)
                workers.append(_start(context, rank, writing))
            rows = _serve(workers, job, logger, stop_rule)
            for worker in workers:
                worker.process.join(END_WAIT)
            return rows
        except BaseException:
            if logger is not None:
                logger.finalize("failed")
            raise
        finally:
            _end(workers, writing)


def _start(context: Any, rank: Rank, writing: Lock) -> _Worker:
    ours, theirs = context.Pipe()
    process = context.Process(target=take_part, args=(rank, theirs, writing), daemon=True)
    process.start()
    theirs.close()  # so that its death is the end of the pipe
    return _Worker(rank.number, process, ours)


def _serve(
    workers: list[_Worker], job: Job, logger: Logger | None, stop_rule: StopRule | None
) -> list[dict[str, float]]:
    """Answer the processes until each has said its last word; the rows of the first."""
    working = list(workers)
    while working:
        for worker in _ready(working, None):
            last = _answer(worker, logger, stop_rule)
            if worker.failure is not None:
                raise _error(workers, job)
            if last:
                working.remove(worker)
    assert workers[0].rows is not None
    return workers[0].rows


def _ready(workers: list[_Worker], timeout: float | None) -> list[_Worker]:
    """Those that have said something or died."""
    ready = multiprocessing.connection.wait([worker.pipe for worker in workers], timeout)
    return [worker for worker in workers if worker.pipe in ready]


def _answer(worker: _Worker, logger: Logger | None, stop_rule: StopRule | None) -> bool:
    """Take one message; true if it is the process's last."""
    try:
        kind, content = worker.pipe.recv()
    except (EOFError, ConnectionError):
        worker.process.join(END_WAIT)
        worker.failure, worker.silent = worker.process.exitcode or 0, True
        return True
    match kind:
        case "log":
            logging.getLogger(content.name).handle(content)
        case "metrics":
            if logger is not None:
                logger.log_metrics(content[0], step=content[1])
        case "row":
            worker.pipe.send(stop_rule is not None and bool(stop_rule(content)))
        case "rows":
            worker.rows = content
        case _:
            worker.failure = content
    return kind in ("rows", "failed")


def _error(workers: list[_Worker], job: Job) -> BaseException:
    """What to raise when one has failed: an error of this package, else the one that died, else the first to fail.

    The end of one process makes the others fail too, and theirs may be the first message to arrive.
    """
    open_ones = [worker for worker in workers if worker.failure is None and worker.rows is None]
    while open_ones and (ready := _ready(open_ones, BLAME_WAIT)):
        open_ones = [worker for worker in open_ones if worker not in ready or not _answer(worker, None, None)]
    failed = [worker for worker in workers if worker.failure is not None]
    for worker in failed:
        if isinstance(worker.failure, SkipWError):
            return worker.failure
    worker = next((worker for worker in failed if worker.silent), failed[0])
    name, devices = job.settings.experiment, job.settings.devices
    how = f"exit code {worker.failure}" if isinstance(worker.failure, int) else f"\n{worker.failure}"
    return RankError(
        f"{name}: process {worker.rank} of {devices} (from 0) ended before its time, the others were ended; the same "
        f"command goes on from the last validation: {how}"
    )


def _end(workers: list[_Worker], writing: Lock) -> None:
    """End every process that is left, between two checkpoints if a checkpoint is being written."""
    try:
        if any(worker.process.is_alive() for worker in workers):
            writing.acquire(timeout=KILL_WAIT)
    finally:
        for worker in workers:
            worker.process.kill()
    for worker in workers:
        worker.process.join()
        worker.pipe.close()


@contextlib.contextmanager
def _raised_at_sigterm(job: Job) -> Iterator[None]:
    """Raise SystemExit when SIGTERM comes, so that the processes are ended; only a main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the end is under way
        raise terminated(job.settings)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
