"""Forced gates: every backend gives the reference's outputs, states, every gradient (1e-12, float32 1e-5)."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.core.cases import (
    BACKENDS,
    CELLS,
    MODELS,
    PLAIN_CELLS,
    WINDOW,
    assert_same,
    inferred,
    make,
    outcome,
)

FAST = [name for name in BACKENDS if name != "reference"]
LENGTHS = {1: (1, 0, 1, 1), 5: (5, 0, 2, 4), 6: (6, 0, 3, 6), 7: (7, 0, 6, 1), 63: (63, 0, 12, 31)}


def inputs(num_steps: int, dtype: torch.dtype = torch.float64, batch: int = 4) -> dict[str, Any]:
    """x Float[4, T, 3]; row 0 mostly processed, row 3 rarely, and updates also beyond the lengths."""
    rates = torch.tensor([0.9, 0.5, 0.4, 0.1]).unsqueeze(1)
    return {
        "x": torch.randn(batch, num_steps, 3, dtype=dtype),
        "updates": torch.rand(batch, num_steps) < rates[:batch],
    }


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("num_steps", [1, WINDOW - 1, WINDOW, WINDOW + 1, 63])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_forced_gates_give_the_reference_s_answer(
    cell: str, layers: int, num_steps: int, backend: str
) -> None:
    model = make("skipw", cell, layers)
    given = inputs(num_steps)
    outputs = "last" if (num_steps + layers) % 2 else "all"
    lengths = LENGTHS[num_steps] if layers == 1 or num_steps == WINDOW else None
    call = {"updates": given["updates"], "lengths": lengths, "outputs": outputs}
    expected = outcome(model, given["x"], backend="reference", **call)
    assert_same(expected, outcome(model, given["x"], backend=backend, **call))
    assert_same(
        inferred(model, given["x"], backend="reference", **call),
        inferred(model, given["x"], backend=backend, **call),
    )


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("cell", [*PLAIN_CELLS, "pair"])
@pytest.mark.parametrize("model", MODELS)
def test_every_model_takes_forced_gates(model: str, cell: str, backend: str) -> None:
    made = make(model, cell, 2)
    given = inputs(13)
    call = {"updates": given["updates"], "lengths": [13, 0, 7, 6]}
    expected = outcome(made, given["x"], backend="reference", **call)
    assert_same(expected, outcome(made, given["x"], backend=backend, **call))
    assert not expected["y.importance"].any()
    inside = torch.arange(13) < torch.tensor(call["lengths"]).unsqueeze(1)
    assert torch.equal(expected["y.updates"], given["updates"] & inside)
    if model != "dense":
        assert not expected["d.gate.weight"].any(), "forced gates send no gradient to the gate"


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("cell", [*PLAIN_CELLS, "rnn"])
def test_nothing_and_everything(cell: str, share: float, backend: str) -> None:
    model = make("skipw", cell, 2)
    x, updates = torch.randn(3, 8, 3, dtype=torch.float64), torch.full((3, 8), bool(share))
    expected = outcome(model, x, backend="reference", updates=updates)
    assert_same(expected, outcome(model, x, backend=backend, updates=updates))
    assert expected["y.inputs_processed"].tolist() == [share] * 3
    if share == 0:
        initial = model.initial_state[-1].detach()
        assert torch.equal(expected["y.output"], initial.expand(3, 8, -1))


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(
    ("cell", "hidden", "layers", "num_steps"),
    [
        ("gru", 1, 1, 63),
        ("lstm", 1, 2, 7),
        ("gru", 60, 2, 32),
        ("lstm", 110, 1, 63),
        ("gru", 128, 1, 63),
        ("lstm", 128, 1, 9),
        ("fastgrnn", 1, 2, 7),
        ("fastgrnn", 60, 2, 32),
        ("fastgrnn", 128, 1, 63),
        ("rnn", 60, 1, 9),
    ],
)
def test_sizes(cell: str, hidden: int, layers: int, num_steps: int, dtype: torch.dtype, backend: str) -> None:
    model = make("skipw", cell, layers, hidden=hidden, dtype=dtype)
    given = inputs(num_steps, dtype)
    expected = outcome(model, given["x"], backend="reference", updates=given["updates"])
    assert_same(expected, outcome(model, given["x"], backend=backend, updates=given["updates"]))


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("cell", [*PLAIN_CELLS, "pair", "triple"])
def test_a_given_initial_state_gets_its_gradient(cell: str, backend: str) -> None:
    model = make("thrrnn", cell, 2, initial_state="zeros")
    given = inputs(9)
    count = {"gru": 1, "fastgrnn": 1, "lstm": 2, "pair": 2, "triple": 3}[cell]
    start = [torch.randn(2, 4, 5, dtype=torch.float64, requires_grad=True) for _ in range(count)]
    call: dict[str, Any] = {
        "updates": given["updates"],
        "state": start[0] if count == 1 else tuple(start),
        "leaves": {f"start{p}": part for p, part in enumerate(start)},
    }
    expected = outcome(model, given["x"], backend="reference", **call)
    assert_same(expected, outcome(model, given["x"], backend=backend, **call))
    assert expected["d.start0"].abs().max() > 0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cell", [*PLAIN_CELLS, "pair"])
def test_gradients_against_finite_differences(cell: str, backend: str) -> None:
    """With forced gates the model is smooth, so the numerical derivative is the true one."""
    model = make("skipw", cell, 2, hidden=2)
    updates = torch.tensor([[True, False, True, True], [False, True, False, True]])
    names = [name for name, _ in model.named_parameters() if not name.startswith("gate")]

    def run(x: torch.Tensor, *weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        given = dict(zip(names, weights, strict=True))
        y = torch.func.functional_call(model, given, (x,), {"updates": updates, "backend": backend})
        last = y.state.layers[0]
        return y.output, last if isinstance(last, torch.Tensor) else last[-1]

    x = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    weights = [dict(model.named_parameters())[name].detach().requires_grad_() for name in names]
    assert torch.autograd.gradcheck(run, (x, *weights), fast_mode=True)
