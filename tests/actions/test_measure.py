"""What is measured is what was run, and it is drawn."""

from __future__ import annotations

from pathlib import Path

import pytest

import skipw
from skipw.actions.energy import Energy
from skipw.actions.figures import draw_latency, draw_power, draw_shares
from skipw.actions.film import film, write_video
from skipw.actions.measure import measure_power, measure_sequences
from skipw.actions.pose_files import PoseFiles
from skipw.actions.region import Image
from skipw.operating_point import OperatingPoint

POINTS = (OperatingPoint(None, 0.0), OperatingPoint(2, 0.0), OperatingPoint(0, 0.0))


class OneWatt:
    """A meter that runs nothing but what it is given."""

    source, measured = "one watt", True

    def energy_of(self, run: object) -> Energy:
        assert callable(run)
        run()
        return Energy(2000.0, 2.0, 1.0)


def test_sequences_are_measured_in_turns(
    tmp_path: Path, model_folder: Path, pose_files: PoseFiles, picture: Image
) -> None:
    frames = film(picture, 3 * 16)
    clips = [tmp_path / f"{number}.avi" for number in range(3)]
    for clip in clips:
        write_video(clip, (next(frames) for _ in range(16)))
    model = skipw.StreamModel.load(model_folder)
    records = measure_sequences(model, {"lite": pose_files}, clips, POINTS)
    assert sorted((r.clip, r.budget, r.processed) for r in records) == [
        (clip, budget, 2 * budget) for clip in (1, 2) for budget in (0, 2, 8)
    ]
    for r in records:
        assert r.pose_ms + r.read_ms + r.rnn_ms <= r.latency_ms and r.cpu_ms > 0 and r.frames == 16
        assert r.detections == 0  # found in the first clip, followed since
        assert (r.frame_ms is None, r.skipped_ms is None) == (r.budget == 0, r.budget == 8)
        if r.frame_ms is not None and r.skipped_ms is not None:
            assert r.frame_ms > 20 * r.skipped_ms
    draw_latency(tmp_path / "latency.png", records, subtitle="a test")
    draw_shares(tmp_path / "shares.png", records, subtitle="a test")
    assert min((tmp_path / f"{name}.png").stat().st_size for name in ("latency", "shares")) > 10_000


def test_power_is_of_the_film_at_its_pace(
    tmp_path: Path, model_folder: Path, pose_files: PoseFiles, picture: Image
) -> None:
    write_video(tmp_path / "film.avi", film(picture, 16))
    model, points = skipw.StreamModel.load(model_folder), POINTS[1:]
    records = measure_power(
        model,
        {"lite": pose_files},
        tmp_path / "film.avi",
        points,
        OneWatt(),
        fps=200.0,
        rounds=2,
        idle_seconds=0.0,
    )
    assert [r.power_mw for r in records] == [1000.0] * 8
    kinds = sorted((r.pose, r.paced, r.budget, r.processed, r.frames) for r in records)
    one = [
        ("idle", True, 0, 0, 0),
        ("lite", False, 8, 16, 16),
        ("lite", True, 0, 0, 16),
        ("lite", True, 2, 4, 16),
    ]
    assert kinds == sorted(one * 2)
    assert all(r.sequence_mj == 2000.0 * 32 / 16 for r in records if r.pose == "lite")
    draw_power(tmp_path / "power.png", records, source="one watt", measured=True, subtitle="a test")
    assert (tmp_path / "power.png").stat().st_size > 10_000


@pytest.mark.parametrize("energy", [Energy(10.0, 0.0, 0.0), Energy(10.0, 2.0, 1.0)])
def test_power_is_energy_over_time(energy: Energy) -> None:
    assert energy.power_mw == (5.0 if energy.seconds else 0.0)
