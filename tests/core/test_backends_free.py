"""Free gates: every backend decides as the reference does, and the gates' own gradients agree too.

In float64 no decision is so close to a border that rounding turns it; in float32 the first difference may
stand only where the margin is below 1e-5.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch

import skipw
from tests.core.cases import (
    BACKENDS,
    MARGIN,
    PLAIN_CELLS,
    SELECTORS,
    TIME_FEATURES,
    assert_same,
    first_mismatches,
    inferred,
    make,
    margin_at,
    outcome,
    points,
)

FAST = [name for name in BACKENDS if name != "reference"]
FACTORS = (0.0, 0.1, 1.0)
WINDOWED = [
    (select, TIME_FEATURES[(i + j) % 4], FACTORS[(i + 2 * j) % 3], cell)
    for (i, select), (j, cell) in product(
        enumerate(SELECTORS), enumerate(["gru", "lstm", "rnn", "pair", "fastgrnn"])
    )
]


def check(model: Any, x: torch.Tensor, backend: str, **call: Any) -> dict[str, torch.Tensor]:
    """Training and inference on ``backend`` against the reference."""
    expected = outcome(model, x, backend="reference", **call)
    assert_same(expected, outcome(model, x, backend=backend, **call))
    call.pop("leaves", None)
    assert_same(inferred(model, x, backend="reference", **call), inferred(model, x, backend=backend, **call))
    return expected


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize(("select", "time_feature", "factor", "cell"), WINDOWED)
def test_skipw_with_every_selector_and_time_feature(
    select: str, time_feature: str, factor: float, cell: str, backend: str
) -> None:
    layers = 1 + (cell in ("lstm", "rnn"))
    model = make(
        "skipw",
        cell,
        layers,
        select=select,
        time_feature=time_feature,
        time_scale=7,
        gate_state_gradient=factor,
    )
    x = torch.randn(4, 21, 3, dtype=torch.float64)
    expected = check(model, x, backend, at=points("skipw"), lengths=[21, 0, 8, 17])
    assert 0 < expected["y.inputs_processed"].mean() < 0.75
    assert expected["d.gate.weight"].abs().max() > 0


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("time_feature", TIME_FEATURES)
@pytest.mark.parametrize("num_steps", [1, 5, 6, 7, 63])
def test_skipw_of_every_length(num_steps: int, time_feature: str, backend: str) -> None:
    cell = "gru" if time_feature in ("steps", "none") else "lstm"
    model = make("skipw", cell, time_feature=time_feature, time_scale=9.0)
    x = torch.randn(3, num_steps, 3, dtype=torch.float64)
    check(model, x, backend, at=skipw.OperatingPoint(4, 0.35), outputs="all" if num_steps % 2 else "last")


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize(
    ("cell", "layers"), [("gru", 1), ("lstm", 2), ("fastgrnn", 2), ("rnn", 2), ("pair", 1)]
)
@pytest.mark.parametrize("model", ["thrrnn", "skiprnn"])
def test_accumulating_models(model: str, cell: str, layers: int, factor: float, backend: str) -> None:
    made = make(model, cell, layers, gate_state_gradient=factor)
    x = torch.randn(4, 20, 3, dtype=torch.float64)
    expected = check(made, x, backend, at=points(model), lengths=[20, 0, 1, 13])
    assert 0 < expected["y.inputs_processed"].mean() < 0.75
    assert expected["d.gate.weight"].abs().max() > 0
    for num_steps in (1, 7):
        check(made, x[:, :num_steps], backend, outputs="last")


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("model", ["skipw", "thrrnn"])
@pytest.mark.parametrize(("cell", "count"), [("gru", 1), ("fastgrnn", 1), ("lstm", 2), ("triple", 3)])
def test_initial_states(cell: str, count: int, model: str, backend: str) -> None:
    x = torch.randn(3, 8, 3, dtype=torch.float64)
    made = make(model, cell, 2, initial_state="zeros")
    check(made, x, backend)
    start = [torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True) for _ in range(count)]
    leaves = {f"start{p}": part for p, part in enumerate(start)}
    check(made, x, backend, state=start[0] if count == 1 else tuple(start), leaves=leaves)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("select", ["topk", "first", "sample"])
@pytest.mark.parametrize(
    ("model", "cell"),
    [("skipw", "gru"), ("skipw", "lstm"), ("skipw", "rnn"), ("thrrnn", "gru"), ("skipw", "fastgrnn")],
)
def test_going_on_from_rows_at_different_offsets(model: str, cell: str, select: str, backend: str) -> None:
    """A ragged chunk leaves its rows at different offsets; the gradient runs through both chunks."""
    if model == "thrrnn" and select != "topk":
        select = "topk"
    made = make(model, cell, 2, **({"select": select} if model == "skipw" else {}))
    x = torch.randn(5, 19, 3, dtype=torch.float64)
    head = {"lengths": [8, 0, 3, 6, 7], "at": points(model)}
    tail = {"lengths": [11, 11, 0, 4, 9], "at": skipw.OperatingPoint(threshold=0.4)}

    def both(name: str) -> dict[str, torch.Tensor]:
        first = made(x[:, :8], backend=name, generator=torch.Generator().manual_seed(1), **head)
        return outcome(made, x[:, 8:], backend=name, state=first.state, **tail)

    assert_same(both("reference"), both(backend))
    state = made(
        x[:, :8], backend="reference", generator=torch.Generator().manual_seed(1), **head
    ).state.detach()
    again = {"state": state, **tail}
    assert_same(
        inferred(made, x[:, 8:], backend="reference", **again),
        inferred(made, x[:, 8:], backend=backend, **again),
    )


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize(
    ("model", "cell", "hidden", "num_steps"),
    [
        ("skipw", "gru", 60, 63),
        ("skipw", "lstm", 110, 40),
        ("skipw", "gru", 128, 63),
        ("thrrnn", "gru", 60, 40),
        ("skipw", "fastgrnn", 60, 40),
        ("thrrnn", "fastgrnn", 60, 40),
    ],
)
def test_float32_differs_first_only_at_a_border(
    model: str, cell: str, hidden: int, num_steps: int, backend: str
) -> None:
    made = make(model, cell, hidden=hidden, dtype=torch.float32)
    x = torch.randn(16, num_steps, 3)
    at = skipw.OperatingPoint(threshold=0.6) if model == "thrrnn" else skipw.OperatingPoint(3, 0.4)
    expected = outcome(made, x, backend="reference", at=at)
    for got in (outcome(made, x, backend=backend, at=at), inferred(made, x, backend=backend, at=at)):
        mismatches = first_mismatches(expected["y.updates"], got["y.updates"])
        for row, t in mismatches:
            assert margin_at(expected, row, t, made.window, [at.threshold]) < MARGIN
        if not mismatches:
            assert_same({name: expected[name] for name in got}, got)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_ties_in_every_window(cell: str, backend: str) -> None:
    """Zero bias and a zero state make all slots equal; saturated gates are all 1.0."""
    for bias in (0.0, 50.0):
        model = make("skipw", cell, initial_state="zeros", dtype=torch.float32)
        torch.nn.init.zeros_(model.gate.weight)
        torch.nn.init.constant_(model.gate.bias, bias)
        x = torch.randn(2, 13, 3)
        got = outcome(model, x, backend=backend, at=skipw.OperatingPoint(2, 0.5))
        assert got["y.updates"].tolist() == [[True, True, False, False, False, False] * 2 + [True]] * 2
        assert_same(outcome(model, x, backend="reference", at=skipw.OperatingPoint(2, 0.5)), got)
