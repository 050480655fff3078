"""Gradients through the gates, against autograd of the equations written down naively.

Here u_t is ``value + (hard - value).detach()``, states are mixed by ``u c̃ + (1 - u) s``, every candidate is
computed and autograd does the rest: slow, and with nothing in common with the package's own code.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import skipw
from tests.core.cases import BACKENDS, gradients, make

State = list[tuple[Tensor, ...]]
ALLOWED = 1e-12


def naive_gru(p: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    (h,) = state
    a, b = (x @ p.weight_ih.T + p.bias_ih).chunk(3, 1), (h @ p.weight_hh.T + p.bias_hh).chunk(3, 1)
    r, z = 1 / (1 + torch.exp(-a[0] - b[0])), 1 / (1 + torch.exp(-a[1] - b[1]))
    return ((1 - z) * torch.tanh(a[2] + r * b[2]) + z * h,)


def naive_lstm(p: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    h, c = state
    i, f, g, o = (x @ p.weight_ih.T + p.bias_ih + h @ p.weight_hh.T + p.bias_hh).chunk(4, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def passed_straight_through(value: Tensor, hard: Tensor) -> Tensor:
    return value + (hard.to(value.dtype) - value).detach()


def scaled(value: Tensor, factor: float) -> Tensor:
    return factor * value + (1 - factor) * value.detach()


def advance(model: Any, x: Tensor, states: State, u: Tensor) -> tuple[State, State]:
    """Candidates, each layer on the candidate below, then eq. 5 for all layers and parts."""
    cell = naive_gru if model.cell == "gru" else naive_lstm
    candidates: State = []
    for p, state in zip(model.cells, states, strict=True):
        candidates.append(cell(p, x, state))
        x = candidates[-1][0]
    return mixed(u, candidates, states), candidates


def mixed(u: Tensor, candidates: State, states: State) -> State:
    column = u.unsqueeze(1)
    return [
        tuple(column * a + (1 - column) * b for a, b in zip(new, old, strict=True))
        for new, old in zip(candidates, states, strict=True)
    ]


def start(model: Any, batch: int) -> State:
    parts = [model.initial_state] + ([] if model.initial_cell is None else [model.initial_cell])
    return [tuple(part[k].expand(batch, -1) for part in parts) for k in range(model.num_layers)]


def naive_skipw(model: Any, x: Tensor, budget: int, threshold: float) -> tuple[Tensor, Tensor, State]:
    """Eqs. 5 to 10 with the time feature "steps": outputs, updates, last states."""
    batch, num_steps, _ = x.shape
    states, outputs, updates = start(model, batch), [], []
    for t in range(num_steps):
        i = t % model.window
        if i == 0:
            view = scaled(states[-1][-1], model.gate_state_gradient)
            time = torch.full((batch, 1), t / model.time_scale, dtype=x.dtype)
            importance = torch.sigmoid(torch.cat([view, time], 1) @ model.gate.weight.T + model.gate.bias)
            kth = importance.sort(1, descending=True).values[:, budget - 1]
            hard = (importance >= kth.unsqueeze(1)) & (importance >= threshold)  # no ties here
        u = passed_straight_through(importance[:, i], hard[:, i])
        states, _ = advance(model, x[:, t], states, u)
        outputs.append(states[-1][0])
        updates.append(u)
    return torch.stack(outputs, 1), torch.stack(updates, 1), states


def naive_accumulating(model: Any, x: Tensor, threshold: float) -> tuple[Tensor, Tensor, State]:
    """Eqs. 1 to 4 as READINGS.md has them: the probability comes from the candidate."""
    batch, num_steps, _ = x.shape
    states, outputs, updates = start(model, batch), [], []
    accumulated = increment = torch.ones(batch, dtype=x.dtype)
    for t in range(num_steps):
        u = passed_straight_through(accumulated, accumulated >= threshold)
        states, candidates = advance(model, x[:, t], states, u)
        view = scaled(candidates[-1][-1], model.gate_state_gradient)
        p = torch.sigmoid(view @ model.gate.weight[0] + model.gate.bias)
        waited = torch.minimum(accumulated + increment, torch.ones((), dtype=x.dtype))
        accumulated, increment = u * p + (1 - u) * waited, u * p + (1 - u) * increment
        outputs.append(states[-1][0])
        updates.append(u)
    return torch.stack(outputs, 1), torch.stack(updates, 1), states


def loss(output: Tensor, updates: Tensor, states: State, weights: list[Tensor]) -> Tensor:
    """Some task loss on all outputs and last states, and eq. 11's cost, each weighted."""
    total = (output.square() * weights[0]).sum() + 0.3 * (updates.sum(1) * weights[1]).sum()
    for state in states:
        for part in state:
            total = total + (part * weights[2]).sum()
    return total


def layers_of(state: skipw.SkipState) -> State:
    return [(layer,) if isinstance(layer, Tensor) else layer for layer in state.layers]


def check(
    model: Any, naive: Any, at: skipw.OperatingPoint, backend: str, settings: tuple[Any, ...]
) -> Tensor:
    x = torch.randn(3, 14, 3, dtype=torch.float64, requires_grad=True)
    leaves = {"x": x, **dict(model.named_parameters())}
    weights = [torch.randn(shape, dtype=torch.float64) for shape in ((3, 14, 5), (3,), (3, 5))]
    output, updates, states = naive(model, x, *settings)
    expected = gradients(loss(output, updates, states, weights), leaves)
    y = model(x, at=at, backend=backend)
    assert torch.equal(y.updates, updates.detach().round() != 0)
    assert (y.output - output).abs().max() < ALLOWED
    task = loss(y.output, y.input_cost.unsqueeze(1), layers_of(y.state), weights)
    got = gradients(task, leaves)
    for name, grad in expected.items():
        scale = max(1.0, float(grad.abs().max()))
        assert (grad - got[name]).abs().max() < ALLOWED * scale, name
    assert expected["d.gate.weight"].abs().max() > 1e-3
    return y.updates


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("factor", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(("budget", "threshold"), [(4, 0.5), (2, 0.3)])
@pytest.mark.parametrize(("cell", "layers"), [("gru", 1), ("gru", 2), ("lstm", 1), ("lstm", 2)])
def test_skipw(cell: str, layers: int, budget: int, threshold: float, factor: float, backend: str) -> None:
    model = make("skipw", cell, layers, window=4, gate_state_gradient=factor)
    updates = check(model, naive_skipw, skipw.OperatingPoint(budget, threshold), backend, (budget, threshold))
    assert 0.1 < updates.double().mean() < 0.9


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("factor", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(("cell", "layers"), [("gru", 1), ("gru", 2), ("lstm", 1), ("lstm", 2)])
def test_thrrnn(cell: str, layers: int, factor: float, backend: str) -> None:
    model = make("thrrnn", cell, layers, gate_state_gradient=factor, seed=2)
    updates = check(model, naive_accumulating, skipw.OperatingPoint(threshold=0.6), backend, (0.6,))
    assert 0.1 < updates.double().mean() < 0.9


@pytest.mark.parametrize("backend", BACKENDS)
def test_losers_of_top_k_get_gradient_too(backend: str) -> None:
    """Identity to all L values: a skipped slot learns from what its candidate would have done."""
    model = make("skipw", window=4)
    y = model(torch.randn(2, 4, 3, dtype=torch.float64), at=skipw.OperatingPoint(0, 0.0), backend=backend)
    assert not y.updates.any()
    grad = torch.autograd.grad(y.output[:, -1].sum(), model.gate.bias)[0]
    assert (grad.abs() > 1e-9).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_lambda_pushes_every_gate_that_came_and_no_other(backend: str) -> None:
    """d input_cost / d bias of slot i is σ'(z_i) for each window; slots beyond the end have none."""
    model = make("skipw", window=4, time_feature="none", gate_state_gradient=0.0)
    y = model(torch.randn(1, 3, 3, dtype=torch.float64), backend=backend)
    grad = torch.autograd.grad(y.input_cost.sum(), model.gate.bias)[0]
    importance = y.importance[0].detach()
    torch.testing.assert_close(grad[:3], importance * (1 - importance), rtol=0, atol=1e-14)
    assert float(grad[3]) == 0.0
