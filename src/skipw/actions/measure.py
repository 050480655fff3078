"""What the service costs at its operating points: time a sequence, time a frame, power (paper, figures 10, 29, 30)."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from skipw.actions.energy import Meter
from skipw.actions.frames import Frames, Paced, open_frames
from skipw.actions.pose_files import PoseFiles
from skipw.actions.pose_model import PoseModel
from skipw.actions.service import ActionService
from skipw.operating_point import OperatingPoint
from skipw.runtime.stream import StreamModel

__all__ = ["PowerRecord", "SequenceRecord", "measure_power", "measure_sequences"]


@dataclass(frozen=True)
class SequenceRecord:
    """A sequence at an operating point.

    Attributes:
        pose: variant of the pose network.
        budget, threshold: where it ran.
        clip: which sequence.
        frames, processed: how many came, how many were processed.
        latency_ms: from its first frame to its answer, nobody waiting for a camera.
        cpu_ms: processor time of this process in it; on a busy machine it is less than the latency.
        read_ms, pose_ms, rnn_ms: of the latency, for decoding, for poses, for SkipW.
        detections: whole images that were searched for a person.
        frame_ms: median of a processed frame; None: none was.
        skipped_ms: median of a skipped frame; None: none was.
    """

    pose: str
    budget: int
    threshold: float
    clip: int
    frames: int
    processed: int
    latency_ms: float
    cpu_ms: float
    read_ms: float
    pose_ms: float
    rnn_ms: float
    detections: int
    frame_ms: float | None
    skipped_ms: float | None


@dataclass(frozen=True)
class PowerRecord:
    """A film at the camera's pace at an operating point; ``pose`` is "idle" where nothing ran.

    Attributes:
        pose, budget, threshold: see ``SequenceRecord``.
        paced: whether frames came at the camera's pace, or as fast as they were processed.
        frames, processed: how many came, how many were processed.
        seconds, cpu_seconds: it lasted, and processor time of this process.
        power_mw: mean.
        sequence_mj: energy of 32 frames.
    """

    pose: str
    budget: int
    threshold: float
    paced: bool
    frames: int
    processed: int
    seconds: float
    cpu_seconds: float
    power_mw: float
    sequence_mj: float


def measure_sequences(
    model: StreamModel,
    files: Mapping[str, PoseFiles],
    clips: Sequence[Path],
    points: Sequence[OperatingPoint],
    *,
    seed: int = 0,
    say: Callable[[str], object] = lambda text: None,
) -> list[SequenceRecord]:
    """Each clip at each point with each pose network, in turns.

    Every point has a service of its own that goes through all clips, as if it were the only one; the order of the
    points is drawn anew for each clip, so what disturbs the machine disturbs all. The first clip is a warm-up.

    Args:
        model: trained on 18 joints.
        files: of the pose networks, by variant.
        clips: video files, one sequence each, one after the other out of one film; the first is not recorded.
        points: where to measure.
        seed: of the orders.
        say: gets a line about progress now and then.
    """
    services = {}
    for variant, own in files.items():
        for point in points:
            pose = PoseModel(own)
            services[variant, point] = (ActionService(model, pose, point), pose)
    order, orders = list(services), random.Random(seed)
    records = []
    for number, clip in enumerate(clips):
        orders.shuffle(order)
        gc.collect()
        for variant, point in order:
            budget = _budget(model, point)
            record = _one_sequence(*services[variant, point], variant, budget, point.threshold, number, clip)
            if number:
                records.append(record)
        if number % 10 == 0:
            say(f"sequence {number} of {len(clips) - 1}")
    return records


def _one_sequence(
    service: ActionService,
    pose: PoseModel,
    variant: str,
    budget: int,
    threshold: float,
    number: int,
    clip: Path,
) -> SequenceRecord:
    frames, detections = open_frames(str(clip)), pose.detections
    start, cpu = time.perf_counter(), time.process_time()
    results = list(service.run(frames))
    latency_ms, cpu_ms = 1e3 * (time.perf_counter() - start), 1e3 * (time.process_time() - cpu)
    frames.close()
    cost: dict[bool, list[float]] = {True: [], False: []}
    for result in results:
        cost[result.processed].append(result.read_ms + result.pose_ms + result.rnn_ms)
    return SequenceRecord(
        pose=variant,
        budget=budget,
        threshold=threshold,
        clip=number,
        frames=len(results),
        processed=len(cost[True]),
        latency_ms=latency_ms,
        cpu_ms=cpu_ms,
        read_ms=sum(result.read_ms for result in results),
        pose_ms=sum(result.pose_ms for result in results),
        rnn_ms=sum(result.rnn_ms for result in results),
        detections=pose.detections - detections,
        frame_ms=statistics.median(cost[True]) if cost[True] else None,
        skipped_ms=statistics.median(cost[False]) if cost[False] else None,
    )


def measure_power(
    model: StreamModel,
    files: Mapping[str, PoseFiles],
    film: Path,
    points: Sequence[OperatingPoint],
    meter: Meter,
    *,
    fps: float = 22.0,
    rounds: int = 3,
    idle_seconds: float = 3.0,
    seed: int = 0,
    say: Callable[[str], object] = lambda text: None,
) -> list[PowerRecord]:
    """The film at the camera's pace at each point with each pose network, in turns; and the two levels around them.

    Args:
        model, files, points, seed, say: see ``measure_sequences``.
        film: a video file of some seconds.
        meter: of the energy.
        fps: of the camera.
        rounds: how often each point is measured.
        idle_seconds: how long nothing runs, each round.
    Returns:
        a record a point, pose network and round; in each round one with nothing running ("idle"), and for each pose
        network one that processes every frame as fast as it can (not ``paced``).
    """
    runs: list[tuple[str, OperatingPoint, bool]] = [
        (variant, point, True) for variant in files for point in points
    ]
    whole = OperatingPoint(model.window, 0.0)
    runs += [(variant, whole, False) for variant in files] + [("idle", whole, True)]
    orders, records = random.Random(seed), []
    for number in range(rounds):
        orders.shuffle(runs)
        for variant, point, paced in runs:
            if variant == "idle":
                idle = meter.energy_of(partial(time.sleep, idle_seconds))
                records.append(
                    PowerRecord(
                        "idle", 0, 0.0, True, 0, 0, idle.seconds, idle.cpu_seconds, idle.power_mw, 0.0
                    )
                )
                continue
            service = ActionService(model, PoseModel(files[variant]), point)
            frames = open_frames(str(film))
            source: Frames = Paced(frames, fps) if paced else frames
            energy = meter.energy_of(partial(_run_through, service, source))
            frames.close()
            totals = service.totals
            records.append(
                PowerRecord(
                    variant, _budget(model, point), point.threshold, paced, totals.frames, totals.processed,
                    energy.seconds, energy.cpu_seconds, energy.power_mw, energy.energy_mj * 32 / totals.frames,
                )
            )  # fmt: skip
        say(f"power: round {number + 1} of {rounds}")
    return records


def _run_through(service: ActionService, frames: Frames) -> None:
    for _ in service.run(frames):
        pass


def _budget(model: StreamModel, point: OperatingPoint) -> int:
    """K, also where the point says "the whole window"."""
    return point.budget if point.budget is not None else model.window or 0
