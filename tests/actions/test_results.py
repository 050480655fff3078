"""The benchmark's tables and figures out of a results file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from benchmarks import har_service

from skipw.actions.measure import PowerRecord, SequenceRecord


def sequence(pose: str, budget: int, clip: int, latency_ms: float) -> SequenceRecord:
    processed = 4 * budget
    skipped_ms = None if budget == 8 else 0.002
    return SequenceRecord(
        pose, budget, 0.0, clip, 32, processed, latency_ms, 0.9 * latency_ms, 0.1 * latency_ms,
        0.7 * latency_ms, 1.5, 0, 22.5, skipped_ms,
    )  # fmt: skip


@pytest.fixture
def results() -> dict[str, Any]:
    sequences = [
        sequence(pose, budget, clip, 100.0 * budget + clip)
        for pose in ("full", "lite")
        for budget in (1, 8)
        for clip in range(1, 6)
    ]
    power = [PowerRecord("idle", 0, 0.0, True, 0, 0, 3.0, 0.0, 10.0, 0.0)]
    for pose in ("full", "lite"):
        power += [
            PowerRecord(pose, 1, 0.0, True, 128, 16, 6.0, 0.6, 400.0, 600.0),
            PowerRecord(pose, 8, 0.0, False, 128, 128, 3.0, 3.0, 4000.0, 3000.0),
        ]
    return {
        "model": {"cost_per_input": 0.02, "window": 8, "title": "Mall poses"},
        "machine": {"cpu": "a processor"},
        "energy": {"source": "estimate", "measured": False},
        "sequences": [dataclasses.asdict(record) for record in sequences],
        "power": [dataclasses.asdict(record) for record in power],
    }


def test_tables_hold_the_medians(results: dict[str, Any]) -> None:
    head, _, *rows = har_service.latency_table(results).splitlines()
    assert [row.split(" | ")[:2] for row in rows] == [
        ["| lite", "[8, 0]"], ["| lite", "[1, 0]"], ["| full", "[8, 0]"], ["| full", "[1, 0]"]
    ]  # fmt: skip
    assert rows[1] == "| lite | [1, 0] | 12.5% | 103 (101 to 105) | 92.7 | 72.1 | 10.3 | 1.5 | 22.5 | 2 |"
    assert rows[0].endswith("| 22.5 |  |") and head.count("|") == rows[0].count("|")
    rows = har_service.power_table(results).splitlines()[2:]
    assert rows[0] == "| lite | [8, 0], no pause | 100.0% | 4000 | 3000 | 100 |"
    assert rows[1] == "| lite | [1, 0] | 12.5% | 400 | 600 | 10 |" and len(rows) == 4


def test_figures_are_drawn(results: dict[str, Any], tmp_path: Path) -> None:
    har_service.draw(results, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "har-latency.png",
        "har-shares.png",
        "har-power.png",
    }
    first = (tmp_path / "har-power.png").read_bytes()
    har_service.draw(results, tmp_path)
    assert (tmp_path / "har-power.png").read_bytes() == first  # the same numbers, the same bytes
