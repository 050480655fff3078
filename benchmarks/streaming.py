"""One input at a time: the C step against numpy, ONNX Runtime and torch's eager cells.

python benchmarks/streaming.py [--rounds 60] [--out benchmarks/results/streaming-DATE.json]

Microseconds an input, called from Python, one thread, float32; every round times each engine for some milliseconds, in
turns, and ratios are taken within a round. "processed" includes reading the input and the gate once in a window;
torch's line is torch.nn.GRUCell or LSTMCell (for FastGRNN this package's module) alone, without gate and normaliser,
under inference_mode.
"""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import skipw
from skipw import OperatingPoint, StreamModel
from skipw.benchmark.machine import describe_machine, describe_versions
from skipw.runtime.onnx.stream import OnnxStreamModel
from skipw.runtime.weights import of_module

log = logging.getLogger("streaming")
SHAPES: dict[str, tuple[str, int, int, int, int]] = {  # cell, D, N, layers, L
    "HAR: 36 -> 2 x GRU 60, L 8": ("gru", 36, 60, 2, 8),
    "the same with FastGRNN": ("fastgrnn", 36, 60, 2, 8),
    "the same with LSTM": ("lstm", 36, 60, 2, 8),
    "sMNIST: 1 -> GRU 128, L 28": ("gru", 1, 128, 1, 28),
    "Adding: 2 -> LSTM 110, L 10": ("lstm", 2, 110, 1, 10),
    "IMDB: 300 -> GRU 128, L 10": ("gru", 300, 128, 1, 10),
}
PASSES = 400
Action = Callable[[int], None]


def actions(cell: str, width: int, hidden: int, layers: int, window: int) -> dict[str, Action]:
    """Each takes a number of inputs and passes so many through one engine."""
    torch.manual_seed(0)
    rnn = skipw.SkipW(cell, width, hidden, layers, window=window).eval()
    x = np.random.default_rng(0).normal(size=width).astype(np.float32)
    weights = of_module(rnn)
    found: dict[str, Action] = {"torch": _torch(rnn, x)}
    models = {
        "c": StreamModel(weights, "c"),
        "numpy": StreamModel(weights, "numpy"),
        "onnx": OnnxStreamModel.from_weights(weights, threads=1),
    }
    for name, model in models.items():
        found[f"{name} processed"] = _walk(model.create_stream(OperatingPoint(window, 0.0)), x)
        found[f"{name} skipped"] = _walk(model.create_stream(OperatingPoint(0, 0.0)), x)
    return found


def _walk(stream: Any, x: Any) -> Action:
    def walk(count: int) -> None:
        for _ in range(count):
            if stream.needs_input:
                stream.process(x)
            else:
                stream.skip()

    return walk


def _torch(rnn: Any, x: Any) -> Action:
    inputs = torch.from_numpy(x)[None]
    lstm = isinstance(rnn.cells[0], torch.nn.LSTMCell)

    @torch.inference_mode()
    def walk(count: int) -> None:
        zeros = torch.zeros(1, rnn.hidden_size)
        states: list[Any] = [(zeros, zeros) if lstm else zeros for _ in rnn.cells]
        for _ in range(count):
            value = inputs
            for index, cell in enumerate(rnn.cells):
                states[index] = cell(value, states[index])
                value = states[index][0] if lstm else states[index]

    return walk


def measure(rounds: int) -> list[dict[str, Any]]:
    """A row a shape: spreads of microseconds an input, and of torch's time over the others'."""
    rows = []
    for shape, sizes in SHAPES.items():
        engines = actions(*sizes)
        counts = {name: PASSES if "skipped" not in name else 20 * PASSES for name in engines}
        for name, action in engines.items():
            action(counts[name] // 10)
        times: dict[str, list[float]] = {name: [] for name in engines}
        for _ in range(rounds):
            for name, action in engines.items():
                start = time.perf_counter()
                action(counts[name])
                times[name].append((time.perf_counter() - start) / counts[name] * 1e6)
        processed = times["c processed"]
        rows.append(
            {
                "shape": shape,
                "microseconds": {name: _spread(values) for name, values in times.items()},
                "times_as_fast_as": {
                    name: _spread([a / b for a, b in zip(times[name], processed, strict=True)])
                    for name in ("torch", "onnx processed", "numpy processed")
                },
            }
        )
        log.info("%s", _line(rows[-1]))
    return rows


def _spread(values: list[float]) -> dict[str, float]:
    lower, median, upper = statistics.quantiles(values, n=4)
    return {"median": median, "lower": lower, "upper": upper, "least": min(values)}


HEADER = """| shape | torch's cells | ONNX Runtime | numpy | C | C, skipped | C: times torch | times ONNX |
|---|---|---|---|---|---|---|---|"""


def _line(row: dict[str, Any]) -> str:
    us, ratio = row["microseconds"], row["times_as_fast_as"]
    cells = [f"{us[name]['median']:.1f}" for name in ("torch", "onnx processed", "numpy processed")]
    cells += [f"{us['c processed']['median']:.2f}", f"{us['c skipped']['median']:.3f}"]
    cells += [f"{ratio[name]['median']:.0f}" for name in ("torch", "onnx processed")]
    return f"| {row['shape']} | {' | '.join(cells)} |"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    log.info("microseconds an input, medians of %d rounds in turns\n%s", chosen.rounds, HEADER)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    result = {
        "schema": 1,
        "date": today,
        "machine": describe_machine(),
        "versions": describe_versions(),
        "rounds": chosen.rounds,
        "rows": measure(chosen.rounds),
    }
    out = chosen.out or Path(__file__).parent / "results" / f"streaming-{today}.json"
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    log.info("written: %s", out)


if __name__ == "__main__":
    main()
