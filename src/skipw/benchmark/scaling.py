"""Training with two threads against one."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skipw.benchmark.records import ScalingRecord
from skipw.benchmark.speed import DENSE, Entry, dense_step, train_step
from skipw.benchmark.timing import Contestant, Rounds, interleave, ratios
from skipw.benchmark.workloads import Workload

__all__ = ["cores", "measure_scaling"]

THREADS = 2


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def measure_scaling(
    workload: Workload, x: Tensor, dense: nn.Module, entries: Sequence[Entry], rounds: Rounds, runs: int = 1
) -> list[ScalingRecord]:
    """A training step of the dense layer and each entry with one and with two threads, in the same rounds.

    Each run sets the number of threads itself; afterwards it is what it was. ``runs`` in a row, the last one timed.
    """
    before = torch.get_num_threads()
    contestants: dict[str, Contestant] = {}
    for threads in (1, THREADS):
        contestants[f"{DENSE} {threads}"] = _with_threads(lambda: dense_step(dense, x), threads)
        for entry in entries:
            contestants[f"{entry.name} {threads}"] = _with_threads(_step(entry, x), threads)
    try:
        seconds = interleave(contestants, rounds, runs=runs)
    finally:
        torch.set_num_threads(before)

    def record(name: str, model: str, backend: str, share: float) -> ScalingRecord:
        one, several = seconds[f"{name} 1"], seconds[f"{name} {THREADS}"]
        return ScalingRecord(workload.name, model, backend, share, THREADS, len(one), ratios(one, several))

    return [record(DENSE, DENSE, "torch", 1.0)] + [
        record(entry.name, entry.model, entry.backend, entry.share) for entry in entries
    ]


def _step(entry: Entry, x: Tensor) -> Contestant:
    return lambda: train_step(entry.prepared, x, entry.backend)


def _with_threads(run: Contestant, threads: int) -> Contestant:
    def timed() -> None:
        torch.set_num_threads(threads)
        run()

    return timed
