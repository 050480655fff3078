"""Gates that see more than state and time: what they see, what its gradient is, and that all backends agree."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

import skipw
from skipw.gate_inputs import GATE_INPUTS, halvings
from tests.core.cases import (
    BACKENDS,
    EVERY_CELL,
    PLAIN_CELLS,
    WINDOW,
    assert_same,
    inferred,
    make,
    outcome,
    points,
)

COMBINATIONS = [seen for count in (1, 2, 4) for seen in itertools.combinations(GATE_INPUTS, count)]
SCALE = 7.0
HALF = skipw.OperatingPoint(WINDOW, 0.5)


def made(seen: tuple[str, ...], cell: str = "gru", **settings: Any) -> Any:
    return make(cell=cell, layers=2, gate_inputs=seen, time_scale=SCALE, gate_state_gradient=0.3, **settings)


def inputs(batch: int = 4, steps: int = 20) -> Tensor:
    return torch.randn(batch, steps, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "reference"])
@pytest.mark.parametrize("cell", PLAIN_CELLS)
@pytest.mark.parametrize("seen", COMBINATIONS, ids="+".join)
def test_every_backend_has_the_reference_s_answers_and_gradients(
    seen: tuple[str, ...], cell: str, backend: str
) -> None:
    """Under a schedule that switches within windows, with rows of all lengths, and from a state in mid-window."""
    model, x = made(seen, cell), inputs()
    call = {"lengths": torch.tensor([20, 0, 7, 15]), "at": points("skipw")}
    expected = outcome(model, x, backend="reference", **call)
    column = -3 if seen[-1] == "budget" else -1  # the first of three; K is at least 2 here
    assert float(expected["d.gate.weight"][:, column].abs().min()) > 0
    assert_same(expected, outcome(model, x, backend=backend, **call))
    assert_same(inferred(model, x, backend="reference", **call), inferred(model, x, backend=backend, **call))
    state = model(inputs(4, 9), backend="reference").state.detach()
    leaves = {"importance": state.importance, "last": state.last_input, "h": state.layers[0]}
    leaves = {k: v.requires_grad_() for k, v in leaves.items() if isinstance(v, Tensor)}
    later = skipw.Schedule(
        [(0, skipw.OperatingPoint(0)), (3, HALF)]
    )  # the next window sees what came before this call
    call = {"at": later, "state": state, "leaves": leaves}
    expected = outcome(model, x, backend="reference", **call)
    assert_same(expected, outcome(model, x, backend=backend, **call))
    if "input" in seen:
        assert float(expected["d.last"].abs().max()) > 0


@pytest.mark.parametrize("backend", EVERY_CELL)
def test_cells_of_ones_own_and_other_gradients_of_the_selection(backend: str) -> None:
    x, at = inputs(), skipw.OperatingPoint(2, 0.3)
    for settings in ({"cell": "pair"}, {"selection_gradient": "soft"}, {"selection_gradient": "zero_sum"}):
        model = made(GATE_INPUTS, **settings)
        assert_same(outcome(model, x, backend="reference", at=at), outcome(model, x, backend=backend, at=at))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_window_opens_on_what_is_said(backend: str) -> None:
    """σ(W [h; t; since; importance before; last input; K] + b), computed here, at every window."""
    model, x = made(GATE_INPUTS), inputs(3, 4 * WINDOW)
    at = skipw.OperatingPoint(WINDOW - 2, 0.5)
    y = model(x, at=at, backend=backend)
    assert 0 < int(y.updates.sum()) < y.updates.numel()
    state, importance = None, torch.zeros(3, WINDOW, dtype=torch.float64)
    for start in range(0, 4 * WINDOW, WINDOW):
        h = model.initial_state[-1].expand(3, -1) if state is None else state.layers[-1]
        before = torch.arange(4 * WINDOW) < start
        last = [int(row.nonzero()[-1]) if row.any() else -1 for row in y.updates & before]
        since = torch.tensor([[start - max(t, 0)] for t in last]).double() / SCALE
        seen = torch.stack([x[b, t] if t >= 0 else torch.zeros(3) for b, t in enumerate(last)])
        time = torch.full((3, 1), start / SCALE, dtype=torch.float64)
        halved = torch.tensor([2 / 3, 0, 0], dtype=torch.float64).expand(3, -1)  # K = 4 of 6
        features = torch.cat([h, time, since, importance, seen, halved], 1).double()
        importance = torch.sigmoid(features @ model.gate.weight.T + model.gate.bias)
        found = y.importance[:, start : start + WINDOW]
        torch.testing.assert_close(found, importance, rtol=0, atol=1e-12)
        if state is not None:
            told = model.window_importance(state, WINDOW - 2)
            torch.testing.assert_close(told, importance, rtol=0, atol=1e-12)
        state = model(x[:, : start + WINDOW], at=at, backend=backend).state


@pytest.mark.parametrize(
    ("budget", "window", "expected"),
    [
        (28, 28, [0, 0, 0, 0, 0]),
        (21, 28, [0.5, 0, 0, 0, 0]),
        (14, 28, [1, 0, 0, 0, 0]),
        (7, 28, [1, 1, 0, 0, 0]),
        (1, 28, [1, 1, 1, 1, 6 / 7]),
        (0, 28, [1, 1, 1, 1, 1]),
        (3, 8, [1, 0.5, 0]),
        (1, 2, [1]),
        (1, 1, [0]),
        (0, 1, [1]),
    ],
)
def test_how_far_a_budget_has_gone_down(budget: int, window: int, expected: list[float]) -> None:
    assert halvings(budget, window) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_budget_that_a_window_opens_under(backend: str) -> None:
    """K = L is no K at all; K moved within a window is seen by the next one, at a window's first input by this one."""
    seeing, blind = made(("budget",)), made(())
    with torch.no_grad():
        blind.gate.weight.copy_(seeing.gate.weight[:, :-3])
        blind.gate.bias.copy_(seeing.gate.bias)
    point = skipw.OperatingPoint
    x = inputs(3, 3 * WINDOW)
    whole = seeing(x, at=HALF, backend=backend).importance

    def moves(got: Tensor, expected: Tensor) -> bool:
        return float((got - expected).detach().abs().max()) > 1e-9

    assert not moves(blind(x, at=HALF, backend=backend).importance, whole)
    assert moves(seeing(x, at=point(2, 0.5), backend=backend).importance[:, :1], whole[:, :1])
    within = seeing(x, at=skipw.Schedule([(0, HALF), (1, point(2, 0.5))]), backend=backend).importance
    assert not moves(within[:, :WINDOW], whole[:, :WINDOW])
    assert moves(within[:, WINDOW:], whole[:, WINDOW:])
    moved = skipw.Schedule([(0, HALF), (WINDOW, point(2, 0.5))])
    state = seeing(x[:, :WINDOW], at=HALF, backend=backend).state
    on = seeing(x[:, WINDOW:], at=point(2, 0.5), state=state, backend=backend).importance
    assert not moves(seeing(x, at=moved, backend=backend).importance[:, WINDOW:], on)
    assert moves(on, whole[:, WINDOW:])


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_reach_the_last_input_and_the_importance_before_in_full(backend: str) -> None:
    """Without a gradient into the state, the second window asks only for the input that it saw."""
    model = made(("importance", "input"), select="topk")
    model.gate_state_gradient = 0.0
    x = inputs(2, 2 * WINDOW).requires_grad_()
    y = model(x, at=HALF, backend=backend)
    second = y.importance[:, WINDOW:]
    (d_x,) = torch.autograd.grad(second.sum(), x, retain_graph=True)
    last = [int(row[:WINDOW].nonzero()[-1]) for row in y.updates]
    d_logit = second * (1 - second)
    wanted = torch.zeros_like(d_x)
    for b, t in enumerate(last):
        wanted[b, t] = d_logit[b].detach() @ model.gate.weight[:, -3:].detach()
    torch.testing.assert_close(d_x, wanted, rtol=0, atol=1e-12)
    first = y.importance[:, :WINDOW].detach()
    d_bias = d_logit + (d_logit @ model.gate.weight[:, -3 - WINDOW : -3]) * first * (1 - first)
    (got,) = torch.autograd.grad(second.sum(), model.gate.bias)
    torch.testing.assert_close(got, d_bias.sum(0).detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "reference"])
def test_after_forced_updates_the_gate_goes_on_from_what_was_processed(backend: str) -> None:
    model, x = made(GATE_INPUTS), inputs(3, 22)
    mask = torch.rand(3, 11, generator=torch.Generator().manual_seed(2)) < 0.4

    def run(name: str) -> dict[str, Tensor]:
        forced = model(x[:, :11], updates=mask, lengths=[11, 8, 0], backend=name)
        return outcome(model, x[:, 11:], backend=name, state=forced.state, at=HALF) | {
            "last": forced.state.last_input.detach()
        }

    expected = run("reference")
    assert torch.equal(expected["last"][0], x[0, int(mask[0].nonzero()[-1])])
    assert torch.equal(expected["last"][2], torch.zeros(3, dtype=torch.float64))
    assert_same(expected, run(backend))


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_starts_as_the_gate_that_sees_less(backend: str) -> None:
    """The same random numbers are drawn, and the new columns are 0."""
    built = []
    for seen in ((), GATE_INPUTS):
        torch.manual_seed(4)
        model = skipw.SkipW("gru", 3, 5, window=WINDOW, gate_bias=0.1, gate_inputs=seen).double()
        built.append((model, torch.rand(2)))
    (less, drawn), (more, also) = built
    assert torch.equal(drawn, also)
    assert more.gate.weight.shape == (WINDOW, 6 + 1 + WINDOW + 3 + 3)
    y, z = less(inputs(), backend=backend), more(inputs(), backend=backend)
    assert torch.equal(y.updates, z.updates)
    torch.testing.assert_close(y.output, z.output, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gate_inputs": ("importances",)}, "since_update, importance, input"),
        ({"gate_inputs": "input"}, "a list out of"),
        ({"gate_inputs": ("input", "input")}, "without repetitions"),
        ({"gate_inputs": ("since_update",), "time_feature": "since_update"}, "already"),
    ],
)
def test_unknown_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(skipw.errors.ShapeError, match=message):
        make(**settings)


def test_a_state_without_the_last_input_is_refused() -> None:
    state = made(()).forward(inputs()).state
    with pytest.raises(skipw.errors.ShapeError, match="width of the last input 3, got None"):
        made(("input",))(inputs(), state=state)


def test_a_state_that_was_stored_before_there_was_a_last_input_goes_on() -> None:
    model = made(())
    state = model(inputs(4, 8)).state.detach()
    older = copy.copy(state)
    del older.__dict__["last_input"]
    expected, got = (
        inferred(model, inputs(), backend="compact", state=s) for s in (state, older.rows(torch.arange(4)))
    )
    assert_same(expected, got)
