"""example.json of a bundle: what the reference answers to one sequence, for a deployment to test itself with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skipw.models.architecture import Architecture
from skipw.operating_point import OperatingPoint, Schedule
from skipw.runtime.encoding import encoder_of
from skipw.runtime.selection import DRAWING
from skipw.runtime.weights import DENSE, Weights

__all__ = ["EXAMPLE_FILE", "TOLERANCE", "Deviation", "example_runs", "make_example", "replay"]

EXAMPLE_FILE = "example.json"
TOLERANCE = 1e-5
SEED = 0
Switches = tuple[tuple[int, OperatingPoint | None], ...]


@dataclass(frozen=True)
class Deviation:
    """How far a stream was from example.json.

    Attributes:
        inputs: decided in all runs.
        differing: of these, processed where the reference skips, or the other way round.
        output: largest absolute difference of an output.
    """

    inputs: int
    differing: int
    output: float

    @property
    def passed(self) -> bool:
        """Every decision the same, every output within 1e-5."""
        return self.differing == 0 and self.output <= TOLERANCE


def example_runs(a: Architecture, point: OperatingPoint | None, steps: int) -> list[Switches]:
    """At which points the example runs: ``point``, a cheaper one, and from one to the other within a window."""
    if a.model in DENSE:
        return [((0, None),)]
    first = OperatingPoint() if point is None else point
    if a.model == "skiprnn":
        return [((0, first),)]
    if a.model == "skipw":
        most = first.budget_in(a.window or 1)
        second = OperatingPoint(most // 2 if most > 1 else a.window, first.threshold)
        start = min((a.window or 1) + (a.window or 1) // 2, steps - 1)
    else:
        second, start = OperatingPoint(threshold=0.5 + first.threshold / 2), steps // 2
    return [((0, first),), ((0, second),), ((0, first), (start, second))]


def make_example(
    folder: Path, weights: Weights, point: OperatingPoint | None, candidates: Iterable[Sequence[Any]]
) -> dict[str, Any]:
    """Expected updates and outputs, from the reference backend.

    Selectors that draw cannot be asked for the same draws; for these it is the stream with the seed 0.

    Args:
        folder: of model.safetensors and model.json.
        weights: of the same.
        point: the default one.
        candidates: raw sequences. The first is taken whose decisions are the same in single and in double
            precision; else the last.
    """
    chosen: dict[str, Any] = {}
    for inputs in candidates:
        runs = example_runs(weights.architecture, point, len(inputs))
        if weights.architecture.select in DRAWING:
            traces = [_streamed(weights, inputs, run) for run in runs]
            firm = True
        else:
            traces, firm = _reference(folder, weights, inputs, runs)
        chosen = {
            "seed": SEED,
            "tolerance": TOLERANCE,
            "inputs": list(inputs),
            "runs": [
                {"points": [_plain(*one) for one in run], "updates": updates, "outputs": outputs}
                for run, (updates, outputs) in zip(runs, traces, strict=True)
            ],
        }
        if firm:
            break
    return chosen


Traces = list[tuple[list[bool], list[list[float]]]]


def _reference(
    folder: Path, weights: Weights, inputs: Sequence[Any], runs: Sequence[Switches]
) -> tuple[Traces, bool]:
    """Updates and outputs of each run, and whether double precision decides alike."""
    import torch

    from skipw.models.saved import load_model

    model, _ = load_model(folder)
    encode = encoder_of(weights)
    x = torch.from_numpy(np.stack([encode(raw) for raw in inputs])).unsqueeze(0)
    results, decisions = [], []
    for dtype in (torch.float32, torch.float64):
        model.to(dtype)
        for run in runs:
            at = {} if weights.architecture.model in DENSE else {"at": Schedule(run)}  # type: ignore[arg-type]
            with torch.inference_mode():
                y = model.rnn(x.to(dtype), backend="reference", **at)
                outputs = model.head(y.output[0])
            decisions.append(y.updates[0].tolist())
            results.append((y.updates[0].tolist(), _rounded(outputs.numpy())))
    count = len(runs)
    return results[:count], decisions[:count] == decisions[count:]


def _streamed(weights: Weights, inputs: Sequence[Any], run: Switches) -> tuple[list[bool], list[list[float]]]:
    from skipw.runtime.stream import StreamModel

    return _walk(StreamModel(weights).create_stream(run[0][1], seed=SEED), inputs, dict(run[1:]))


def _walk(
    stream: Any, inputs: Sequence[Any], switches: Mapping[int, OperatingPoint | None]
) -> tuple[list[bool], list[list[float]]]:
    updates, outputs = [], []
    for t, raw in enumerate(inputs):
        if t in switches:
            stream.set_operating_point(switches[t])
        due = bool(stream.needs_input)
        if due:
            stream.process(raw)
        else:
            stream.skip()
        updates.append(due)
        outputs.append(stream.output())
    return updates, _rounded(np.stack(outputs))


def replay(example: Mapping[str, Any], model: Any) -> Deviation:
    """Run a stream model, of whatever engine, through an example."""
    inputs, differing, largest = 0, 0, 0.0
    for run in example["runs"]:
        points = {int(one["start"]): _point(one) for one in run["points"]}
        stream = model.create_stream(points.pop(0), seed=example["seed"])
        updates, outputs = _walk(stream, example["inputs"], points)
        inputs += len(updates)
        differing += sum(a != bool(b) for a, b in zip(updates, run["updates"], strict=True))
        gap = np.abs(np.asarray(outputs) - np.asarray(run["outputs"])).max()
        largest = max(largest, float(gap) if np.isfinite(gap) else np.inf)
    return Deviation(inputs, differing, largest)


def read_example(path: Path) -> dict[str, Any]:
    """What :func:`make_example` wrote."""
    example: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return example


def _plain(start: int, point: OperatingPoint | None) -> dict[str, Any]:
    budget, threshold = (None, None) if point is None else (point.budget, point.threshold)
    return {"start": start, "budget": budget, "threshold": threshold}


def _point(one: Mapping[str, Any]) -> OperatingPoint | None:
    return None if one["threshold"] is None else OperatingPoint(one["budget"], one["threshold"])


def _rounded(outputs: Any) -> list[list[float]]:
    """Seven decimals: a hundredth of the tolerance."""
    rows: list[list[float]] = np.round(np.asarray(outputs, dtype=np.float64), 7).tolist()
    return rows
