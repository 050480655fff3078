"""What a run of the benchmarks writes down. Field names are the keys of the JSON file (benchmarks/README.md)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from skipw.benchmark.timing import Spread

__all__ = ["SCHEMA", "GridRecord", "MemoryRecord", "Results", "ScalingRecord", "SpeedRecord", "TargetRecord"]

SCHEMA = 1
PHASES = ("training", "inference")


@dataclass(frozen=True)
class SpeedRecord:
    """One model on one backend at one share of inputs, beside the dense layer in the same rounds.

    Attributes:
        workload, inputs: name of the workload, what its numbers are.
        phase: "training" or "inference".
        model, backend: "dense" with "torch", else skipw, thrrnn or skiprnn with a backend.
        wanted_share, share: of the inputs processed, wanted and measured.
        rounds: that were timed.
        milliseconds: of one step.
        relative_time: to the dense layer, round by round; 1 for the dense layer itself.
        above_peak: median time over the time that the products of the processed inputs take at the machine's
            measured product peak.
    """

    workload: str
    inputs: str
    phase: str
    model: str
    backend: str
    wanted_share: float
    share: float
    rounds: int
    milliseconds: Spread
    relative_time: Spread
    above_peak: float

    @property
    def speed_up(self) -> float:
        """How many times as fast as the dense layer."""
        return 1 / self.relative_time.median


@dataclass(frozen=True)
class ScalingRecord:
    """A training step with several threads against one. ``speed_up``: time with one over time with ``threads``."""

    workload: str
    model: str
    backend: str
    share: float
    threads: int
    rounds: int
    speed_up: Spread


@dataclass(frozen=True)
class GridRecord:
    """The whole grid of budgets against one dense pass.

    Attributes:
        workload, inputs, backend, budgets, share: what was run; ``share`` at the full budget.
        dense_passes: time of the grid over the time of one dense forward pass.
        one_by_one: the same for the budgets run one after the other, timed once.
        same_choices: share of the sequences, over all budgets, where both ways processed the same inputs; below 1
            where two importances are equal up to rounding.
        largest_difference: between the scores of both ways, where they processed the same inputs.
    """

    workload: str
    inputs: str
    backend: str
    budgets: int
    share: float
    rounds: int
    dense_passes: Spread
    one_by_one: float
    same_choices: float
    largest_difference: float


@dataclass(frozen=True)
class MemoryRecord:
    """Peak memory of a training step in a process of its own.

    Attributes:
        backend, batch, steps, hidden_size: what was trained.
        share, processed: of the inputs, and how many a row on average.
        growth_mib: peak while the step ran minus what was resident before it.
        peak_mib: of the whole process, torch and the inputs included.
    """

    backend: str
    batch: int
    steps: int
    hidden_size: int
    share: float
    processed: float
    growth_mib: float
    peak_mib: float


@dataclass(frozen=True)
class TargetRecord:
    """A number that was aimed at. ``kind``: "at least" or "at most"."""

    name: str
    kind: str
    wanted: float
    got: float
    unit: str

    @property
    def met(self) -> bool:
        """Whether the measured number is on the right side."""
        return self.got >= self.wanted if self.kind == "at least" else self.got <= self.wanted


@dataclass
class Results:
    """Everything that one run found.

    ``peak``: GFLOP/s of one thread and the shape that reached it. ``loop`` and ``loop_scaling`` are ``speed`` and
    ``scaling`` where everybody runs several times in a row and the last run is timed; files from before lack them.
    """

    date: str
    mode: str
    machine: dict[str, Any]
    versions: dict[str, str]
    settings: dict[str, Any]
    peak: dict[str, Any]
    speed: list[SpeedRecord] = field(default_factory=list)
    scaling: list[ScalingRecord] = field(default_factory=list)
    grid: list[GridRecord] = field(default_factory=list)
    memory: list[MemoryRecord] = field(default_factory=list)
    loop: list[SpeedRecord] = field(default_factory=list)
    loop_scaling: list[ScalingRecord] = field(default_factory=list)
    targets: list[TargetRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
