"""Small workloads, and results to show."""

from __future__ import annotations

import pytest

from skipw.benchmark.records import (
    GridRecord,
    MemoryRecord,
    Results,
    ScalingRecord,
    SpeedRecord,
)
from skipw.benchmark.targets import judge
from skipw.benchmark.timing import Spread
from skipw.benchmark.workloads import Workload


@pytest.fixture(params=[("gru", 1), ("gru", 2), ("lstm", 1), ("lstm", 2)], ids=lambda p: f"{p[0]}-{p[1]}")
def small(request: pytest.FixtureRequest) -> Workload:
    """32 sequences of 40 inputs, window 8."""
    cell, layers = request.param
    return Workload("small", "small", 32, 40, 3, cell, 12, layers, 8, "normal")


def speed(workload: str, phase: str, model: str, backend: str, share: float, time: float) -> SpeedRecord:
    spread = Spread(time, 0.9 * time, 1.1 * time)
    milliseconds = Spread(100 * time, 90 * time, 110 * time)
    return SpeedRecord(workload, "numbers", phase, model, backend, share, share, 5, milliseconds, spread, 2.5)


@pytest.fixture
def results() -> Results:
    """What a run on har and adding might find."""
    records = []
    for workload in ("har", "adding"):
        for phase in ("training", "inference"):
            records.append(speed(workload, phase, "dense", "torch", 1.0, 1.0))
            for share, time in ((1.0, 0.5), (0.15, 0.125), (0.05, 0.02)):
                records.append(speed(workload, phase, "skipw", "native", share, time))
    found = Results(
        date="2021-05-03",
        mode="full",
        machine={
            "cpu": "Acme(R) Fast(TM) CPU @ 2.00GHz",
            "architecture": "x86_64",
            "cores": 2,
            "caches_kib": {"L1d": 48, "L2": 2048},
            "vector_units": "AVX2",
            "system": "Linux",
            "load_before": 0.1,
        },
        versions={"python": "3.11.7", "torch": "2.8.0", "skipw": "0.1.0", "native": "yes, avx2"},
        settings={
            "threads": 1,
            "dtype": "float32",
            "flush_denormal": True,
            "seed": 1,
            "backends": ["native"],
        },
        peak={"gflops": 70.0, "shape": "1024x1024x1024"},
        speed=records,
        scaling=[ScalingRecord("har", "skipw", "native", 0.15, 2, 5, Spread(1.9, 1.8, 2.0))],
        grid=[GridRecord("smnist", "pixels", "native", 28, 0.15, 5, Spread(0.4, 0.3, 0.5), 4.0, 1.0, 1e-7)],
        memory=[
            MemoryRecord("native", 64, 5_000, 128, 0.1, 500.0, 300.0, 500.0),
            MemoryRecord("native", 64, 10_000, 128, 0.05, 500.0, 310.0, 510.0),
        ],
        loop=[
            speed("har", phase, model, backend, share, time)
            for phase, faster in (("training", 1.0), ("inference", 2.0))
            for model, backend, share, time in (
                ("dense", "torch", 1.0, 1.0),
                ("skipw", "native", 0.15, 0.1 / faster),
                ("skipw", "native", 0.05, 0.05 / faster),
            )
        ],
        loop_scaling=[
            ScalingRecord("har", "dense", "torch", 1.0, 2, 5, Spread(1.5, 1.4, 1.6)),
            ScalingRecord("har", "skipw", "native", 0.15, 2, 5, Spread(1.95, 1.9, 1.99)),
        ],
        notes=["a note"],
    )
    found.targets = judge(found)
    return found
