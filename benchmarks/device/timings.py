"""Training steps against cuDNN's dense GRU and against an eager loop, interleaved; medians.

A step is forward and backward of one layer with the sum of the last output as its loss, all weights getting their
gradients, no optimiser. "open" processes every input, "sparse" 4 of each 28 (14 %).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from benchmarks.device.models import call_of
from benchmarks.device.place import describe, say, write_json
from torch import Tensor, nn

import skipw
from skipw.ops import reference, triton
from skipw.ops.triton.settings import using

__all__ = ["run"]

Step = Callable[[], None]
DENSE, LOOP = "cuDNN dense GRU", "eager loop (reference)"
TARGETS = {"against_cudnn": 1.2, "loop_against": 50.0}


@dataclass(frozen=True)
class Shape:
    """B sequences of T inputs of width 1, N hidden units, a window of L, M models side by side."""

    batch: int = 256
    steps: int = 784
    hidden: int = 128
    window: int = 28
    models: int = 8


def run(device: torch.device, out: Path, precisions: list[str], minutes: float, tiny: bool) -> int:
    """Measure; writes timings.json and prints a table. Returns 0: a target that is missed is reported, no failure."""
    shape = Shape(batch=3, steps=4, hidden=4, window=2, models=2) if tiny else Shape()
    began = time.perf_counter()
    steps = _steps(shape, precisions, device)
    warm = {
        name: _once(step, device)
        for name, step in steps.items()
        if _works(name, step, 1 if tiny or name == LOOP else 3)
    }
    taken: dict[str, list[float]] = {name: [] for name in warm}
    rounds = 1 if tiny else 30
    for number in range(rounds):
        for name in taken:
            if name == LOOP and number % 10:
                continue  # slow, and needed to two digits only
            taken[name].append(_once(steps[name], device))
        if time.perf_counter() - began > 60 * minutes:
            break
    medians = {name: statistics.median(values) for name, values in taken.items()}
    content = {
        **describe(device),
        "shape": shape.__dict__,
        "median_ms": medians,
        "spread_ms": {name: [min(values), max(values)] for name, values in taken.items()},
        "rounds": {name: len(values) for name, values in taken.items()},
        "targets": TARGETS,
        "peak_memory_gib": torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None,
    }
    write_json(out / "timings.json", content)
    _print_table(medians, shape)
    return 0


def _steps(shape: Shape, precisions: list[str], device: torch.device) -> dict[str, Step]:
    torch.manual_seed(0)
    x = torch.randn(shape.batch, shape.steps, 1, device=device)
    steps = {DENSE: _dense(shape, x, False), f"{DENSE}, tf32": _dense(shape, x, True)}
    steps[LOOP] = _alone(_model(shape, device, True), x, None)
    for precision in precisions:
        for is_open in (True, False):
            share = "open" if is_open else "sparse"
            steps[f"triton {precision} {share}"] = _alone(_model(shape, device, is_open), x, precision)
        models = [_model(shape, device, True) for _ in range(shape.models)]
        steps[f"triton {precision} open, {shape.models} models"] = _together(models, x, precision)
    return steps


def _model(shape: Shape, device: torch.device, is_open: bool) -> Any:
    model = skipw.SkipW("gru", 1, shape.hidden, window=shape.window, gate_state_gradient=0.1)
    with torch.no_grad():
        model.gate.weight.mul_(0.01)
        model.gate.bias.fill_(5.0 if is_open else -5.0)
        model.gate.bias[:: max(1, shape.window // 4)] = 5.0
    return model.to(device)


def _dense(shape: Shape, x: Tensor, tf32: bool) -> Step:
    layer = nn.GRU(1, shape.hidden, batch_first=True).to(x.device)

    def step() -> None:
        before = torch.backends.cudnn.allow_tf32
        torch.backends.cudnn.allow_tf32 = tf32
        try:
            layer.zero_grad(set_to_none=True)
            layer(x)[0][:, -1].sum().backward()
        finally:
            torch.backends.cudnn.allow_tf32 = before

    return step


def _alone(model: Any, x: Tensor, precision: str | None) -> Step:
    def step() -> None:
        model.zero_grad(set_to_none=True)
        call = call_of(model, x, outputs="last")
        if precision is None:
            result = reference.run(call)
        else:
            with using(precision):
                result = triton.run(call)
        (result.output.sum() + 1e-4 * result.updates.sum()).backward()

    return step


def _together(models: list[Any], x: Tensor, precision: str) -> Step:
    def step() -> None:
        for model in models:
            model.zero_grad(set_to_none=True)
        with using(precision):
            results = triton.run_many([call_of(model, x, outputs="last") for model in models])
        total = torch.stack([result.output.sum() + 1e-4 * result.updates.sum() for result in results])
        total.sum().backward()

    return step


def _works(name: str, step: Step, times: int) -> bool:
    """Compile and warm up; what does not run here is said and left out."""
    try:
        for _ in range(times):
            step()
    except (RuntimeError, ValueError) as error:
        say(f"left out: {name}: {str(error).splitlines()[0]}")
        return False
    return True


def _once(step: Step, device: torch.device) -> float:
    """Milliseconds of one step."""
    if device.type != "cuda":
        began = time.perf_counter()
        step()
        return 1e3 * (time.perf_counter() - began)
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    step()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end))


def _print_table(medians: dict[str, float], shape: Shape) -> None:
    dense, loop = medians.get(DENSE), medians.get(LOOP)
    say(f"B{shape.batch} T{shape.steps} H{shape.hidden}, median of a training step")
    say(f"{'':34} {'ms':>9} {'ms/model':>9} {'/ cuDNN':>8} {'loop /':>8}")
    for name, value in medians.items():
        each = value / shape.models if name.endswith("models") else value
        against = f"{each / dense:8.2f}" if dense else f"{'':8}"
        faster = f"{loop / each:8.1f}" if loop else f"{'':8}"
        say(f"{name:34} {value:9.2f} {each:9.2f} {against} {faster}")
