"""Peak memory of a training step on long sequences, each measured in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import skipw
from skipw.benchmark.records import MemoryRecord
from skipw.errors import SkipWError

__all__ = ["LONG", "SHORT", "Case", "bytes_per_skipped_input", "measure_memory"]

BATCH, HIDDEN, WINDOW = 64, 128, 28
PAGES = 1024.0

Case = tuple[int, float]
LONG: tuple[Case, ...] = ((5_000, 0.10), (10_000, 0.05), (20_000, 0.025), (10_000, 0.10))
"""T and share; the first three process the same number of inputs."""
SHORT: tuple[Case, ...] = ((5_000, 0.10), (10_000, 0.05))


def measure_memory(steps: int, share: float, backend: str, *, limit_s: float = 300.0) -> MemoryRecord:
    """One forward and backward pass with ``outputs="last"``, D = 1, in a fresh process.

    Args:
        steps: T.
        share: of the inputs processed.
        backend: who computes.
        limit_s: seconds after which it counts as failed.
    Raises:
        SkipWError: if the process fails or takes too long.
    """
    source = str(Path(skipw.__file__).resolve().parents[1])
    paths = [source, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    words = [sys.executable, "-m", "skipw.benchmark.memory", str(steps), str(share), backend]
    try:
        done = subprocess.run(
            words, check=False, env=environment, capture_output=True, text=True, timeout=limit_s
        )
    except subprocess.TimeoutExpired:
        raise SkipWError(
            f"a training step with T = {steps} on {backend} took more than {limit_s:g} s."
        ) from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise SkipWError(f"a training step with T = {steps} on {backend} failed: {last}")
    return MemoryRecord(**json.loads(done.stdout.splitlines()[-1]))


def bytes_per_skipped_input(shorter: MemoryRecord, longer: MemoryRecord) -> float:
    """What each further input that is skipped costs: the same number of inputs processed, different T."""
    return (longer.growth_mib - shorter.growth_mib) * 2**20 / (longer.batch * (longer.steps - shorter.steps))


def peak_mib() -> float:
    """The most that this process ever had resident.

    On Linux a child's ``ru_maxrss`` begins with its parent's, so the kernel's VmHWM is read where there is one.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / PAGES
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / PAGES if sys.platform != "darwin" else most / PAGES / PAGES


def resident_mib() -> float:
    """What is resident now; the peak so far where the system does not say."""
    statm = Path("/proc/self/statm")
    if not statm.is_file():
        return peak_mib()
    return int(statm.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _train_once(steps: int, share: float, backend: str) -> MemoryRecord:
    """The measurement itself, after a short step that makes the libraries allocate what they keep."""
    import torch
    from torch import Tensor

    from skipw.benchmark.gates import Prepared, window_model
    from skipw.benchmark.speed import train_step
    from skipw.benchmark.workloads import Workload, make_inputs

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)

    def prepare(length: int) -> tuple[Prepared, Tensor]:
        workload = Workload("memory", "long", BATCH, length, 1, "gru", HIDDEN, 1, WINDOW, "normal")
        return window_model(workload, share, seed=0), make_inputs(workload, seed=0)[0]

    train_step(*prepare(2 * WINDOW), backend)
    prepared, x = prepare(steps)
    seen: list[float] = []
    prepared.model.register_forward_hook(lambda *call: seen.append(float(call[2].inputs_processed.mean())))
    before = resident_mib()
    train_step(prepared, x, backend)
    top = peak_mib()
    return MemoryRecord(
        backend, BATCH, steps, HIDDEN, seen[0], seen[0] * steps, growth_mib=top - before, peak_mib=top
    )


def main(words: Sequence[str]) -> None:
    """Measure and write one line of JSON to standard output."""
    from dataclasses import asdict

    steps, share, backend = words
    sys.stdout.write(json.dumps(asdict(_train_once(int(steps), float(share), backend))) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
