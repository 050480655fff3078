"""Processes of this machine that run trials side by side."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Protocol

from skipw.studies.worker import PATIENCE, WorkerSpec

__all__ = ["Crew", "LocalCrew", "gpus", "here", "reason_of", "start_worker"]


class Crew(Protocol):
    """Workers somewhere. ``search`` starts them, asks how many live, and ends them."""

    def start(self, number: int) -> None:
        """Start so many more."""

    def alive(self) -> int:
        """How many run."""

    def deaths(self) -> list[str]:
        """Why workers ended that should not have, since the last call."""

    def stop(self) -> None:
        """End all; unfinished trials keep their checkpoints."""


class LocalCrew:
    """One process a worker, one thread each; with GPUs, they are dealt out in turn. They end with this process.

    Args:
        spec: what the workers are told.
        logs: folder of their output.
    """

    def __init__(self, spec: WorkerSpec, logs: Path) -> None:
        self._spec = spec
        self._logs = logs
        self._running: list[tuple[subprocess.Popen[bytes], Path, IO[bytes]]] = []
        self._started = 0

    def start(self, number: int) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        devices = gpus()
        for _ in range(number):
            path = self._logs / f"{here()}-{self._started}.log"
            env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
            if devices:
                env["CUDA_VISIBLE_DEVICES"] = devices[self._started % len(devices)]
            output = path.open("wb")
            self._running.append((start_worker(self._spec, output, env), path, output))
            self._started += 1

    def alive(self) -> int:
        return sum(process.poll() is None for process, _, _ in self._running)

    def deaths(self) -> list[str]:
        ended = [entry for entry in self._running if entry[0].poll() is not None]
        self._running = [entry for entry in self._running if entry[0].poll() is None]
        reasons = []
        for process, path, output in ended:
            output.close()
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()
            if process.returncode:
                reasons.append(reason_of(process.returncode, path))
        return reasons

    def stop(self) -> None:
        for sign, patience in ((signal.SIGTERM, PATIENCE), (signal.SIGKILL, 5.0)):
            running = [process for process, _, _ in self._running if process.poll() is None]
            for process in running:
                process.send_signal(sign)
            limit = time.monotonic() + patience
            while any(process.poll() is None for process in running) and time.monotonic() < limit:
                time.sleep(0.05)


def start_worker(spec: WorkerSpec, output: IO[bytes], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A worker as a process that ends with this one.

    Args:
        spec: what it is told, on its standard input, which stays open as long as this process lives.
        output: where it writes.
        env: its environment.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "skipw.studies.worker"],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=env,
        start_new_session=True,  # Ctrl-C reaches the launcher alone, which ends its workers in order
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it died at once; its log tells why
        process.stdin.write(f"{spec.to_json()}\n".encode())
        process.stdin.flush()
    return process


def here() -> str:
    """Names this process among those of all machines that share a folder."""
    return f"{socket.gethostname()}-{os.getpid()}"


def gpus() -> list[str]:
    """The GPUs that workers may use, as CUDA_VISIBLE_DEVICES names them; empty without any. Needs no torch."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name for name in chosen.split(",") if name.strip()]
    return [str(number) for number, _ in enumerate(Path("/proc/driver/nvidia/gpus").glob("*"))]


def reason_of(code: int, log: Path) -> str:
    """How a worker ended and the last line that it wrote."""
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"{how}: {lines[-1] if lines else 'it said nothing'}"
