"""Does the governor hold its budget on a device that slows down? Real sequences, a trained model, a simulated device.

python benchmarks/governor.py --model data/models/mnist/mnist-skipw-sparse
    --grid data/evaluation/mnist/mnist-skipw-sparse/grid.csv --data data/prepared/mnist [--sequences 600]
    [--out benchmarks/results/governor.json] [--figure docs/images/governor.png] [--wall]

A sequence comes each second; the device's speed halves for the middle third. Compared are the governor (plain and
hard), fixed operating points, and an oracle that knows the speed and what each sequence will cost. ``--wall`` adds a
run on this machine's own clock, with processes that compete for its one core in the middle third.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from skipw.benchmark.machine import describe_machine
from skipw.data.prepared import load_split
from skipw.errors import SkipWError
from skipw.operating_point import OperatingPoint
from skipw.runtime.governing.governor import Governor
from skipw.runtime.governing.rated_points import RatedPoint, ladder, read_points
from skipw.runtime.governing.simulated_device import SimulatedDevice, steps
from skipw.runtime.stream import StreamModel

PERIOD_MS = 1000.0
SLOW = 0.5


class Task(NamedTuple):
    """A model and raw test sequences; ``score`` is 1 for a hit, or the squared error."""

    model: StreamModel
    points: tuple[RatedPoint, ...]
    sequences: list[Any]
    targets: Any
    metric: str

    def score(self, output: Any, number: int) -> float:
        if self.metric == "accuracy":
            return float(int(output.argmax()) == self.targets[number])
        return float((output[0] - self.targets[number]) ** 2)


class Row(NamedTuple):
    """What one sequence has cost, and what came out."""

    latency_ms: float
    score: float
    share: float
    budget: int | None
    threshold: float


def read_task(folder: Path, grid: Path, data: Path, count: int) -> Task:
    """The first ``count`` test sequences, as a camera would give them."""
    model = StreamModel.load(folder)
    normaliser = model.description["normaliser"]
    if normaliser["kind"] not in ("none", "scale"):
        raise SystemExit(f"{data} was prepared with {normaliser['kind']!r}: raw inputs cannot be had back.")
    split = load_split(data, "test")
    raw = split.inputs[:count].astype(np.float64)
    if normaliser["kind"] == "scale":
        raw = raw * np.array(normaliser["scale"]) + np.array(normaliser["mean"])
    sequences = [list(x[:n]) for x, n in zip(raw, split.lengths[:count], strict=True)]
    return Task(model, read_points(grid), sequences, split.targets[:count], model.description["metric"])


def device_of(count: int, read: argparse.Namespace) -> SimulatedDevice:
    third = PERIOD_MS * (count // 3)
    profile = steps([(third, SLOW), (2 * third, 1.0)])
    return SimulatedDevice(profile, jitter=read.jitter, spikes=(read.spikes, 5.0), seed=read.seed)


def run_fixed(
    task: Task, point: OperatingPoint, device: SimulatedDevice, args: argparse.Namespace
) -> list[Row]:
    """Every sequence at one point."""
    stream = task.model.create_stream(point)
    rows = []
    for number, sequence in enumerate(task.sequences):
        device.wait_until(number * PERIOD_MS)
        before = device.elapsed_ms()
        stream.reset()
        for x in sequence:
            if stream.needs_input:
                device.spend(args.read_ms)
                stream.process(x)
            else:
                device.spend(args.skip_ms)
                stream.skip()
        rows.append(_row(task, number, stream, device.elapsed_ms() - before))
    return rows


def run_governed(
    task: Task, governor: Governor, device: SimulatedDevice, args: argparse.Namespace
) -> list[Row]:
    """Every sequence at what the governor decides; it knows nothing but its meter."""
    stream = task.model.create_stream()
    rows = []
    for number, sequence in enumerate(task.sequences):
        device.wait_until(number * PERIOD_MS)
        before = device.elapsed_ms()
        governor.reset(stream)
        for x in sequence:
            with governor.step(stream):
                if stream.needs_input:
                    device.spend(args.read_ms)
                    stream.process(x)
                else:
                    device.spend(args.skip_ms)
                    stream.skip()
        rows.append(_row(task, number, stream, device.elapsed_ms() - before))
    return rows


def run_oracle(task: Task, budget_ms: float, args: argparse.Namespace) -> list[Row]:
    """For each sequence the highest rung that fits, found by trying: it knows the speed, without noise."""
    rungs, count = ladder(task.points), len(task.sequences)
    stream = task.model.create_stream()
    rows = []
    for number, sequence in enumerate(task.sequences):
        speed = SLOW if count // 3 <= number < 2 * (count // 3) else 1.0
        best, low, high = None, 0, len(rungs) - 1
        while low <= high:
            middle = (low + high + 1) // 2
            stream.set_operating_point(rungs[middle].point)
            stream.reset()
            for x in sequence:
                if stream.needs_input:
                    stream.process(x)
                else:
                    stream.skip()
            used = stream.usage.processed
            cost = (used * args.read_ms + (len(sequence) - used) * args.skip_ms) / speed
            if cost <= budget_ms or low == high == 0:
                best, low = _row(task, number, stream, cost), middle + 1
            else:
                high = middle - 1
        assert best is not None
        rows.append(best)
    return rows


def fitting(rungs: Sequence[RatedPoint], budget_ms: float, length: int, read_ms: float) -> RatedPoint:
    """The highest rung that leaves a tenth of the budget free where an input costs ``read_ms``."""
    return [rung for rung in rungs if rung.inputs_processed * read_ms * length <= 0.9 * budget_ms][-1]


def _row(task: Task, number: int, stream: Any, latency_ms: float) -> Row:
    point = stream.operating_point
    score = task.score(stream.output(), number)
    return Row(latency_ms, score, stream.usage.fraction, point.budget, point.threshold)


def summarise(rows: Sequence[Row], budget_ms: float) -> dict[str, float]:
    """Shares of sequences over budget, latency and score: of all sequences, and of the slow third."""
    count = len(rows)
    slow = slice(count // 3, 2 * (count // 3))
    latency, score = np.array([row.latency_ms for row in rows]), np.array([row.score for row in rows])
    return {
        "over_budget": float((latency > budget_ms).mean()),
        "over_budget_slow": float((latency[slow] > budget_ms).mean()),
        "latency_ms": float(latency.mean()),
        "latency_p99_ms": float(np.quantile(latency, 0.99)),
        "latency_worst_ms": float(latency.max()),
        "score": float(score.mean()),
        "score_slow": float(score[slow].mean()),
        "inputs_processed": float(np.mean([row.share for row in rows])),
    }


def table(results: dict[str, dict[str, float]], metric: str) -> str:
    """As in docs/governor.md."""
    head = f"| | over budget | in the slow third | mean | 99 % | worst | {metric} | in the slow third |"
    lines = [head, "|---|---|---|---|---|---|---|---|"]
    for name, row in results.items():
        lines.append(
            f"| {name} | {100 * row['over_budget']:.1f} % | {100 * row['over_budget_slow']:.1f} % | "
            f"{row['latency_ms']:.1f} ms | {row['latency_p99_ms']:.1f} ms | {row['latency_worst_ms']:.1f} ms | "
            f"{row['score']:.4f} | {row['score_slow']:.4f} |"
        )
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    args = parse(words)
    try:
        measure(args)
    except SkipWError as error:
        raise SystemExit(f"governor: {error}") from error


def measure(args: argparse.Namespace) -> None:
    """Run all of it, print the table, write what was asked for."""
    task = read_task(args.model, args.grid, args.data, args.sequences)
    rungs, length = ladder(task.points), max(map(len, task.sequences))
    top = rungs[-1].inputs_processed
    budget_ms = args.budget_ms or round(1.1 * length * (top * args.read_ms + (1 - top) * args.skip_ms), 1)
    fixed = {
        "for full speed": rungs[-1],
        "between": fitting(rungs, budget_ms, length, args.read_ms / (0.5 + 0.5 * SLOW)),
        "for half speed": fitting(rungs, budget_ms, length, args.read_ms / SLOW),
    }
    runs: dict[str, list[Row]] = {}
    moves: dict[str, list[Any]] = {}
    for name, hard in (("governor", False), ("governor, hard", True)):
        device = device_of(len(task.sequences), args)
        governor = Governor(
            task.points, budget_ms=budget_ms, per="sequence", length=length, hard=hard,
            meter=device.elapsed_ms, history=100_000,
        )  # fmt: skip
        runs[name] = run_governed(task, governor, device, args)
        moves[name] = [
            (d.sequence, d.input, d.point.budget, d.point.threshold, d.reason) for d in governor.decisions
        ]
    for purpose, rung in fixed.items():
        point, device = rung.point, device_of(len(task.sequences), args)
        name = f"fixed {purpose}: K = {point.budget}, thr = {point.threshold}"
        runs[name] = run_fixed(task, point, device, args)
    runs["oracle"] = run_oracle(task, budget_ms, args)
    results = {name: summarise(rows, budget_ms) for name, rows in runs.items()}
    for name, decisions in moves.items():
        results[name]["moves_per_sequence"] = len(decisions) / len(task.sequences)
    print(f"{len(task.sequences)} sequences, budget {budget_ms} ms a sequence\n")  # noqa: T201
    print(table(results, task.metric))  # noqa: T201
    for name, decisions in moves.items():
        print(f"{name}: {len(decisions) / len(task.sequences):.2f} moves a sequence")  # noqa: T201
    report: dict[str, Any] = {
        "schema": 1,
        "date": datetime.now(UTC).date().isoformat(),
        "dataset": task.model.description["dataset"],
        "data_source": task.model.description["data_source"],
        "experiment": task.model.description["experiment"],
        "metric": task.metric,
        "settings": {
            "sequences": len(task.sequences), "budget_ms": budget_ms, "read_ms": args.read_ms,
            "skip_ms": args.skip_ms, "slow": SLOW, "jitter": args.jitter, "spikes": [args.spikes, 5.0],
            "seed": args.seed,
        },
        "results": results,
    }  # fmt: skip
    if args.wall:
        from governor_wall import run_wall

        report["machine"] = describe_machine()
        report["wall"] = run_wall(task)
    if args.out is not None:
        args.out.write_text(json.dumps(report, indent=1) + "\n")
    if args.figure is not None:
        from governor_figure import draw

        draw(args.figure, runs, moves["governor"], task, budget_ms, SLOW)


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = Path("data")
    parser.add_argument("--model", type=Path, default=data / "models/mnist/mnist-skipw-sparse")
    parser.add_argument("--grid", type=Path, default=data / "evaluation/mnist/mnist-skipw-sparse/grid.csv")
    parser.add_argument("--data", type=Path, default=data / "prepared/mnist")
    parser.add_argument("--sequences", type=int, default=600)
    parser.add_argument(
        "--budget-ms", type=float, help="a sequence; default: 1.1 times what full speed needs"
    )
    parser.add_argument("--read-ms", type=float, default=1.0, help="work of a processed input")
    parser.add_argument("--skip-ms", type=float, default=0.005, help="work of a skipped input")
    parser.add_argument("--jitter", type=float, default=0.1)
    parser.add_argument(
        "--spikes", type=float, default=0.005, help="how often an input takes 5 times as long"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--wall", action="store_true", help="also on this machine's clock: a minute")
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    parser.add_argument("--figure", type=Path, help="draw this picture")
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
