"""Several models in one launch: each as if it ran alone, gradients included."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

import skipw
from skipw.errors import ShapeError
from skipw.operating_point import Schedule
from skipw.ops import reference, triton
from skipw.ops.call import Call, Result
from tests.core.cases import gradients, make

WINDOW = 3
POINT = skipw.OperatingPoint
SCHEDULES = [
    Schedule.of(POINT(2, 0.3)),
    Schedule([(0, POINT(1, 0.0)), (2, POINT(3, 0.5))]),
    Schedule.of(None),
]


def call_of(model: Any, x: Tensor, schedule: Schedule, lengths: list[int]) -> Call:
    return Call(
        x=x,
        cells=tuple(model.cells),
        gate=model._gate(),
        state=model._start(None, x),
        lengths=torch.tensor(lengths),
        schedule=schedule,
        window=model.window,
        outputs="all",
    )


def loss_of(results: list[Result]) -> Tensor:
    """Different for every model and every output."""
    total = torch.zeros((), dtype=torch.float64)
    for m, result in enumerate(results, start=1):
        last = result.state.layers[-1]
        assert isinstance(last, Tensor)
        steps = torch.arange(1, result.output.shape[1] + 1).view(1, -1, 1)
        total = total + m * (result.output * steps).square().sum() + 0.3 * result.updates.sum() + last.sum()
    return total


@pytest.mark.parametrize("kind", ["skipw", "thrrnn"])
@pytest.mark.parametrize("shared", [True, False], ids=["one input", "an input each"])
def test_models_side_by_side_are_as_alone(kind: str, shared: bool) -> None:
    settings = {"window": WINDOW} if kind == "skipw" else {}
    models = [make(kind, "gru", hidden=4, seed=seed, **settings) for seed in range(3)]
    base = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    schedules = (
        SCHEDULES if kind == "skipw" else [Schedule.of(POINT(threshold=thr)) for thr in (0.3, 0.5, 0.7)]
    )
    lengths = [[4, 3], [2, 4], [4, 0]]

    def calls() -> list[Call]:
        inputs = [base] * 3 if shared else [base * scale for scale in (1.0, -1.0, 2.0)]
        return [call_of(*each) for each in zip(models, inputs, schedules, lengths, strict=True)]

    leaves = {f"{m}.{name}": p for m, model in enumerate(models) for name, p in model.named_parameters()}
    leaves["x"] = base
    together, apart = triton.run_many(calls()), [reference.run(call) for call in calls()]
    for one, other in zip(together, apart, strict=True):
        assert torch.equal(one.updates, other.updates)
        torch.testing.assert_close(one.output, other.output, rtol=0, atol=1e-12)
        for name in ("step", "used", "last_update", "budget", "threshold"):
            expected = getattr(other.state, name)
            assert expected is None or torch.equal(getattr(one.state, name), expected), name
    expected_grads = gradients(loss_of(apart), leaves)
    got = gradients(loss_of(together), leaves)
    for name, value in expected_grads.items():
        torch.testing.assert_close(got[name], value, rtol=1e-12, atol=1e-11, msg=name)
        assert value.abs().max() > 0, name


def test_models_of_another_form_are_refused() -> None:
    models = [make("skipw", "gru", hidden=4, window=window) for window in (3, 4)]
    x = torch.randn(2, 4, 3, dtype=torch.float64)
    calls = [call_of(model, x, Schedule.of(None), [4, 4]) for model in models]
    with pytest.raises(ShapeError, match="of one form"):
        triton.run_many(calls)
    short = dataclasses.replace(calls[0], outputs="last")
    with pytest.raises(ShapeError, match="of one form"):
        triton.run_many([calls[0], short])
    assert triton.run_many([]) == []
