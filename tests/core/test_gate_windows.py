"""Windows with biases of their own: what they are, their gradient, and that all backends agree."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

import skipw
from tests.core.cases import BACKENDS, PLAIN_CELLS, WINDOW, assert_same, inferred, make, outcome, points

HALF = skipw.OperatingPoint(WINDOW, 0.5)
BESIDE = ((), ("importance", "input"), ("since_update", "budget"))


def inputs(batch: int = 4, steps: int = 27) -> Tensor:
    return torch.randn(batch, steps, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def made(windows: int, cell: str = "gru", **settings: Any) -> Any:
    return make(
        cell=cell, layers=2, gate_windows=windows, time_scale=7.0, gate_state_gradient=0.3, **settings
    )


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "reference"])
@pytest.mark.parametrize("cell", PLAIN_CELLS)
@pytest.mark.parametrize(("windows", "beside"), list(itertools.product((1, 3, 9), BESIDE)))
def test_every_backend_has_the_reference_s_answers_and_gradients(
    windows: int, beside: tuple[str, ...], cell: str, backend: str
) -> None:
    """With fewer windows than the sequence has, and more; rows of all lengths; from a state in mid-window."""
    model, x = made(windows, cell, gate_inputs=beside), inputs()
    call = {"lengths": torch.tensor([27, 0, 7, 15]), "at": points("skipw")}
    expected = outcome(model, x, backend="reference", **call)
    own = expected["d.gate.weight"][:, -windows:]
    assert bool((own.abs().amax(0) > 0).tolist() == [True] * min(windows, 5) + [False] * max(0, windows - 5))
    assert_same(expected, outcome(model, x, backend=backend, **call))
    assert_same(inferred(model, x, backend="reference", **call), inferred(model, x, backend=backend, **call))
    call = {"state": model(inputs(4, 9), backend="reference").state.detach(), "at": HALF}
    assert_same(outcome(model, x, backend="reference", **call), outcome(model, x, backend=backend, **call))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_window_s_own_biases_are_added_to_the_gate_s(backend: str) -> None:
    """Three have their own, the last of which rules from the third window on; in chunks as in one call."""
    model, plain = made(3), made(0)
    plain.load_state_dict({**model.state_dict(), "gate.weight": model.gate.weight[:, :-3]})
    x = inputs(2, 5 * WINDOW)
    whole = model(x, at=HALF, backend=backend)
    state: Any = None
    for index in range(5):
        bias = model.gate.bias + model.gate.weight[:, -3 + min(index, 2)]
        with torch.no_grad():
            plain.gate.bias.copy_(bias)
        here = slice(index * WINDOW, (index + 1) * WINDOW)
        y = plain(x[:, here], state=state, at=HALF, backend=backend)
        torch.testing.assert_close(whole.importance[:, here], y.importance, rtol=0, atol=1e-12)
        if state is not None:
            told = model.window_importance(state)
            torch.testing.assert_close(told, y.importance, rtol=0, atol=1e-12)
        state = y.state
    torch.testing.assert_close(whole.output[:, -1], y.output[:, -1], rtol=0, atol=1e-12)


def test_following_adds_them_too() -> None:
    """The logits of ``follow`` are those of the gate's own run where that processes the same inputs."""
    model = make(gate_windows=3)
    with torch.no_grad():
        model.gate.weight.zero_()
        model.gate.bias.fill_(-3.0)
        model.gate.weight[1, -3], model.gate.weight[2, -2], model.gate.weight[4, -1] = 6.0, 6.0, 6.0
        model.gate.weight[:, :5] = 0.1
    x = inputs(2, 4 * WINDOW)
    ran = model(x, at=HALF)
    chosen = ran.updates[0].nonzero().squeeze(-1)
    assert chosen.tolist() == [1, WINDOW + 2, 2 * WINDOW + 4, 3 * WINDOW + 4]
    output, logits = model.follow(x, chosen)
    torch.testing.assert_close(torch.sigmoid(logits).flatten(1), ran.importance, rtol=0, atol=1e-12)
    torch.testing.assert_close(output, ran.output[:, -1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_starts_as_the_gate_without(backend: str) -> None:
    built = []
    for windows in (0, 4):
        torch.manual_seed(4)
        model = skipw.SkipW("gru", 3, 5, window=WINDOW, gate_bias=0.1, gate_windows=windows).double()
        built.append((model, torch.rand(2)))
    (less, drawn), (more, also) = built
    assert torch.equal(drawn, also)
    assert more.gate.weight.shape == (WINDOW, 6 + 4) and "gate_windows=4" in repr(more)
    y, z = less(inputs(), backend=backend), more(inputs(), backend=backend)
    assert torch.equal(y.updates, z.updates)
    torch.testing.assert_close(y.output, z.output, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gates_for_budgets_have_their_own(backend: str) -> None:
    model = made(3, gate_budgets=(2,))
    one = made(3)
    one.load_state_dict({
        **model.state_dict(), "gate.weight": model.gate.weight[WINDOW:], "gate.bias": model.gate.bias[WINDOW:],
    })  # fmt: skip
    at = skipw.OperatingPoint(2, 0.3)
    y, z = (rnn(inputs(), at=at, backend=backend) for rnn in (model, one))
    assert torch.equal(y.updates, z.updates) and int(y.updates.sum()) > 0
    torch.testing.assert_close(y.importance, z.importance, rtol=0, atol=1e-12)


@pytest.mark.parametrize("windows", [-1, True, 1.5, "3", None])
def test_a_count_that_is_none_is_refused(windows: Any) -> None:
    with pytest.raises(skipw.errors.ShapeError, match="gate_windows must be a whole number of at least 0"):
        make(gate_windows=windows)
