"""One of several processes that train together: its start, its part, and what it tells the process that began it.

Messages to the beginner are pairs (kind, content). Of the first process: ("metrics", (values, step)) for the
logger; ("row", row), answered by the stop rule's verdict; ("log", record). Of every process, last of all: ("rows",
rows), or ("failed", a SkipWError, an exit code, or the text of a traceback).
"""

from __future__ import annotations

import datetime
import logging
import logging.handlers
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Lock
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.io import TorchCheckpointIO

from skipw.errors import SkipWError
from skipw.training.devices import accelerator_of
from skipw.training.running import Job, new_module, process_settings, train

__all__ = ["KILL_WAIT", "Rank", "take_part"]

KILL_WAIT = 20.0  # seconds that a checkpoint may take to be written before its writer is killed all the same
TIMEOUT = datetime.timedelta(hours=1)  # for a slow stop rule; a process that died is noticed at once


@dataclass(frozen=True)
class Rank:
    """What one process is told.

    Attributes:
        number: its rank, from 0.
        job: the training.
        meeting: a file where the processes find one another.
        log_level: the least level of what the first process logs; the others log warnings.
    """

    number: int
    job: Job
    meeting: Path
    log_level: int


def take_part(rank: Rank, pipe: Connection, writing: Lock) -> None:
    """The whole life of a process that trains; never returns normally after an error.

    Args:
        rank: who this process is.
        pipe: to the process that began it.
        writing: held while a checkpoint is written; who holds it may kill without leaving half a file.
    """
    _ignore_signals()
    threading.Thread(target=_end_with_parent, args=(rank.number == 0, writing), daemon=True).start()
    _send_logs(pipe, rank.log_level if rank.number == 0 else logging.WARNING)
    # Lightning takes a process with a LOCAL_RANK for one of several that exist already.
    os.environ.update({"LOCAL_RANK": str(rank.number), "NODE_RANK": "0"})
    try:
        rows = _train(rank, pipe, writing)
    except BaseException as error:
        pipe.send(("failed", _told(error)))
        raise SystemExit(1) from None
    pipe.send(("rows", rows))


def _train(rank: Rank, pipe: Connection, writing: Lock) -> list[dict[str, float]]:
    job, first = rank.job, rank.number == 0
    with process_settings(job.settings.num_threads):
        _meet(rank)
        module, _ = new_module(job)
        shown = Job(job.settings, job.prepared, job.unfinished, job.init_from, job.progress and first)
        rows = train(
            shown,
            module,
            logger=_Journal(pipe) if first else None,
            stop_rule=_RemoteRule(pipe) if first else None,
            callbacks=[_KeepIgnoring()],
            plugins=[_LockedCheckpoints(writing)],
        )
    torch.distributed.destroy_process_group()
    return rows


def _meet(rank: Rank) -> None:
    """Join the other processes, all on this machine: NCCL between GPUs, else gloo over the loopback interface."""
    device = None
    if accelerator_of(rank.job.settings) == "cuda":
        device = torch.device("cuda", rank.number)
        torch.cuda.set_device(device)
    if sys.platform == "linux":  # a host name that can't be resolved need not stop a training
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    devices = rank.job.settings.devices
    torch.distributed.init_process_group(
        "gloo" if device is None else "nccl",
        store=torch.distributed.FileStore(str(rank.meeting), devices),  # no port that another could take
        rank=rank.number,
        world_size=devices,
        timeout=TIMEOUT,
        device_id=device,
    )


def _told(error: BaseException) -> SkipWError | int | str:
    """An error in a form that surely can be sent."""
    if isinstance(error, SkipWError):
        return error
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        return error.code
    return "".join(traceback.format_exception(error))


def _ignore_signals() -> None:
    """A terminal and a scheduler signal the whole group; it is the beginner that ends this process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _end_with_parent(writes: bool, writing: Lock) -> None:
    """Wait until the beginner is gone, however it ended; then end, who writes checkpoints not in the middle of one."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    multiprocessing.connection.wait([parent.sentinel])
    if writes:
        writing.acquire(timeout=KILL_WAIT)
    os._exit(1)


def _send_logs(pipe: Connection, level: int) -> None:
    """Hand all log records to the beginner, whose handlers show them."""
    root = logging.getLogger()
    root.handlers[:] = [logging.handlers.QueueHandler(_Records(pipe))]  # type: ignore[arg-type]
    root.setLevel(level)


class _Records:
    """The one method of a queue that ``QueueHandler`` calls."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe

    def put_nowait(self, record: logging.LogRecord) -> None:
        self.pipe.send(("log", record))


class _KeepIgnoring(pl.Callback):
    """Take Lightning's SIGTERM handler away: it talks to the other processes whatever they are just doing."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        _ignore_signals()


class _LockedCheckpoints(TorchCheckpointIO):
    """Checkpoints as ever, written under a lock."""

    def __init__(self, writing: Lock) -> None:
        super().__init__()
        self.writing = writing

    def save_checkpoint(self, *args: Any, **keywords: Any) -> None:
        with self.writing:
            super().save_checkpoint(*args, **keywords)


class _Journal(Logger):
    """Hands metrics to the beginner's logger, which stays open there."""

    name = version = "journal"

    def __init__(self, pipe: Connection) -> None:
        super().__init__()
        self.pipe = pipe

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Nothing: the settings are the beginner's business."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.pipe.send(("metrics", (metrics, step)))


class _RemoteRule:
    """Asks the beginner's stop rule, and waits for its verdict."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe

    def __call__(self, row: dict[str, float]) -> bool:
        self.pipe.send(("row", row))
        return bool(self.pipe.recv())
