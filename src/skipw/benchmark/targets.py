"""The numbers that the native backend aims at, and which of them a run reached."""

from __future__ import annotations

from skipw.benchmark.memory import bytes_per_skipped_input
from skipw.benchmark.records import (
    GridRecord,
    MemoryRecord,
    Results,
    ScalingRecord,
    SpeedRecord,
    TargetRecord,
)
from skipw.benchmark.workloads import WORKLOADS

__all__ = ["judge"]

HARDER = ("imdb", "har")  # D = 300, and two layers of 60: less to gain
TRAINING_AT_LEAST = {0.15: (8.0, 5.0), 0.05: (12.0, 8.0)}  # the second for HARDER
INFERENCE_AT_LEAST = {0.15: 10.0, 0.05: 25.0}
TRAINING_EVERYTHING_AT_MOST = 0.6
GRID_AT_MOST, SAME_AT_LEAST = 0.3, 0.999
SCALING_AT_LEAST = 1.8
MEMORY_AT_MOST_MIB = 2048.0
LONG_STEPS = 10_000
SCALARS_BYTES = 64.0  # x, u, its importance and their gradients; a saved state of 128 units has 512


def judge(results: Results) -> list[TargetRecord]:
    """Every target that this run measured something for, on the first backend of the run."""
    backend = results.settings["backends"][0]
    main = {workload.name: workload.title for workload in WORKLOADS if workload.main}
    found = []
    for record in results.speed:
        if record.model == "skipw" and record.backend == backend and record.workload in main:
            found += _speed(record, main[record.workload])
    found += [_scaling(r, main) for r in results.scaling if r.backend == backend and r.workload in main]
    for grid in results.grid:
        found += _grid(grid)
    return found + _memory(results.memory)


def _speed(record: SpeedRecord, title: str) -> list[TargetRecord]:
    share = record.wanted_share
    what = f"{record.phase}, {share:.0%}: {title}"
    if record.phase == "training" and share == 1.0:
        got = record.relative_time.median
        return [TargetRecord(what, "at most", TRAINING_EVERYTHING_AT_MOST, got, "of dense")]
    wanted = None
    if record.phase == "training" and share in TRAINING_AT_LEAST:
        wanted = TRAINING_AT_LEAST[share][record.workload in HARDER]
    elif record.phase == "inference":
        wanted = INFERENCE_AT_LEAST.get(share)
    return [] if wanted is None else [TargetRecord(what, "at least", wanted, record.speed_up, "times")]


def _scaling(record: ScalingRecord, titles: dict[str, str]) -> TargetRecord:
    what = f"{record.threads} threads, {record.share:.0%}: {titles[record.workload]}"
    return TargetRecord(what, "at least", SCALING_AT_LEAST, record.speed_up.median, "times")


def _grid(record: GridRecord) -> list[TargetRecord]:
    what = f"grid of {record.budgets} budgets, {record.share:.0%}"
    return [
        TargetRecord(what, "at most", GRID_AT_MOST, record.dense_passes.median, "dense passes"),
        TargetRecord(
            f"{what}: as one by one", "at least", SAME_AT_LEAST, record.same_choices, "of sequences"
        ),
    ]


def _memory(records: list[MemoryRecord]) -> list[TargetRecord]:
    found = [
        TargetRecord(
            f"memory, T = {record.steps:,} at {record.share:.1%}, whole process",
            "at most",
            MEMORY_AT_MOST_MIB,
            record.peak_mib,
            "MiB",
        )
        for record in records
        if record.steps == LONG_STEPS and record.share < 0.06
    ]
    if records:
        alike = [r for r in records if abs(r.processed / records[0].processed - 1) < 0.05]
        shortest, longest = min(alike, key=lambda r: r.steps), max(alike, key=lambda r: r.steps)
        if longest.steps > shortest.steps:
            cost = bytes_per_skipped_input(shortest, longest)
            found.append(TargetRecord("memory of a skipped input", "at most", SCALARS_BYTES, cost, "bytes"))
    return found
