"""Interleaved timing: every contestant runs once in each round, in changing order, in one process."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from skipw.errors import ParamsError

__all__ = ["Clock", "Contestant", "Rounds", "Spread", "interleave", "ratios"]

Clock: TypeAlias = Callable[[], float]
"""Seconds, as ``time.perf_counter``."""
Contestant: TypeAlias = Callable[[], object]


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of some numbers."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread:
        """The spread of at least one number; quartiles interpolate between neighbours."""
        if len(numbers) == 1:
            return cls(numbers[0], numbers[0], numbers[0])
        lower, median, upper = statistics.quantiles(numbers, n=4, method="inclusive")
        return cls(median, lower, upper)


@dataclass(frozen=True)
class Rounds:
    """How often to measure.

    Attributes:
        least, most: rounds; ``least`` of them run whatever they take.
        seconds: no further round begins once they have taken this long.
    """

    least: int = 5
    most: int = 25
    seconds: float = 30.0

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise ParamsError(f"rounds need 1 <= least <= most, got least {self.least}, most {self.most}.")


def interleave(
    contestants: Mapping[str, Contestant],
    rounds: Rounds,
    *,
    clock: Clock = time.perf_counter,
    seed: int = 0,
    warm_up: int = 1,
    runs: int = 1,
) -> dict[str, list[float]]:
    """Seconds that each contestant took in each round.

    The order is drawn anew for each round, so that nobody always follows the same neighbour; what disturbs the
    machine for longer than a contestant runs disturbs all. Python's garbage is collected between rounds, never
    inside a measurement.

    Args:
        contestants: what is timed, by name.
        rounds: how often.
        clock: in seconds.
        seed: of the orders.
        warm_up: untimed runs of each contestant before the first round.
        runs: in a row, each time that it is a contestant's turn; the last is timed. 1 times a run that follows another
            contestant's, whose code and data are in the caches; with more its own are.
    Returns:
        for each name as many seconds as there were rounds, round by round.
    """
    for _ in range(warm_up):
        for run in contestants.values():
            run()
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    order, orders = list(contestants), random.Random(seed)
    begun = clock()
    for number in range(rounds.most):
        if number >= rounds.least and clock() - begun >= rounds.seconds:
            break
        orders.shuffle(order)
        _one_round(contestants, order, taken, clock, runs)
    return taken


def _one_round(
    contestants: Mapping[str, Contestant],
    order: Sequence[str],
    taken: dict[str, list[float]],
    clock: Clock,
    runs: int,
) -> None:
    collects = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for name in order:
            for _ in range(runs - 1):
                contestants[name]()
            start = clock()
            contestants[name]()
            taken[name].append(clock() - start)
    finally:
        if collects:
            gc.enable()


def ratios(of: Sequence[float], to: Sequence[float]) -> Spread:
    """The spread of ``of / to``, taken round by round."""
    return Spread.of([a / b for a, b in zip(of, to, strict=True)])
