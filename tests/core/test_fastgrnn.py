"""FastGRNN as a wrapped cell: its equations, every model and gate over it, its cost and its settings."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import skipw
from skipw.errors import BackendUnavailableError, ParamsError, ShapeError
from skipw.fastgrnn import FastGRNNCell
from skipw.models.architecture import Architecture
from skipw.models.saved import load_model, save_model
from skipw.reproduction.flops import input_flops
from skipw.studies.space import space_json, space_of
from tests.core.cases import BACKENDS, assert_same, inferred, make, outcome, points


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_one_input_by_hand() -> None:
    cell = FastGRNNCell(2, 3).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.normal_()
    x, h = [0.3, -1.2], [0.5, -0.4, 0.9]
    zeta, nu = sigmoid(cell.zeta.item()), sigmoid(cell.nu.item())
    expected = []
    for i in range(3):
        shared = sum(cell.weight_ih[i, j].item() * x[j] for j in range(2))
        shared += sum(cell.weight_hh[i, j].item() * h[j] for j in range(3))
        z = sigmoid(shared + cell.bias_z[i].item())
        expected.append((zeta * (1 - z) + nu) * math.tanh(shared + cell.bias_h[i].item()) + z * h[i])
    got = cell(torch.tensor([x], dtype=torch.float64), torch.tensor([h], dtype=torch.float64))[0].detach()
    assert got.tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("backend", ["compact", "native"])
@pytest.mark.parametrize("model", ["skipw", "thrrnn", "skiprnn", "dense"])
def test_every_backend_is_the_reference_with_gradients(model: str, backend: str) -> None:
    made = make(model, "fastgrnn", 2)
    x = torch.randn(4, 21, 3, dtype=torch.float64)
    call: dict[str, Any] = {"lengths": [21, 0, 8, 17]}
    if model != "dense":
        call["at"] = points(model)
    expected = outcome(made, x, backend="reference", **call)
    assert_same(expected, outcome(made, x, backend=backend, **call))
    assert_same(inferred(made, x, backend="reference", **call), inferred(made, x, backend=backend, **call))
    for name in ("zeta", "nu", "bias_z", "bias_h", "weight_ih", "weight_hh"):
        assert expected[f"d.cells.0.{name}"].abs().max() > 0, name


@pytest.mark.parametrize("backend", BACKENDS)
def test_in_chunks(backend: str) -> None:
    model = make("skipw", "fastgrnn")
    x = torch.randn(3, 20, 3, dtype=torch.float64)
    whole = model(x, at=skipw.OperatingPoint(3, 0.3), backend=backend)
    first = model(x[:, :8], at=skipw.OperatingPoint(3, 0.3), backend=backend)
    rest = model(x[:, 8:], at=skipw.OperatingPoint(3, 0.3), backend=backend, state=first.state)
    assert torch.equal(whole.updates, torch.cat([first.updates, rest.updates], 1))
    torch.testing.assert_close(whole.output[:, 8:], rest.output, rtol=0, atol=1e-12)
    assert 0 < whole.inputs_processed.mean() < 1


@pytest.mark.parametrize("backend", ["compact", "native"])
def test_a_state_that_grows(backend: str) -> None:
    """h is not bounded as a GRU's is: ν lets it grow while the gate keeps it."""
    made = make("skipw", "fastgrnn", hidden=16)
    with torch.no_grad():
        made.cells[0].bias_z.fill_(8.0)
        made.cells[0].nu.fill_(2.0)
        made.cells[0].weight_hh.mul_(1e-3)
    x, updates = torch.randn(3, 120, 3, dtype=torch.float64) + 1, torch.ones(3, 120, dtype=torch.bool)
    expected = outcome(made, x, backend="reference", updates=updates)
    assert expected["y.output"].abs().max() > 20
    assert_same(expected, outcome(made, x, backend=backend, updates=updates))


def test_native_refuses_hooks_and_a_dense_layer_has_none() -> None:
    model = make("skipw", "fastgrnn")
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    called = []
    hook = model.cells[0].register_forward_hook(lambda *_: called.append(1))
    with pytest.raises(BackendUnavailableError, match="plain GRU, LSTM and FastGRNN cells"):
        model(x, backend="native")
    model(x)
    assert called
    hook.remove()
    model(x, backend="native")
    with pytest.raises(ShapeError, match="wraps FastGRNNCell"):
        model.to_dense()
    with pytest.raises(ShapeError, match="'fastgrnn', 'gru', 'lstm' or a factory"):
        skipw.SkipW("fastgru", 3, 5, window=4)


def test_saved_and_loaded(tmp_path: Any) -> None:
    task = Architecture("skipw", 3, 4, "classification", cell="fastgrnn", num_layers=2, window=5).build()
    save_model(tmp_path, task.eval(), {})
    back, _ = load_model(tmp_path)
    x = torch.randn(2, 12, 3)
    assert back.architecture.cell == "fastgrnn"
    assert torch.equal(back(x).scores, task(x).scores)
    with pytest.raises(ParamsError, match="cell must be one of gru, lstm, fastgrnn"):
        Architecture("skipw", 3, 4, "classification", cell="fast", window=5)


def test_its_products_are_counted() -> None:
    task = Architecture("dense", 7, 4, "classification", cell="fastgrnn", hidden_size=9, num_layers=2)
    cells = task.build().rnn.cells
    with FlopCounterMode(display=False) as counter:
        below = cells[0](torch.randn(1, 7), torch.randn(1, 9))
        cells[1](below, torch.randn(1, 9))
    assert input_flops(task.to_json()) == counter.get_total_flops() == 2 * 9 * (7 + 9) + 2 * 9 * 18
    third = Architecture("dense", 7, 4, "classification", cell="gru", hidden_size=9, num_layers=2)
    assert 3 * input_flops(task.to_json()) == input_flops(third.to_json())


def test_a_search_may_include_it() -> None:
    plain = space_of("wide", "har", ("skipw",), classification=True)
    assert list(plain["cell"].choices) == ["gru", "lstm"]  # type: ignore[attr-defined]
    wider = space_of("wide", "har", ("skipw",), classification=True, cells=("gru", "fastgrnn"))
    assert list(wider["cell"].choices) == ["gru", "fastgrnn"]  # type: ignore[attr-defined]
    assert space_json(plain) != space_json(wider), "another study"
