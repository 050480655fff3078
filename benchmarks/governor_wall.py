"""The governor on this machine's own clock: a busy encoder on one core, and for a while others that want the core."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import numpy as np

from skipw.runtime.governor import Governor
from skipw.runtime.rated_points import ladder

ENCODER_MS = 0.5  # of an idle core, calibrated at the start
RIVAL = """
import os, time
os.sched_setaffinity(0, {{{core}}})
end = time.perf_counter() + {seconds}
while time.perf_counter() < end:
    pass
"""
SECONDS = 15.0  # each of the three parts
WARM_UP = 10  # sequences at the fixed point; the budget is 1.25 times their median latency


def run_wall(task: Any) -> list[dict[str, Any]]:
    """What became of the governor and of the point that fits the undisturbed machine, a sequence each in turn.

    All of it is pinned to one core; in the middle part a second process spins there.
    """
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    loops = _calibrate()
    length = max(map(len, task.sequences))
    top = ladder(task.points)[-1].point
    own, fixed = task.model.create_stream(), task.model.create_stream(top)
    warm = [_fixed(task.sequences[number], fixed, loops) for number in range(WARM_UP)]
    budget_ms = 1.25 * float(np.median(warm))
    governor = Governor(task.points, budget_ms=budget_ms, per="sequence", length=length, hard=True)
    rows: list[tuple[int, bool, float, float, float]] = []
    begin, rival = time.perf_counter(), None
    while (now := time.perf_counter() - begin) < 3 * SECONDS:
        part, governed = int(now // SECONDS), len(rows) % 2 == 0
        if part == 1 and rival is None:
            rival = subprocess.Popen([sys.executable, "-c", RIVAL.format(core=core, seconds=SECONDS)])
        number = (len(rows) // 2) % len(task.sequences)
        sequence = task.sequences[number]
        taken = _governed(sequence, own, governor, loops) if governed else _fixed(sequence, fixed, loops)
        stream = own if governed else fixed
        rows.append((part, governed, taken, task.score(stream.output(), number), stream.usage.fraction))
    if rival is not None:
        rival.wait()
    return _summary(rows, budget_ms)


def _governed(sequence: Any, stream: Any, governor: Governor, loops: int) -> float:
    start = time.perf_counter()
    governor.reset(stream)
    for x in sequence:
        governor.advance(stream, lambda x=x: _encode(x, loops))
    return 1e3 * (time.perf_counter() - start)


def _fixed(sequence: Any, stream: Any, loops: int) -> float:
    start = time.perf_counter()
    stream.reset()
    for x in sequence:
        if stream.needs_input:
            stream.process(_encode(x, loops))
        else:
            stream.skip()
    return 1e3 * (time.perf_counter() - start)


def _summary(rows: list[tuple[int, bool, float, float, float]], budget_ms: float) -> list[dict[str, Any]]:
    parts = ("alone", "with a rival", "alone again")
    summary = []
    for part, title in enumerate(parts):
        for governed in (True, False):
            own = [row for row in rows if row[:2] == (part, governed)]
            latency = np.array([row[2] for row in own])
            summary.append(
                {
                    "part": title,
                    "governed": governed,
                    "sequences": len(own),
                    "budget_ms": round(budget_ms, 2),
                    "over_budget": float((latency > budget_ms).mean()),
                    "latency_ms": float(latency.mean()),
                    "latency_worst_ms": float(latency.max()),
                    "score": float(np.mean([row[3] for row in own])),
                    "inputs_processed": float(np.mean([row[4] for row in own])),
                }
            )
            print(summary[-1])  # noqa: T201
    return summary


def _encode(x: Any, loops: int) -> Any:
    """Work that gives the input back."""
    total = 0
    for number in range(loops):
        total += number
    return x if total >= 0 else None


def _calibrate() -> int:
    """Rounds of the loop that take ENCODER_MS; the fastest of some tries, as others may disturb."""
    best = min(_timed(20_000) for _ in range(30))
    return int(20_000 * ENCODER_MS / best)


def _timed(loops: int) -> float:
    start = time.perf_counter()
    _encode(None, loops)
    return 1e3 * (time.perf_counter() - start)
