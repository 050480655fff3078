"""What the governor itself takes: the loop with it and without, best of many short runs, on a stream that does nothing.

python benchmarks/governor_overhead.py
"""

from __future__ import annotations

import time

from skipw.operating_point import OperatingPoint
from skipw.runtime.governor import Governor
from skipw.runtime.rated_points import RatedPoint
from skipw.runtime.stream import Usage

WINDOW, INPUTS, RUNS = 28, 280, 2000


class Idle:
    """Of every window the first ``reading`` inputs are due."""

    def __init__(self, reading: int) -> None:
        self.inputs, self.reading = 0, reading

    @property
    def needs_input(self) -> bool:
        return self.inputs % WINDOW < self.reading

    @property
    def plan(self) -> tuple[int, ...]:
        return tuple(range(self.inputs % WINDOW, self.reading))

    @property
    def usage(self) -> Usage:
        return Usage(self.inputs, 0, 0)

    def process(self, x: None) -> None:
        self.inputs += 1

    def skip(self) -> None:
        self.inputs += 1

    def set_operating_point(self, point: OperatingPoint) -> None:
        pass


def alone(stream: Idle) -> float:
    start = time.perf_counter()
    for _ in range(INPUTS):
        if stream.needs_input:
            stream.process(None)
        else:
            stream.skip()
    return time.perf_counter() - start


def governed(stream: Idle, governor: Governor) -> float:
    start = time.perf_counter()
    for _ in range(INPUTS):
        with governor.step(stream):
            if stream.needs_input:
                stream.process(None)
            else:
                stream.skip()
    return time.perf_counter() - start


def main() -> None:
    points = [RatedPoint(OperatingPoint(k), k / WINDOW, float(k), WINDOW) for k in range(WINDOW + 1)]
    for title, reading in (("all skipped", 0), ("a quarter processed", 7), ("all processed", WINDOW)):
        for hard in (False, True):
            stream, governor = Idle(reading), Governor(points, budget_ms=1e6, per="window", hard=hard)
            bare = min(alone(stream) for _ in range(RUNS))
            full = min(governed(stream, governor) for _ in range(RUNS))
            took = 1e6 * (full - bare) / INPUTS
            print(f"{title:20s} {'hard' if hard else 'plain':5s} {took:5.2f} µs an input")  # noqa: T201


if __name__ == "__main__":
    main()
