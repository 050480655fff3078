"""Wrong arguments: the error's class, what was expected, what came, and the remedy; nothing is computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import skipw
from skipw import BackendUnavailableError, BudgetError, OperatingPoint, Schedule, ShapeError
from tests.core.cases import BACKENDS, EVERY_CELL, PairCell, make

X = torch.zeros(2, 7, 3)
FLOAT32 = torch.float32


def skip(**settings: Any) -> Any:
    return make("skipw", dtype=FLOAT32, **settings)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(7, 3), r"Float\[B, T, 3\] with B >= 1 .*got \[7, 3\]; add a batch axis"),
        (torch.zeros(2, 7, 4), r"got \[2, 7, 4\]"),
        (torch.zeros(0, 7, 3), r"B >= 1.*got \[0, 7, 3\]"),
        (np.zeros((2, 7, 3)), "got ndarray"),
        (None, "got NoneType"),
        (X.double(), r"x must be torch.float32 on cpu as the weights are, got torch.float64 on cpu; convert"),
        (X.long(), "got torch.int64"),
        (X.to("meta"), "got torch.float32 on meta"),
    ],
)
@pytest.mark.parametrize("model", ["skipw", "thrrnn", "dense"])
def test_inputs(model: str, x: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        make(model, dtype=FLOAT32)(x)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([3], r"lengths must be Long\[2\], got torch.int64 \[1\]"),
        (5, r"got torch.int64 \[\]"),
        ([[1, 2]], r"got torch.int64 \[1, 2\]"),
        ([3.0, 4.0], "got torch.float32"),
        ([True, False], "got torch.bool"),
        ([1, [2]], r"got \[1, \[2\]\]"),
        ("ab", "got 'ab'"),
        ([-1, 3], r"lie in \[0, 7\], got -1 to 3"),
        ([0, 8], r"lie in \[0, 7\], got 0 to 8"),
    ],
)
def test_lengths(lengths: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        skip()(X, lengths=lengths)


@pytest.mark.parametrize(
    "lengths", [[7, 0], (7, 0), np.array([7, 0]), np.array([7, 0], np.uint64), torch.tensor([7, 0]).int()]
)
def test_lengths_of_any_whole_kind(lengths: Any) -> None:
    assert skip()(X, lengths=lengths).state.step.tolist() == [7, 0]


@pytest.mark.parametrize(
    ("updates", "message"),
    [
        (torch.ones(2, 7), r"updates must be Bool\[2, 7\], got torch.float32 \[2, 7\]"),
        (torch.ones(2, 6).bool(), r"got torch.bool \[2, 6\]"),
        (torch.ones(2, 7, 3).bool(), r"got torch.bool \[2, 7, 3\]"),
        ([[True] * 7] * 2, "got list"),
    ],
)
def test_updates(updates: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        skip()(X, updates=updates)


def test_updates_and_an_operating_point_contradict_each_other() -> None:
    with pytest.raises(BudgetError, match="updates= decides by itself"):
        skip()(X, updates=torch.ones(2, 7).bool(), at=OperatingPoint())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "at", [OperatingPoint(7), Schedule([(0, OperatingPoint()), (99, OperatingPoint(7))])]
)
def test_budget_beyond_the_window(at: Any, backend: str) -> None:
    with pytest.raises(BudgetError, match=r"\[0, 6\] for a window of 6 inputs, got 7"):
        skip()(X, at=at, backend=backend)


@pytest.mark.parametrize("at", [3, "all", (3, 0.5), [(0, OperatingPoint())]])
def test_things_that_are_no_operating_point(at: Any) -> None:
    with pytest.raises(BudgetError, match="expected an OperatingPoint or a Schedule, got"):
        skip()(X, at=at)


@pytest.mark.parametrize("model", ["thrrnn", "skiprnn"])
@pytest.mark.parametrize("start", [0, 50])
def test_models_without_a_bound_refuse_a_budget(model: str, start: int) -> None:
    points = [(0, OperatingPoint()), (start, OperatingPoint(budget=3))]
    at = OperatingPoint(budget=0) if start == 0 else Schedule(points)
    with pytest.raises(BudgetError, match=r"has no budget .* use SkipW for a strict bound"):
        make(model, dtype=FLOAT32)(X, at=at)


def test_skiprnn_has_one_threshold() -> None:
    model = make("skiprnn", dtype=FLOAT32)
    assert model(X, at=OperatingPoint(threshold=0.5)).output.shape == (2, 7, 5)
    for at in (
        OperatingPoint(threshold=0.4),
        Schedule([(0, OperatingPoint()), (3, OperatingPoint(None, 0.0))]),
    ):
        with pytest.raises(BudgetError, match=r"fixed at 0.5, got 0.*; load its weights into ThrRNN"):
            model(X, at=at)


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ("cuda", "must be one of reference, compact, native, triton, auto, got 'cuda'"),
        ("Reference", "got 'Reference'"),
        (None, "got None"),
    ],
)
def test_backends(backend: Any, message: str) -> None:
    with pytest.raises(BackendUnavailableError, match=message):
        skip()(X, backend=backend)


@pytest.mark.parametrize(
    ("model", "x", "message"),
    [
        (skip(cell="pair"), X, "serves plain GRU, LSTM and FastGRNN cells"),
        (skip().to(torch.bfloat16), X.to(torch.bfloat16), "takes float32 and float64, x is torch.bfloat16"),
    ],
)
def test_native_says_what_it_cannot_serve(model: Any, x: torch.Tensor, message: str) -> None:
    with pytest.raises(BackendUnavailableError, match=f"{message}.*Use backend='compact' or 'auto'"):
        model(x, backend="native")
    assert model(x, backend="auto").output.shape[:2] == x.shape[:2]


def test_auto_says_once_what_it_chose(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skipw.ops.dispatch._announced", set())
    with caplog.at_level("INFO", logger="skipw"):
        for _ in range(3):
            skip()(X)
            skip(cell="pair")(X)
            monkeypatch.setenv("SKIPW_NATIVE", "0")
            skip()(X)
            monkeypatch.delenv("SKIPW_NATIVE")
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "backend auto: native",
        "backend auto: compact: the native backend serves plain GRU, LSTM and FastGRNN cells with biases, without "
        "hooks or autocast.",
        "backend auto: compact: the native library is switched off by SKIPW_NATIVE=0.",
    ]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (torch.zeros(2, 5), r"SkipState or Float\[1, 2, 5\] \(layers first\), got \[\[2, 5\]\]"),
        (torch.zeros(1, 3, 5), r"got \[\[1, 3, 5\]\]"),
        (torch.zeros(1, 2, 5).double(), "state must be torch.float32 on cpu as x is, got torch.float64"),
        ((torch.zeros(1, 2, 5), torch.zeros(1, 2, 5)), r"got \[\[1, 2, 5\], \[1, 2, 5\]\]"),
        (5, r"got \['int'\]"),
        ("zeros", r"got \['str'\]"),
    ],
)
def test_states_given_as_tensors(state: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        skip()(X, state=state)


def test_an_lstm_wants_both_of_its_states() -> None:
    with pytest.raises(ShapeError, match=r"2 tensors Float\[1, 2, 5\]"):
        make(cell="lstm", dtype=FLOAT32)(X, state=torch.zeros(1, 2, 5))


@pytest.mark.parametrize(
    ("other", "x", "message"),
    [
        (skip, X[:1], "rows 2, got 1"),
        (lambda: skip(layers=2), X, "layers 1, got 2"),
        (lambda: skip(window=4), X, "window 6, got 4"),
        (lambda: skip(hidden=4), X, "hidden_size 5, got 4"),
        (lambda: skip(cell="lstm"), X, "tensors a layer 1, got 2"),
        (lambda: make("thrrnn", dtype=FLOAT32), X, "window 6, got None; accumulated value False, got True"),
        (lambda: skip(select="sample"), X, "noise False, got True"),
        (lambda: make("skipw"), X.double(), "as x is, got torch.float64"),
    ],
)
def test_states_that_another_kind_of_call_left(other: Any, x: torch.Tensor, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        skip()(X, state=other()(x).state)


def test_outputs_are_all_or_last() -> None:
    with pytest.raises(ShapeError, match="'all' or 'last', got 'first'"):
        skip()(X, outputs="first")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 0}, "window must be a whole number of at least 1, got 0"),
        ({"window": 2.0}, "window must be a whole number"),
        ({"window": True}, "window must be a whole number"),
        ({"input_size": 0}, "input_size must be a whole number of at least 1, got 0"),
        ({"hidden_size": -1}, "hidden_size"),
        ({"num_layers": 0}, "num_layers"),
        ({"num_layers": True}, "num_layers"),
        ({"initial_state": "random"}, "'trainable' or 'zeros', got 'random'"),
        (
            {"select": "best"},
            "select must be one of topk, sample, random, first, last, first_above, got 'best'",
        ),
        ({"time_feature": "t"}, "time_feature must be one of steps, window, since_update, none, got 't'"),
        ({"time_scale": 0}, "time_scale must be positive"),
        ({"time_scale": float("nan")}, "time_scale must be positive"),
        ({"time_scale": float("inf")}, "time_scale must be positive and finite, got inf"),
        ({"time_scale": "a"}, "time_scale must be positive and finite, got 'a'"),
        ({"time_scale": None}, "time_scale must be positive"),
        ({"selection_softness": "a"}, "selection_softness must be positive"),
        ({"window": np.bool_(True)}, "window must be a whole number"),
        ({"gate_inputs": None}, "gate_inputs must be a list out of"),
        ({"gate_inputs": 3}, "gate_inputs must be a list out of"),
        ({"gate_state_gradient": -0.1}, "gate_state_gradient must be a number of at least 0"),
        ({"gate_state_gradient": float("nan")}, "gate_state_gradient"),
        ({"cell": "rnn"}, r"'gru', 'lstm' or a factory f\(input_size, hidden_size\), got 'rnn'"),
        ({"cell": 3}, "got 3"),
        ({"cell": lambda d, n: d + n}, "must return a torch.nn.Module, got int"),
        ({"cell": nn.Linear}, "Linear did neither"),
        ({"cell": lambda d, n: nn.GRUCell(d + 1, n)}, "GRUCell did neither"),
        ({"cell": nn.GRU}, "GRU did neither"),
    ],
)
def test_constructors(settings: dict[str, Any], message: str) -> None:
    arguments = {"cell": "gru", "input_size": 3, "hidden_size": 5, "window": 4, **settings}
    with pytest.raises(ShapeError, match=message):
        skipw.SkipW(**arguments)


def test_sizes_of_numpy_are_sizes() -> None:
    model = skipw.SkipW("gru", np.int64(3), np.int32(5), np.int64(2), window=np.int64(4))
    assert model(X).output.shape == (2, X.shape[1], 5)
    assert (type(model.window), type(model.hidden_size)) == (int, int)


def test_what_draws_is_a_generator() -> None:
    with pytest.raises(ShapeError, match=r"generator must be a torch.Generator, got 3; use torch.Generator"):
        skip(select="sample")(X, generator=3)


def _half(model: Any) -> None:
    gate = {name: weight.half() for name, weight in model.state_dict().items() if name.startswith("gate")}
    model.load_state_dict({**model.state_dict(), **gate}, assign=True)


SPOILED: dict[str, tuple[Callable[[Any], object], str]] = {
    "gate half": (_half, r"the gate's weight must be torch.float32 \[6, 6\] on cpu, got torch.float16"),
    "gate double": (lambda m: m.gate.double(), "the gate's weight must be torch.float32"),
    "cells double": (lambda m: m.cells[1].double(), r"cells\[1\].weight_ih must be torch.float32 \[15, 5\]"),
    "initial state": (
        lambda m: setattr(m, "initial_state", nn.Parameter(m.initial_state.double())),
        r"state.* must be torch.float32",
    ),
    "weight shape": (
        lambda m: setattr(m.cells[0], "weight_hh", nn.Parameter(torch.ones(15, 4))),
        r"cells\[0\].weight_hh must be torch.float32 \[15, 5\] on cpu, got torch.float32 \[15, 4\]",
    ),
    "gate shape": (
        lambda m: setattr(m.gate, "weight", nn.Parameter(torch.ones(6, 5))),
        r"the gate's weight must be torch.float32 \[6, 6\] on cpu, got torch.float32 \[6, 5\]",
    ),
    "no bias": (
        lambda m: setattr(m.cells[1], "bias_ih", None),
        r"cells\[1\].bias_ih must be .*, got None; use",
    ),
    "gate rows": (
        lambda m: setattr(m.gate, "bias", nn.Parameter(torch.ones(5))),
        r"the gate's bias must be .* \[6\]",
    ),
}


@pytest.mark.parametrize("backend", ["native", "auto"])
@pytest.mark.parametrize("spoiled", SPOILED)
def test_native_reads_no_tensor_of_another_kind(spoiled: str, backend: str) -> None:
    """It would take its memory for something else."""
    model, (spoil, message) = skip(layers=2), SPOILED[spoiled]
    spoil(model)
    with pytest.raises(ShapeError, match=message):
        model(X, backend=backend)


def test_a_gate_without_bias_is_left_to_others() -> None:
    model = skip()
    model.gate.bias = None
    assert torch.equal(model(X).updates, model(X, backend="reference").updates)
    with pytest.raises(BackendUnavailableError, match="a gate with a bias"):
        model(X, backend="native")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("importance", lambda value: value.double()),
        ("step", lambda value: value.int()),
        ("selected", lambda value: value.float()),
        ("threshold", lambda value: value.float()),
        ("used", lambda value: value[:1]),
    ],
)
def test_a_state_of_other_types_is_refused(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    model = skip()
    state = model(X).state
    with pytest.raises(ShapeError, match="state"):
        model(X, state=dataclasses.replace(state, **{name: change(getattr(state, name))}))


@pytest.mark.parametrize("backend", EVERY_CELL)
def test_cells_without_parameters_work(backend: str) -> None:
    class Leak(nn.Module):
        def forward(self, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
            return 0.5 * state + x

    model = skipw.DenseRNN(lambda _d, _n: Leak(), 3, 3, initial_state="zeros")
    y = model(torch.ones(1, 3, 3), backend=backend)
    assert y.output[0, :, 0].tolist() == [1.0, 1.5, 1.75]


def test_errors_are_the_package_s_own_and_python_s_too() -> None:
    assert issubclass(ShapeError, skipw.SkipWError)
    assert issubclass(BudgetError, ValueError)
    assert issubclass(ShapeError, ValueError)
    assert not issubclass(BackendUnavailableError, ValueError)
    with pytest.raises(ValueError, match="window"):
        skipw.SkipW(PairCell, 3, 5, window=-3)
