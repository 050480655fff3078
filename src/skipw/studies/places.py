"""Where the files of a study lie while it runs. What is found is published by ``files``."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from skipw.tracking.store import mlruns_folder

__all__ = ["Places", "Sign", "is_alive", "is_locked", "living"]

TOUCH = 10.0  # seconds between two signs of life
SILENT = 60.0  # seconds without one after which a worker that can't be asked counts as dead


@dataclass(frozen=True)
class Places:
    """Folders of one study on this machine.

    Attributes:
        data: the root of all outputs; prepared/<dataset> is read.
        work: models of finished trials, unfinished trainings, logs and locks of workers; kept by `make clean`.
    """

    data: Path
    work: Path

    @classmethod
    def of(cls, data: Path, study: str) -> Places:
        """Beside MLflow's database, so that no stage of the pipeline deletes them."""
        return cls(data.absolute(), mlruns_folder() / "studies" / study)

    def prepared(self, dataset: str) -> Path:
        return self.data / "prepared" / dataset

    def model(self, experiment: str) -> Path:
        """A trial's model: model.safetensors, model.json, history.csv."""
        return self.work / "trials" / experiment

    @property
    def scratch(self) -> Path:
        """Unfinished trainings."""
        return self.work / "unfinished"

    @property
    def workers(self) -> Path:
        """Signs of life and logs of workers."""
        return self.work / "workers"

    @contextmanager
    def claiming(self) -> Iterator[Claim]:
        """Only one process of this machine takes a new trial at a time."""
        claim = Claim(self.work / "claim.lock")
        try:
            yield claim
        finally:
            claim.release()


class Claim:
    """An exclusive lock that is held from its making to ``release``; the system frees it when a process dies."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] | None = path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class Sign:
    """A worker's sign of life: a file that stays locked, and is touched now and then, as long as its process lives.

    The lock tells this machine at once; the time of the last touch tells others that see the folder.

    Args:
        folder: of all signs of a study.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.alive"  # numbers of processes come again
        self._file = self.path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._ended = threading.Event()
        threading.Thread(target=self._touch, daemon=True).start()

    def _touch(self) -> None:
        while not self._ended.wait(TOUCH):
            with contextlib.suppress(OSError):
                os.utime(self.path)

    def attributes(self) -> dict[str, Any]:
        """What a trial's record says about its worker."""
        return {"host": socket.gethostname(), "pid": os.getpid(), "sign": str(self.path)}

    def close(self, *, keep: bool = False) -> None:
        """The worker ends; ``keep`` leaves the file for those who ask for its unfinished trial."""
        self._ended.set()
        if not keep:
            self.path.unlink(missing_ok=True)
        self._file.close()


def is_alive(worker: dict[str, Any]) -> bool | None:
    """Whether a trial's worker still runs; None if it ran on another machine, whose signs can't be seen here.

    A machine may have come back under another name (a container does): a sign that is seen here, not locked and not
    touched for ``SILENT`` seconds is a dead worker's, whatever name it left.
    """
    here = worker.get("host") == socket.gethostname()
    path = Path(worker["sign"])
    try:
        if is_locked(path):
            return True
        return False if here or _age(path) > SILENT else None
    except FileNotFoundError:
        return False if here else None
    except OSError:
        return None


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock on a file."""
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # two who look at once don't mislead one another
        except BlockingIOError:
            return True
    return False


def living(folder: Path) -> list[Path]:
    """The signs of a study's workers that live on this machine."""
    found = []
    for path in sorted(folder.glob("*.alive")):
        with contextlib.suppress(FileNotFoundError):
            if is_locked(path):
                found.append(path)
    return found


def _age(path: Path) -> float:
    """Seconds since a file was touched, by the clock of the file system."""
    now = path.with_name(f".{uuid.uuid4().hex}.now")
    now.touch()
    try:
        return now.stat().st_mtime - path.stat().st_mtime
    finally:
        now.unlink()
