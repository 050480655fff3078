"""A model that is meant for budgets up to one of its own takes a larger one as that, on every backend."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import skipw
from skipw.models.architecture import Architecture
from skipw.operating_point import OperatingPoint, Schedule
from tests.core.cases import BACKENDS, PLAIN_CELLS, WINDOW, assert_same, make, outcome

LARGEST = 2


def inputs() -> torch.Tensor:
    return torch.randn(4, 33, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def capped(at: Any) -> Schedule:
    """The same points, held to the largest budget by hand."""
    held = [
        (
            start,
            OperatingPoint(LARGEST if point.budget is None else min(point.budget, LARGEST), point.threshold),
        )
        for start, point in Schedule.of(at)
    ]
    return Schedule(held)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cell", PLAIN_CELLS)
@pytest.mark.parametrize("settings", [{}, {"gate_inputs": ("budget",), "gate_budgets": (1, 3)}], ids=str)
@pytest.mark.parametrize(
    "at",
    [
        None,
        OperatingPoint(WINDOW, 0.1),
        OperatingPoint(1, 0.3),
        Schedule([(0, OperatingPoint(1, 0.2)), (9, OperatingPoint(5, 0.1)), (20, OperatingPoint(None, 0.4))]),
    ],
    ids=["nothing", "L", "below", "switching"],
)
def test_a_larger_budget_counts_as_the_largest(at: Any, settings: Any, cell: str, backend: str) -> None:
    """Values and every gradient, as a model without the setting has them at the budgets held by hand."""
    model, plain = make(cell=cell, largest_budget=LARGEST, **settings), make(cell=cell, **settings)
    expected = outcome(plain, inputs(), at=capped(at), backend="reference")
    assert_same(expected, outcome(model, inputs(), at=at, backend=backend))
    updates = model(inputs(), at=at, backend=backend).updates
    windows = torch.nn.functional.pad(updates, (0, -33 % WINDOW)).view(4, -1, WINDOW)
    assert int(windows.sum(-1).max()) == (1 if at == OperatingPoint(1, 0.3) else LARGEST)


def test_it_may_move() -> None:
    model, at = make(largest_budget=LARGEST), OperatingPoint(threshold=0.0)
    before = model(inputs(), at=at).updates
    assert "largest_budget=2" in repr(model)
    model.largest_budget = None
    assert model(inputs(), at=at).updates.all() and not before.all()
    assert "largest_budget" not in repr(model)
    model.largest_budget = LARGEST
    assert torch.equal(model(inputs(), at=at).updates, before)


def test_the_gate_is_asked_under_it() -> None:
    """``window_importance`` and ``follow`` take the gate of the K in force."""
    model = make(largest_budget=LARGEST, gate_budgets=(1, 3))
    state = model(inputs()[:, :WINDOW]).state
    asked = [model.window_importance(state, budget) for budget in (2, 5, None)]
    assert torch.equal(asked[0], asked[1]) and torch.equal(asked[0], asked[2])
    assert not torch.equal(asked[0], model.window_importance(state, 1))
    chosen = torch.tensor([0, 7])
    logits = [model.follow(inputs(), chosen, budget=budget)[1] for budget in (2, None)]
    assert torch.equal(*logits)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "2", WINDOW + 1], ids=repr)
def test_values_that_are_refused(wrong: Any) -> None:
    with pytest.raises(skipw.ShapeError, match="largest_budget"):
        make(largest_budget=wrong)
    with pytest.raises(skipw.ShapeError, match="largest_budget"):
        make().largest_budget = wrong
    with pytest.raises(
        skipw.ParamsError, match=r"architecture.largest_budget must be null or 1 to the window"
    ):
        Architecture("skipw", 3, 2, "classification", window=WINDOW, largest_budget=wrong)


def test_a_budget_above_the_window_is_an_error_as_ever() -> None:
    with pytest.raises(skipw.BudgetError, match="budget must lie in"):
        make(largest_budget=LARGEST)(inputs(), at=OperatingPoint(WINDOW + 1))


def test_other_models_have_none() -> None:
    with pytest.raises(skipw.ParamsError, match="only skipw has one"):
        Architecture("thrrnn", 3, 2, "classification", largest_budget=1)


def test_a_model_without_it_is_written_as_before() -> None:
    plain = Architecture("skipw", 4, 3, "classification", window=6)
    assert "largest_budget" not in plain.to_json()
    some = Architecture("skipw", 4, 3, "classification", window=6, largest_budget=2)
    assert Architecture.from_json(some.to_json()) == some and some.to_json()["largest_budget"] == 2
    assert some.build().rnn.largest_budget == 2
