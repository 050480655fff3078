"""Where the files of a study lie while it runs. What is found is published by ``files``."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from skipw.tracking.store import mlruns_folder

__all__ = ["Places", "Sign", "is_alive"]


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
    """A worker's sign of life on this machine: a file that stays locked as long as its process lives.

    Args:
        folder: of all signs of a study.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{socket.gethostname()}-{os.getpid()}.alive"  # machines may share the folder
        self._file = self.path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def attributes(self) -> dict[str, Any]:
        """What a trial's record says about its worker."""
        return {"host": socket.gethostname(), "pid": os.getpid(), "sign": str(self.path)}

    def close(self) -> None:
        self.path.unlink(missing_ok=True)
        self._file.close()


def is_alive(worker: dict[str, Any]) -> bool | None:
    """Whether a trial's worker still runs; None if it ran on another machine, whose signs can't be seen here."""
    if worker.get("host") != socket.gethostname():
        return None
    try:
        with open(worker["sign"]) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
