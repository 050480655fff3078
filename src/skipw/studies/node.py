"""What a cluster's node does for a study: run one worker as a process, on a GPU of its own if there is one."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from skipw.studies.crew import gpus, here, reason_of, start_worker
from skipw.studies.worker import PATIENCE, WorkerSpec

if TYPE_CHECKING:
    from distributed import Event

__all__ = ["run_worker"]

LOOK = 1.0  # seconds between two looks at the process
_numbers = count()


def run_worker(order: Mapping[str, Any]) -> str | None:
    """Run a worker until it has nothing left to do, or until it is told to end; called by Dask, in a thread.

    Args:
        order: plain values. ``spec``: of ``WorkerSpec``; ``params``: text of params.yaml; ``host``, ``mlruns``: the
            launcher's; ``environment``: variables for the worker; ``begun``, ``stop``: names of Dask events.
    Returns:
        why it ended, if it should not have.
    """
    from distributed import Event

    Event(order["begun"]).set()
    spec = dict(order["spec"])
    is_file = "://" not in spec["storage"] or spec["storage"].startswith("sqlite")
    if is_file and socket.gethostname() != order["host"]:
        return (
            f"exit status 1: worker: {socket.gethostname()} can't use the file {spec['storage']} of another "
            "machine; a cluster needs --storage postgresql+psycopg://USER@HOST/NAME."
        )
    with tempfile.TemporaryDirectory(prefix="skipw-") as folder, _gpu() as gpu:
        spec["params"] = str(Path(folder) / "params.yaml")
        Path(spec["params"]).write_text(order["params"], encoding="utf-8")
        environment = _environment(order, gpu)
        logs = Path(environment["SKIPW_MLRUNS"]) / "studies" / spec["study"] / "workers"
        logs.mkdir(parents=True, exist_ok=True)
        log = logs / f"{here()}-{next(_numbers)}.log"
        with log.open("wb") as output:
            process = start_worker(WorkerSpec(**spec), output, environment)
            told = _wait(process, Event(order["stop"]))
    return reason_of(process.returncode, log) if process.returncode and not told else None


def _wait(process: subprocess.Popen[bytes], stop: Event) -> bool:
    """Wait for the end of the process; True if it was told to end."""
    try:
        while process.poll() is None:
            if stop.wait(timeout=LOOK):
                return True
        return False
    finally:  # told to end, or the scheduler is gone
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _environment(order: Mapping[str, Any], gpu: str | None) -> dict[str, str]:
    """The node's own, less SLURM's, from which Lightning would conclude that many processes train one model."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    own |= {**order["environment"], "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    own.setdefault("SKIPW_MLRUNS", order["mlruns"])
    if gpu is not None:
        own["CUDA_VISIBLE_DEVICES"] = gpu
    return own


@contextmanager
def _gpu() -> Iterator[str | None]:
    """A GPU that the fewest tasks of this node use, by locks that end with the process; None without any."""
    devices = gpus()
    if not devices:
        yield None
        return
    folder = Path(tempfile.gettempdir()) / f"skipw-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for round_ in count():
        for device in devices:
            file = (folder / f"{device.replace('/', '-')}.{round_}").open("w")
            if _locked(file):
                with file:
                    yield device
                return
            file.close()


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
