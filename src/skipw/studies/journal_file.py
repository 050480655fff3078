"""Optuna's journal in a file, made to stand kills: of a process that holds the lock, of a machine that writes."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from pathlib import Path
from typing import IO, Any

from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock

__all__ = ["DurableJournal", "is_journal"]


class DurableJournal(JournalFileBackend):
    """A journal file whose last line may have been cut by a crash: the next writer takes the cut line away.

    Optuna's own would write on behind it, and nobody could read the file again.

    Args:
        path: of the journal; made if it does not exist.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path, lock_obj=_SystemLock(f"{path}.flock"))
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add lines, all of them or none."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        self._lock.acquire()
        try:
            with open(self._path, "r+b", buffering=0) as file:
                end = _end_of_last_line(file)
                file.seek(end)
                file.truncate()
                if file.write(lines) != len(lines):
                    file.truncate(end)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)
                os.fsync(file.fileno())
        finally:
            self._lock.release()


class _SystemLock(BaseJournalFileLock):
    """A lock that the system frees when its holder dies; Optuna's own stands for half a minute then."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._held: int | None = None

    def acquire(self) -> bool:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.flock(file, fcntl.LOCK_EX)
        self._held = file
        return True

    def release(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None


def _end_of_last_line(file: IO[bytes]) -> int:
    """Where the last whole line ends, in bytes."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 65536)
        file.seek(start)
        place = file.read(end - start).rfind(b"\n")
        if place >= 0:
            return start + place + 1
        end = start
    return 0


def is_journal(path: Path) -> bool:
    """Whether a file that exists is a study's journal, or empty: nothing is written into another one."""
    with path.open("rb") as file:
        first = file.readline(1 << 20)
    if not first.endswith(b"\n"):
        return first.strip(b"\0") == b"" or first.startswith(b'{"op_code"')
    try:
        return "op_code" in json.loads(first)
    except (ValueError, TypeError):
        return False
