"""Whole models against the equations in plain Python: lists, loops and ``math``, one sequence at a time."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import skipw
from tests.core.cases import BACKENDS, TIME_FEATURES, make

Vector = list[float]
DIFFERENT = 1e-12


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def linear(weight: list[Vector], bias: Vector, v: Vector) -> Vector:
    return [sum(w * x for w, x in zip(row, v, strict=True)) + b for row, b in zip(weight, bias, strict=True)]


def gru(p: dict[str, Any], x: Vector, state: tuple[Vector, ...]) -> tuple[Vector, ...]:
    """torch.nn.GRU's variant: the reset gate acts after the recurrent product."""
    (h,) = state
    n = len(h)
    a, b = linear(p["weight_ih"], p["bias_ih"], x), linear(p["weight_hh"], p["bias_hh"], h)
    r = [sigmoid(a[i] + b[i]) for i in range(n)]
    z = [sigmoid(a[n + i] + b[n + i]) for i in range(n)]
    new = [math.tanh(a[2 * n + i] + r[i] * b[2 * n + i]) for i in range(n)]
    return ([(1 - z[i]) * new[i] + z[i] * h[i] for i in range(n)],)


def lstm(p: dict[str, Any], x: Vector, state: tuple[Vector, ...]) -> tuple[Vector, ...]:
    h, c = state
    n = len(h)
    s = [
        a + b
        for a, b in zip(
            linear(p["weight_ih"], p["bias_ih"], x), linear(p["weight_hh"], p["bias_hh"], h), strict=True
        )
    ]
    i, f, o = ([sigmoid(v) for v in s[k * n : (k + 1) * n]] for k in (0, 1, 3))
    g = [math.tanh(v) for v in s[2 * n : 3 * n]]
    c = [f[k] * c[k] + i[k] * g[k] for k in range(n)]
    return [o[k] * math.tanh(c[k]) for k in range(n)], c


class Plain:
    """The weights of a model as lists, its state, and what it gives out."""

    def __init__(self, model: Any) -> None:
        self.step_cell = gru if model.cell == "gru" else lstm
        self.cells = [
            {name: value.tolist() for name, value in cell.named_parameters()} for cell in model.cells
        ]
        starts = [model.initial_state] + ([] if model.initial_cell is None else [model.initial_cell])
        self.states = [tuple(part[k, 0].tolist() for part in starts) for k in range(model.num_layers)]
        self.weight, self.bias = model.gate.weight.tolist(), model.gate.bias.tolist()
        self.outputs: list[Vector] = []
        self.updates: list[bool] = []
        self.values: Vector = []

    def candidate(self, x: Vector) -> list[tuple[Vector, ...]]:
        """c̃ of each layer (eq. 5), layer by layer on the candidate below."""
        made = []
        for p, state in zip(self.cells, self.states, strict=True):
            made.append(self.step_cell(p, x, state))
            x = made[-1][0]
        return made

    def finish(self, update: bool, value: float, x: Vector) -> None:
        if update:
            self.states = self.candidate(x)
        self.outputs.append(self.states[-1][0])
        self.updates.append(update)
        self.values.append(value)


def plain_skipw(model: Any, xs: list[Vector], points: list[skipw.OperatingPoint]) -> Plain:
    """Eqs. 5 to 10, with ``points[t]`` in force at input t."""
    run, last_update, window = Plain(model), -1, model.window
    importance: Vector = []
    plan: set[int] = set()
    used = 0
    for t, x in enumerate(xs):
        i, point = t % window, points[t]
        if i == 0:
            times = {"steps": t, "window": t // window, "since_update": t - max(last_update, 0)}
            feature = [times[model.time_feature] / model.time_scale] if model.time_feature in times else []
            importance = [sigmoid(z) for z in linear(run.weight, run.bias, run.states[-1][-1] + feature)]
            used = 0
        if i == 0 or points[t - 1] != point:
            budget = window if point.budget is None else point.budget
            ranked = sorted(range(i, window), key=lambda j: (-importance[j], j))
            plan = set(ranked[: max(0, budget - used)])
        update = i in plan and importance[i] >= point.threshold
        if update:
            used, last_update = used + 1, t
        run.finish(update, importance[i], x)
    return run


def plain_accumulating(model: Any, xs: list[Vector], points: list[skipw.OperatingPoint]) -> Plain:
    """Eqs. 1 to 4: ThrRNN and SkipRNN."""
    run, accumulated, increment = Plain(model), 1.0, 1.0
    for x, point in zip(xs, points, strict=True):
        update, value = accumulated >= point.threshold, accumulated
        run.finish(update, value, x)
        if update:
            accumulated = increment = sigmoid(linear(run.weight, run.bias, run.states[-1][-1])[0])
        else:
            accumulated = accumulated + min(increment, 1 - accumulated)
    return run


def compare(model: Any, x: torch.Tensor, at: Any, backend: str) -> torch.Tensor:
    """One sequence, Float[1, T, D], in both; returns the updates."""
    point, points = skipw.OperatingPoint(), []
    switches = {} if at is None else dict(at)
    for t in range(x.shape[1]):
        point = switches.get(t, point)
        points.append(point)
    plain = (plain_skipw if model.window else plain_accumulating)(model, x[0].tolist(), points)
    y = model(x, at=at, backend=backend)
    assert y.updates[0].tolist() == plain.updates
    assert (y.output[0] - torch.tensor(plain.outputs, dtype=x.dtype)).abs().max() < DIFFERENT
    assert (y.importance[0] - torch.tensor(plain.values, dtype=x.dtype)).abs().max() < DIFFERENT
    assert y.input_cost.tolist() == [sum(plain.updates)]
    return y.updates


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("time_feature", TIME_FEATURES)
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_skipw(cell: str, time_feature: str, backend: str) -> None:
    processed = []
    for seed in range(3):
        model = make(
            cell=cell, layers=1 + seed % 2, seed=seed, window=4, time_feature=time_feature, time_scale=5.0
        )
        x = torch.randn(1, 15, 3, dtype=torch.float64)
        point = skipw.OperatingPoint
        for at in (
            skipw.Schedule([(0, point(2, 0.3))]),
            skipw.Schedule([(0, point(3, 0.6)), (1, point(1, 0.1)), (6, point(4, 0.4)), (11, point(2, 0.0))]),
        ):
            processed.append(compare(model, x, at, backend).double().mean())
    assert 0.1 < float(sum(processed)) / len(processed) < 0.7


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("name", ["thrrnn", "skiprnn"])
def test_accumulating_models(name: str, cell: str, backend: str) -> None:
    point, processed = skipw.OperatingPoint, []
    for seed in range(3):
        model = make(name, cell, 1 + seed % 2, seed=seed)
        x = torch.randn(1, 25, 3, dtype=torch.float64)
        processed.append(compare(model, x, None, backend).double().mean())
        if name == "thrrnn":
            at = skipw.Schedule(
                [(0, point(threshold=0.8)), (9, point(threshold=0.2)), (16, point(threshold=1.0))]
            )
            processed.append(compare(model, x, at, backend).double().mean())
    assert 0.1 < float(sum(processed)) / len(processed) < 0.9
