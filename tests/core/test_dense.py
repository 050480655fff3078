"""Against torch.nn.GRU and LSTM: weights in and out, values and gradients; and the sampling baselines."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import skipw
from skipw.errors import ShapeError
from skipw.models.baselines import periodic_updates, random_updates
from tests.core.cases import BACKENDS, PairCell, make

WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def opened(name: str, dense: nn.Module, **settings: Any) -> tuple[Any, dict[str, Any]]:
    """A model with the dense layer's weights that processes everything, and how to call it."""
    if name == "skipw":
        return skipw.SkipW.from_dense(dense, window=4, **settings), {"at": skipw.OperatingPoint(4, 0.0)}
    if name == "thrrnn":
        return skipw.ThrRNN.from_dense(dense, **settings), {"at": skipw.OperatingPoint(threshold=0.0)}
    if name == "skiprnn":  # the threshold is 0.5: open the gate instead
        return skipw.SkipRNN.from_dense(dense, gate_bias=50.0, **settings), {}
    return skipw.DenseRNN.from_dense(dense, **settings), {}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
@pytest.mark.parametrize("name", ["skipw", "thrrnn", "skiprnn", "dense"])
def test_open_gates_are_the_dense_layer(name: str, kind: Any, layers: int, backend: str) -> None:
    dense = kind(3, 5, layers, batch_first=True).double()
    model, call = opened(name, dense)
    x = torch.randn(2, 9, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 9, 5, dtype=torch.float64)
    expected, last = dense(x)
    y = model(x, backend=backend, **call)
    assert y.updates.all()
    assert (y.output - expected).abs().max() < 1e-12
    hidden = last if kind is nn.GRU else last[0]
    mine = [state if isinstance(state, Tensor) else state[0] for state in y.state.layers]
    assert (torch.stack(mine) - hidden).abs().max() < 1e-12
    theirs = torch.autograd.grad((expected * weight).sum(), [x, *dense.parameters()])
    params = [getattr(cell, label) for cell in model.cells for label in WEIGHTS]
    # Forced, so that no gate adds the gradient of its own.
    forced = model(x, updates=torch.ones(2, 9, dtype=torch.bool), backend=backend)
    got = torch.autograd.grad((forced.output * weight).sum(), [x, *params])
    for a, b in zip(theirs, got, strict=True):
        assert (a - b).abs().max() < 1e-12 * max(1.0, float(a.abs().max()))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_gradients_of_open_gates_are_the_dense_layer_s_where_gates_send_none(kind: Any, backend: str) -> None:
    """With the gate's way into the state cut, cells learn through open gates as in the dense layer."""
    dense = kind(3, 5, 2, batch_first=True).double()
    model, call = opened("skipw", dense, gate_state_gradient=0.0)
    x, weight = torch.randn(2, 9, 3).double(), torch.randn(2, 9, 5).double()
    theirs = torch.autograd.grad((dense(x)[0] * weight).sum(), list(dense.parameters()))
    params = [getattr(cell, label) for cell in model.cells for label in WEIGHTS]
    got = torch.autograd.grad((model(x, backend=backend, **call).output * weight).sum(), params)
    for a, b in zip(theirs, got, strict=True):
        assert (a - b).abs().max() < 1e-12 * max(1.0, float(a.abs().max()))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_a_given_state_means_what_it_means_in_torch(kind: Any, backend: str) -> None:
    dense = kind(3, 5, 2, batch_first=True).double()
    model, call = opened("skipw", dense)
    x, h, c = torch.randn(2, 6, 3).double(), torch.randn(2, 2, 5).double(), torch.randn(2, 2, 5).double()
    state = h if kind is nn.GRU else (h, c)
    assert (model(x, state=state, backend=backend, **call).output - dense(x, state)[0]).abs().max() < 1e-12


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
@pytest.mark.parametrize("name", ["skipw", "thrrnn", "skiprnn", "dense"])
def test_weights_come_back_unchanged(name: str, kind: Any) -> None:
    dense = kind(3, 5, 2)
    model, _ = opened(name, dense)
    assert model.initial_state is None
    assert "initial_state" not in model.state_dict()
    back = model.to_dense()
    assert type(back) is kind
    assert back.batch_first
    assert back.state_dict().keys() == dense.state_dict().keys()
    for label, value in dense.state_dict().items():
        assert torch.equal(value, back.state_dict()[label])
        assert value.data_ptr() != back.state_dict()[label].data_ptr()


def test_settings_dtype_and_missing_biases_pass_through() -> None:
    dense = nn.GRU(3, 5, bias=False, dtype=torch.float64)
    model = skipw.SkipW.from_dense(dense, window=7, select="first", initial_state="trainable", time_scale=9)
    assert (model.window, model.select, model.time_scale) == (7, "first", 9.0)
    assert model.initial_state is not None
    assert {value.dtype for value in model.state_dict().values()} == {torch.float64}
    assert not model.cells[0].bias_ih.any()
    x = torch.randn(4, 2, 3).double()
    start = torch.zeros(1, 2, 5).double()
    y = model(x.transpose(0, 1), at=skipw.OperatingPoint(threshold=0.0), state=start)
    assert y.updates.all()
    assert (y.output.transpose(0, 1) - dense(x)[0]).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("dense", "message"),
    [
        (
            nn.GRU(3, 5, bidirectional=True),
            "one direction, this one is bidirectional: .* bidirectional=False",
        ),
        (nn.LSTM(3, 5, proj_size=2), "without projections, this one has proj_size=2; train .* proj_size=0"),
        (nn.RNN(3, 5), "a torch.nn.GRU or LSTM, got RNN"),
        (nn.GRUCell(3, 5), "a torch.nn.GRU or LSTM, got GRUCell"),
    ],
)
@pytest.mark.parametrize("model", [skipw.SkipW, skipw.ThrRNN, skipw.SkipRNN])
def test_what_cannot_be_taken_over_is_refused(model: Any, dense: nn.Module, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        model.from_dense(dense, **({"window": 4} if model is skipw.SkipW else {}))


def test_cells_of_one_s_own_have_no_dense_layer() -> None:
    with pytest.raises(ShapeError, match="needs GRU or LSTM cells, this model wraps PairCell"):
        skipw.ThrRNN(PairCell, 3, 5).to_dense()


# Baselines ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.15, 1 / 3, 0.5, 0.7, 1.0])
def test_periodic_updates_are_evenly_spaced_and_start_at_zero(rate: float) -> None:
    updates = periodic_updates(torch.tensor([40, 7, 0]), 40, rate)
    chosen = updates[0].nonzero().squeeze(1)
    assert len(chosen) == math.ceil(40 * rate - 1e-6)
    if rate > 0:
        assert chosen[0] == 0
        gaps = chosen.diff()
        assert gaps.numel() == 0 or gaps.max() - gaps.min() <= 1
    assert torch.equal(updates[1, :7], updates[0, :7])
    assert not updates[1, 7:].any()
    assert not updates[2].any()


def test_random_updates_hold_their_rates_and_their_generator() -> None:
    lengths, rates = torch.tensor([5000, 5000, 100]), torch.tensor([0.1, 0.7, 1.0])
    draws = [random_updates(lengths, 5000, rates, torch.Generator().manual_seed(4)) for _ in range(2)]
    assert torch.equal(*draws)
    torch.testing.assert_close(draws[0][:2].float().mean(1), rates[:2], rtol=0, atol=0.03)
    assert draws[0][2].sum() == 100
    assert draws[0][2, :100].all()
    assert not random_updates(lengths, 5000, 0.0).any()


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_rates_outside_their_range_are_refused(rate: float) -> None:
    for function in (periodic_updates, random_updates):
        with pytest.raises(ShapeError, match=r"rate lies in \[0, 1\]"):
            function(torch.tensor([3]), 3, rate)


def test_dense_processes_everything_or_what_it_is_told() -> None:
    model = make("dense", "lstm")
    x = torch.randn(2, 6, 3).double()
    assert model(x, lengths=[6, 2]).updates.sum(1).tolist() == [6, 2]
    updates = periodic_updates(torch.tensor([6, 6]), 6, 0.5)
    y = model(x, updates=updates)
    assert torch.equal(y.updates, updates)
    alone = model(x[:, ::2])
    assert (y.output[:, ::2] - alone.output).abs().max() < 1e-14
    with pytest.raises(skipw.BudgetError, match="no operating points"):
        model(x, at=skipw.OperatingPoint())
