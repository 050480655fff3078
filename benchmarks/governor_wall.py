"""The governor on this machine's own clock: a busy encoder on one core, and for a while others that want the core."""

from __future__ import annotations

import multiprocessing
import os
import time
from typing import Any

import numpy as np

from skipw.runtime.governor import Governor
from skipw.runtime.rated_points import ladder

ENCODER_MS = 2.0  # of an idle core, calibrated at the start
SECONDS = 15.0  # each of the three parts


def run_wall(task: Any) -> list[dict[str, Any]]:
    """Rows for the governor and for the point that fits the undisturbed machine, an alternate sequence each.

    All of it is pinned to one core; in the middle part one more process spins there. The two take turns, so that
    they see the same machine.
    """
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    loops = _calibrate()
    length = max(map(len, task.sequences))
    top = ladder(task.points)[-1]
    budget_ms = 1.25 * length * top.inputs_processed * ENCODER_MS
    governor = Governor(task.points, budget_ms=budget_ms, per="sequence", length=length, hard=True)
    own, fixed = task.model.create_stream(), task.model.create_stream(top.point)
    rows = []
    begin, rival = time.perf_counter(), None
    while (now := time.perf_counter() - begin) < 3 * SECONDS:
        part = int(now // SECONDS)
        if part == 1 and rival is None:
            rival = multiprocessing.get_context("spawn").Process(
                target=_spin, args=(core, SECONDS), daemon=True
            )
            rival.start()
        number = (len(rows) // 2) % len(task.sequences)
        sequence = task.sequences[number]
        start = time.perf_counter()
        governed = len(rows) % 2 == 0
        if governed:
            governor.reset(own)
            for x in sequence:
                governor.advance(own, lambda x=x: _encode(x, loops))
        else:
            fixed.reset()
            for x in sequence:
                if fixed.needs_input:
                    fixed.process(_encode(x, loops))
                else:
                    fixed.skip()
        taken = 1e3 * (time.perf_counter() - start)
        stream = own if governed else fixed
        rows.append((part, governed, taken, task.score(stream.output(), number), stream.usage.fraction))
    if rival is not None:
        rival.join()
    return _summary(rows, budget_ms)


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


def _spin(core: int, seconds: float) -> None:
    os.sched_setaffinity(0, {core})
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
