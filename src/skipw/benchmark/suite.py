"""All measurements of one run, quick or full, one part after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from skipw.benchmark import grid, memory, scaling
from skipw.benchmark.machine import describe_machine, describe_versions
from skipw.benchmark.peak import measure_peak
from skipw.benchmark.records import PHASES, Results
from skipw.benchmark.speed import make_entries, measure_speed
from skipw.benchmark.targets import judge
from skipw.benchmark.timing import Rounds
from skipw.benchmark.workloads import SHARES, WORKLOADS, by_name, has_real_pixels, make_inputs
from skipw.errors import BackendUnavailableError, ParamsError
from skipw.ops.dispatch import available

__all__ = ["PARTS", "Plan", "best_backend", "run_suite"]

log = logging.getLogger(__name__)
PARTS = ("speed", "scaling", "loop", "grid", "memory")
LOOP_SHARES, LOOP_RUNS = (0.15, 0.05), 4
SEED = 1


@dataclass(frozen=True)
class Plan:
    """What a run measures.

    Attributes:
        mode: "full" or "quick".
        backends: who competes; targets are judged on the first.
        workloads: by name.
        parts: of ``PARTS``.
        shares: of the inputs.
        speed, scaling, loop, grid: rounds; seconds are for one workload and one phase.
        scaling_workloads: what is measured with two threads, and in a loop.
        grid_shares: shares at the full budget.
        memory: sequence lengths and shares.
    """

    mode: str
    backends: tuple[str, ...]
    workloads: tuple[str, ...]
    parts: tuple[str, ...]
    shares: tuple[float, ...]
    speed: Rounds
    scaling: Rounds
    loop: Rounds
    scaling_workloads: tuple[str, ...]
    grid: Rounds
    grid_shares: tuple[float, ...]
    memory: tuple[memory.Case, ...]

    @classmethod
    def make(
        cls,
        *,
        quick: bool,
        backends: Sequence[str] = (),
        workloads: Sequence[str] = (),
        parts: Sequence[str] = (),
    ) -> Plan:
        """The full plan (under 10 minutes with the native backend) or the quick one (under one minute).

        Named workloads alone ask for their speed alone.

        Raises:
            ParamsError: for an unknown workload or part.
            BackendUnavailableError: for a backend that is not here.
        """
        parts = tuple(parts) or (("speed",) if workloads else PARTS)
        unknown = [part for part in parts if part not in PARTS]
        if unknown:
            raise ParamsError(f"there is no part {unknown[0]!r}; choose from {', '.join(PARTS)}.")
        everything = [workload.name for workload in WORKLOADS if workload.main or not quick]
        return cls(
            mode="quick" if quick else "full",
            backends=tuple(_checked_backend(name) for name in backends) or (best_backend(),),
            workloads=tuple(by_name(name).name for name in workloads or everything),
            parts=parts,
            shares=(1.0, 0.15) if quick else SHARES,
            speed=Rounds(3, 5, 3.0) if quick else Rounds(5, 25, 16.0),
            scaling=Rounds(3, 5, 2.0) if quick else Rounds(5, 15, 12.0),
            loop=Rounds(2, 3, 2.0) if quick else Rounds(5, 15, 8.0),
            scaling_workloads=("adding",) if quick else ("har", "adding", "smnist", "imdb"),
            grid=Rounds(2, 3, 3.0) if quick else Rounds(5, 9, 15.0),
            grid_shares=(0.15,) if quick else (0.05, 0.15, 0.3),
            memory=memory.SHORT if quick else memory.LONG,
        )


def best_backend() -> str:
    """The native backend where it is there, else compact."""
    return "native" if available().get("native", "").startswith("yes") else "compact"


Say = Callable[[str], None]


def run_suite(plan: Plan, *, data: Path | None = None, say: Say | None = None) -> Results:
    """Measure everything in ``plan``: float32, one thread (but for the part on threads), denormals flushed.

    Args:
        plan: what.
        data: folder of the pipeline's outputs, for MNIST's pixels and a trained model.
        say: told what comes next.
    """
    say = say or log.info
    with _settings():
        say("product peak")
        results = Results(
            date=datetime.now(UTC).strftime("%Y-%m-%d"),
            mode=plan.mode,
            machine=describe_machine(),
            versions=describe_versions(),
            settings={
                "threads": 1,
                "dtype": "float32",
                "flush_denormal": True,
                "seed": SEED,
                "backends": list(plan.backends),
            },
            peak=measure_peak(),
        )
        runs = {"speed": _speed, "scaling": _scaling, "loop": _loop, "grid": _grid, "memory": _memory}
        for part in PARTS:
            if part in plan.parts:
                runs[part](plan, results, data, say)
    results.targets = judge(results)
    return results


def _speed(plan: Plan, results: Results, data: Path | None, say: Say) -> None:
    for name in plan.workloads:
        workload = by_name(name) if plan.mode == "full" else by_name(name).without_models()
        x, inputs = make_inputs(workload, seed=SEED, data=data)
        say(f"{workload.title}: checking")
        dense, entries = make_entries(workload, x, plan.backends, plan.shares, seed=SEED)
        for phase in PHASES:
            say(f"{workload.title}: {phase}")
            results.speed += measure_speed(
                workload, x, inputs, dense, entries, phase, plan.speed, results.peak["gflops"]
            )


def _scaling(plan: Plan, results: Results, data: Path | None, say: Say) -> None:
    if scaling.cores() < scaling.THREADS:
        results.notes.append("two threads against one: not measured, there is one core")
        return
    for name in plan.scaling_workloads:
        workload = by_name(name).without_models()
        say(f"{workload.title}: two threads against one")
        x, _ = make_inputs(workload, seed=SEED, data=data)
        dense, entries = make_entries(workload, x, plan.backends[:1], (1.0, 0.15), seed=SEED)
        results.scaling += scaling.measure_scaling(workload, x, dense, entries, plan.scaling)


def _loop(plan: Plan, results: Results, data: Path | None, say: Say) -> None:
    """The last of several runs in a row: what a training loop or a server sees, whose code stays in the caches."""
    for name in plan.scaling_workloads:
        workload = by_name(name).without_models()
        say(f"{workload.title}: in a loop")
        x, inputs = make_inputs(workload, seed=SEED, data=data)
        dense, entries = make_entries(workload, x, plan.backends[:1], LOOP_SHARES, seed=SEED)
        for phase in PHASES:
            results.loop += measure_speed(
                workload, x, inputs, dense, entries, phase, plan.loop, results.peak["gflops"], LOOP_RUNS
            )
        if scaling.cores() >= scaling.THREADS:
            some = entries[: len(entries) // len(LOOP_SHARES)]
            results.loop_scaling += scaling.measure_scaling(workload, x, dense, some, plan.loop, LOOP_RUNS)


def _grid(plan: Plan, results: Results, data: Path | None, say: Say) -> None:
    workload, backend = by_name("smnist"), plan.backends[0]
    x, inputs = make_inputs(workload, seed=SEED, data=data)
    trained = None
    if data is not None and has_real_pixels(workload, data):
        trained = grid.trained_model(workload, data / "models" / "mnist" / "mnist-skipw")
    for share in plan.grid_shares:
        say(f"grid of {workload.window} budgets at {share:.0%}")
        model = grid.random_model(workload, x, share, backend, seed=SEED)
        note = f"{inputs}; random weights"
        results.grid.append(grid.measure_grid(model, workload, x, note, backend, plan.grid))
    if trained is not None:
        say(f"grid of {workload.window} budgets, trained model")
        note = f"{inputs}; trained model"
        results.grid.append(grid.measure_grid(trained, workload, x, note, backend, plan.grid))


def _memory(plan: Plan, results: Results, data: Path | None, say: Say) -> None:
    for steps, share in plan.memory:
        say(f"memory of a training step, T = {steps:,} at {share:.1%}")
        results.memory.append(memory.measure_memory(steps, share, plan.backends[0]))


def _checked_backend(name: str) -> str:
    answer = available().get(name)
    if answer is None:
        raise BackendUnavailableError(f"there is no backend {name!r}; choose from {', '.join(available())}.")
    if not answer.startswith("yes"):
        raise BackendUnavailableError(f"backend {name!r} cannot be measured here: {answer}.")
    return name


@contextmanager
def _settings() -> Iterator[None]:
    """One thread, denormals flushed; afterwards the threads are what they were."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)
