"""Small budgets with gates of their own: which gate rules where, and that every backend has the same answer."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import skipw
from skipw.gate_budgets import gate_of, problem
from skipw.operating_point import OperatingPoint, Schedule
from tests.core.cases import (
    BACKENDS,
    EVERY_CELL,
    PLAIN_CELLS,
    WINDOW,
    assert_same,
    inferred,
    make,
    outcome,
)

BUDGETS = (1, 3)
STEPS = 33


def made(cell: str = "gru", **settings: Any) -> Any:
    return make(cell=cell, layers=2, gate_budgets=BUDGETS, gate_state_gradient=0.3, **settings)


def inputs(batch: int = 4, steps: int = STEPS) -> Tensor:
    return torch.randn(batch, steps, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def switching() -> Schedule:
    """Gates that change at a window's first input, within windows, there and back, and not at all."""
    point = OperatingPoint
    starts = [(0, point(2, 0.4)), (4, point(5, 0.3)), (12, point(1, 0.2)), (14, point(3, 0.2))]
    return Schedule([*starts, (15, point(1, 0.3)), (24, point(None, 0.5))])


def one_gate_each(model: Any) -> list[Any]:
    """The model's gates in the order of ``gate_of``, each in a model of one gate that has the same cells."""
    weights, biases = model.gate.weight.split(model.window), model.gate.bias.split(model.window)
    singles = []
    for weight, bias in zip(weights, biases, strict=True):
        single = copy.copy(model)
        single._modules = dict(model._modules)
        single.gate = nn.Linear(1, 1)
        del single.gate.weight, single.gate.bias
        single.gate.weight, single.gate.bias = weight, bias  # slices: the model's own gradient
        single.gate_budgets = ()
        singles.append(single)
    return singles


def test_which_gate_rules() -> None:
    assert [gate_of(budget, (1, 3)) for budget in range(7)] == [1, 1, 2, 2, 0, 0, 0]
    assert [gate_of(budget, ()) for budget in range(3)] == [0, 0, 0]


@pytest.mark.parametrize(
    "wrong", [(0,), (WINDOW,), (2, 1), (1, 1), (1.0,), (True,), "12", 3, None, ("1",)], ids=repr
)
def test_budgets_that_are_refused(wrong: Any) -> None:
    assert problem(wrong, WINDOW) is not None
    with pytest.raises(
        skipw.ShapeError, match=r"gate_budgets must be a list of ascending budgets from 1 to 5"
    ):
        make(gate_budgets=wrong)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_window_opens_with_the_gate_of_its_budget(backend: str) -> None:
    """Window by window, in models of one gate each; values and every gradient."""
    model, x, at = made(), inputs(), switching()
    lengths = torch.tensor([STEPS, 0, 17, 12])
    singles = one_gate_each(model)
    state, outputs, updates, importance = None, [], [], []
    for start in range(0, STEPS, WINDOW):
        chunk = x[:, start : start + WINDOW]
        single = singles[gate_of(at.at(start).budget_in(WINDOW), BUDGETS)]
        y = single(
            chunk,
            at=at.after(start),
            state=state,
            lengths=(lengths - start).clamp(0, chunk.shape[1]),
            backend="reference",
        )
        state = y.state
        outputs.append(y.output)
        updates.append(y.updates)
        importance.append(y.importance)
    parts = model(x, at=at, lengths=lengths, backend=backend)
    assert torch.equal(parts.updates, torch.cat(updates, 1))
    torch.testing.assert_close(parts.importance, torch.cat(importance, 1))
    torch.testing.assert_close(parts.output, torch.cat(outputs, 1))
    weight = torch.randn(parts.output.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = torch.autograd.grad((weight * torch.cat(outputs, 1)).sum(), list(model.parameters()))
    found = torch.autograd.grad((weight * parts.output).sum(), list(model.parameters()))
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other)
    blocks = model.gate.weight.shape[0] // WINDOW
    rows = dict(zip([name for name, _ in model.named_parameters()], found, strict=True))["gate.weight"]
    assert all(float(rows[i * WINDOW : (i + 1) * WINDOW].abs().max()) > 0 for i in range(blocks))


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "reference"])
@pytest.mark.parametrize("cell", PLAIN_CELLS)
@pytest.mark.parametrize("seen", [(), ("importance", "input"), ("budget",)], ids="+".join)
def test_backends_agree(seen: tuple[str, ...], cell: str, backend: str) -> None:
    """From rows that stand at different inputs of their windows, too."""
    model, x = made(cell, gate_inputs=seen, time_scale=7.0), inputs()
    call = {"lengths": torch.tensor([STEPS, 0, 17, 12]), "at": switching()}
    assert_same(outcome(model, x, backend="reference", **call), outcome(model, x, backend=backend, **call))
    assert_same(inferred(model, x, backend="reference", **call), inferred(model, x, backend=backend, **call))
    before = model(
        inputs(4, 11), lengths=torch.tensor([11, 3, 0, 6]), at=OperatingPoint(2), backend="reference"
    )
    assert len(before.state.offset.unique()) > 1
    call["state"] = before.state.detach()
    assert_same(outcome(model, x, backend="reference", **call), outcome(model, x, backend=backend, **call))


@pytest.mark.parametrize("backend", EVERY_CELL)
@pytest.mark.parametrize(
    "settings",
    [
        {"cell": "pair"},
        {"select": "sample"},
        {"select": "first_above"},
        {"bound": "any"},
        {"selection_gradient": "zero_sum"},
    ],
    ids=repr,
)
def test_with_other_settings(settings: dict[str, Any], backend: str) -> None:
    """Cells of one's own, selectors that draw, the other bound: chunks and the whole have the same answer."""
    model, x, at = made(**settings), inputs(), switching()
    whole = outcome(model, x, backend="reference", at=at)
    assert_same(whole, outcome(model, x, backend=backend, at=at))
    if settings.get("select") == "sample":
        return  # another call draws other noise
    state, updates = None, []
    for begin, end in ((0, 5), (5, 13), (13, 14), (14, STEPS)):
        y = model(x[:, begin:end], at=at.after(begin), state=state, backend=backend)
        state = y.state
        updates.append(y.updates)
    assert torch.equal(torch.cat(updates, 1), whole["y.updates"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_are_their_own(backend: str) -> None:
    """A batch of rows at different inputs of their windows has the answers of its rows alone."""
    model, x, at = made(select="topk"), inputs(), switching()
    state = model(inputs(4, 11), lengths=torch.tensor([11, 3, 0, 6]), backend=backend).state.detach()
    for outputs in ("all", "last"):
        together = model(x, at=at, state=state, backend=backend, outputs=outputs)
        for row in range(4):
            index = torch.tensor([row])
            alone = model(x[index], at=at, state=state.rows(index), backend=backend, outputs=outputs)
            assert torch.equal(alone.updates[0], together.updates[row])
            torch.testing.assert_close(alone.output[0], together.output[row])
            torch.testing.assert_close(alone.state.layers[0][0], together.state.layers[0][row])


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_bound_holds(backend: str) -> None:
    """Whatever the gates, at most as many in a window as the largest budget that it saw."""
    model, at = made(), switching()
    nn.init.constant_(model.gate.bias, 9.0)
    y = model(inputs(), at=at, backend=backend)
    for start in range(0, STEPS, WINDOW):
        end = min(start + WINDOW, STEPS)
        most = max(at.at(step).budget_in(WINDOW) for step in range(start, end))
        assert int(y.updates[:, start:end].sum(1).max()) <= most


def test_all_gates_start_alike_and_cost_no_random_numbers() -> None:
    torch.manual_seed(0)
    plain = skipw.SkipW("gru", 3, 5, window=WINDOW)
    after = torch.rand(1)
    torch.manual_seed(0)
    several = skipw.SkipW("gru", 3, 5, window=WINDOW, gate_budgets=[1, 3])
    assert torch.equal(after, torch.rand(1))
    assert several.gate.weight.shape == (3 * WINDOW, 6) and several.gate.out_features == 3 * WINDOW
    for budget in range(WINDOW + 1):
        one, other = (
            model(inputs().float(), at=OperatingPoint(budget)).updates for model in (plain, several)
        )
        assert torch.equal(one, other)
    assert "gate_budgets=(1, 3)" in repr(several) and "gate_budgets" not in repr(plain)


def test_the_importance_of_a_window_to_come() -> None:
    model = made()
    state = model(inputs(), backend="reference").state
    by_budget = [model.window_importance(state, budget) for budget in range(WINDOW + 1)]
    same = [[torch.equal(a, b) for b in by_budget] for a in by_budget]
    gates = [gate_of(budget, BUDGETS) for budget in range(WINDOW + 1)]
    assert same == [[a == b for b in gates] for a in gates]
    assert torch.equal(model.window_importance(state), by_budget[WINDOW])


def test_schedules_that_begin_later() -> None:
    at = switching()
    assert at.at(0) == at.at(3) == OperatingPoint(2, 0.4) and at.at(4) == OperatingPoint(5, 0.3)
    assert at.at(10_000) == OperatingPoint(None, 0.5)
    assert at.after(0) == at and at.after(13).at(1) == OperatingPoint(3, 0.2)
    for step in range(30):
        assert [at.after(step).at(later) for later in range(9)] == [at.at(step + later) for later in range(9)]
