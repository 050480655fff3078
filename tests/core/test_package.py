"""What a user sees first: imports, names and shapes of weights, how they begin, what loads into what."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import skipw
from tests.core.cases import CELLS, EVERY_CELL, PairCell, TripleCell, make

SRC = Path(skipw.__file__).parents[1]


def test_importing_the_package_is_cheap() -> None:
    code = (
        "import time; start = time.process_time(); import skipw; "
        "skipw.OperatingPoint(3, 0.5); skipw.errors; skipw.Schedule; spent = time.process_time() - start; "
        "import sys; heavy = {'torch', 'numpy', 'pandas', 'lightning', 'mlflow'} & set(sys.modules); "
        "print(spent, sorted(heavy))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=SRC, check=True)
    spent, heavy = run.stdout.split(" ", 1)
    assert heavy.strip() == "[]"
    assert float(spent) < 0.5


def test_every_public_name_is_there() -> None:
    for name in (
        "SkipW",
        "ThrRNN",
        "SkipRNN",
        "DenseRNN",
        "OperatingPoint",
        "Schedule",
        "SkipState",
        "SkipOutput",
    ):
        assert name in skipw.__all__
        assert name in dir(skipw)
        assert getattr(skipw, name).__name__ == name
    for name in ("ParamsError", "BudgetError", "ShapeError", "BackendUnavailableError", "StreamOrderError"):
        assert issubclass(getattr(skipw, name), skipw.SkipWError)
    with pytest.raises(AttributeError, match="no attribute 'Skipw'"):
        skipw.Skipw  # noqa: B018


CELL_SHAPES = {
    "gru": {"weight_ih": 15, "weight_hh": 15, "bias_ih": 15, "bias_hh": 15},
    "lstm": {"weight_ih": 20, "weight_hh": 20, "bias_ih": 20, "bias_hh": 20},
}


@pytest.mark.parametrize("initial_state", ["trainable", "zeros"])
@pytest.mark.parametrize("time_feature", ["steps", "none"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_state_dict_of_skipw(cell: str, time_feature: str, initial_state: str) -> None:
    model = skipw.SkipW(cell, 3, 5, 2, window=7, time_feature=time_feature, initial_state=initial_state)
    expected = {"gate.weight": (7, 5 + (time_feature != "none")), "gate.bias": (7,)}
    for layer, width in enumerate((3, 5)):
        for name, rows in CELL_SHAPES[cell].items():
            columns = {"weight_ih": (width,), "weight_hh": (5,)}.get(name, ())
            expected[f"cells.{layer}.{name}"] = (rows, *columns)
    if initial_state == "trainable":
        expected["initial_state"] = (2, 1, 5)
        if cell == "lstm":
            expected["initial_cell"] = (2, 1, 5)
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == expected


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_thrrnn_and_skiprnn_load_each_other_s_weights(cell: str) -> None:
    thr, skip = skipw.ThrRNN(cell, 3, 5, 2), skipw.SkipRNN(cell, 3, 5, 2)
    assert tuple(thr.gate.weight.shape) == (1, 5)
    assert tuple(thr.gate.bias.shape) == (1,)
    skip.load_state_dict(thr.state_dict())
    x = torch.randn(2, 9, 3)
    assert torch.equal(skip(x).output, thr(x, at=skipw.OperatingPoint(threshold=0.5)).output)
    thr.load_state_dict(skip.state_dict())


@pytest.mark.parametrize("name", ["skipw", "thrrnn", "skiprnn"])
def test_gates_begin_open(name: str) -> None:
    """Bias 1, Xavier weight: a new model processes nearly everything."""
    settings = {"window": 8} if name == "skipw" else {}
    kind: Any = {"skipw": skipw.SkipW, "thrrnn": skipw.ThrRNN, "skiprnn": skipw.SkipRNN}[name]
    model = kind("gru", 3, 400, **settings)
    assert bool((model.gate.bias == 1).all())
    rows, columns = model.gate.weight.shape
    limit = math.sqrt(6 / (rows + columns))
    assert 0.9 * limit < float(model.gate.weight.detach().abs().max()) <= limit
    assert kind("gru", 3, 5, gate_bias=-0.5, **settings).gate.bias.detach().unique().tolist() == [-0.5]


def test_cells_begin_as_in_skiprnn_s_code() -> None:
    gru, lstm = skipw.ThrRNN("gru", 3, 5).cells[0], skipw.ThrRNN("lstm", 3, 5).cells[0]
    assert (gru.bias_ih + gru.bias_hh).tolist() == [1.0] * 10 + [0.0] * 5
    assert (lstm.bias_ih + lstm.bias_hh).tolist() == [0.0] * 5 + [1.0] * 5 + [0.0] * 10


def test_initial_states_begin_as_standard_normal() -> None:
    model = skipw.SkipW("lstm", 3, 4000, window=2)
    for start in (model.initial_state, model.initial_cell):
        assert start is not None
        assert float(start.detach().mean().abs()) < 0.1
        assert float(start.detach().std()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("cell", CELLS)
def test_attributes(cell: str) -> None:
    model = make(cell=cell, layers=2, window=9)
    assert (model.input_size, model.hidden_size, model.num_layers, model.window) == (3, 5, 2, 9)
    assert model.cell == CELLS[cell]
    assert make("thrrnn").window is make("skiprnn").window is make("dense").window is None
    assert "window=9" in repr(model)
    assert "select='topk'" in repr(model)


@pytest.mark.parametrize("backend", EVERY_CELL)
@pytest.mark.parametrize(("cell", "count"), [(nn.RNNCell, 1), (PairCell, 2), (TripleCell, 3)])
def test_any_cell_has_the_state_it_likes(cell: Any, count: int, backend: str) -> None:
    """A tensor, or a tuple whose first is the output and whose last drives the gate."""
    model = skipw.SkipW(cell, 3, 5, window=3, time_feature="none")
    first = model(torch.randn(2, 3, 3), backend=backend)
    layer = first.state.layers[0]
    parts = (layer,) if isinstance(layer, torch.Tensor) else layer
    assert len(parts) == count
    assert torch.equal(first.output[:, -1], parts[0])
    second = model(torch.randn(2, 3, 3), state=first.state, backend=backend)
    expected = torch.sigmoid(parts[-1] @ model.gate.weight.T + model.gate.bias)
    torch.testing.assert_close(second.importance, expected, rtol=0, atol=1e-6)


def test_copies_and_saved_weights_answer_alike(tmp_path: Path) -> None:
    model = make("skipw", "lstm", 2, dtype=torch.float32)
    x = torch.randn(2, 13, 3)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    other = make("skipw", "lstm", 2, dtype=torch.float32, seed=9)
    assert not torch.equal(other(x).output, model(x).output)
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(other(x).output, model(x).output)
    assert torch.equal(copy.deepcopy(model).eval()(x).output, model(x).output)
