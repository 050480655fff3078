"""The native backend against the reference: every form of input that it has its own code for, on every variant.

tests/core compares it with the other backends on all kinds of calls; here are the ways that those do not reach: narrow
inputs, repeated inputs, a table of distinct input rows, vector units of each width.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

import skipw
from skipw.ops.native import build, library
from tests.core.cases import MODELS, PLAIN_CELLS, assert_same, inferred, outcome, points

INPUTS = ("one", "one repeated", "two", "three", "rows", "tokens", "tokens twice")
T, B = 17, 6
LENGTHS = [17, 0, 8, 16, 1, 13]


@pytest.fixture(params=["plain", "avx2", "avx512"])
def variant(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One kind of vector unit after the other."""
    if request.param not in build.variants_here():
        pytest.skip(f"there is no variant {request.param} on this kind of machine")
    monkeypatch.setenv("SKIPW_NATIVE_VARIANT", request.param)
    if reason := library.why_not():
        if "this CPU runs" not in reason:
            pytest.fail(reason)
        pytest.skip(reason)
    return str(request.param)


def inputs(kind: str, dtype: torch.dtype) -> torch.Tensor:
    """Float[B, T, D] of a kind."""
    match kind:
        case "one":
            return torch.randn(B, T, 1, dtype=dtype)
        case "one repeated":
            return torch.randint(0, 3, (B, T, 1)).to(dtype) - 1
        case "two":
            return torch.randint(0, 2, (B, T, 2)).to(dtype)
        case "three":
            return torch.randn(B, T, 3, dtype=dtype)
        case "rows":
            return torch.randn(B, T, 21, dtype=dtype)
        case _:
            # The second kind differs behind the bytes that the search looks at first.
            table = torch.randn(9, 40, dtype=dtype)
            if kind == "tokens twice":
                table[:, :24] = table[0, :24]
            return table[torch.randint(0, 9, (B, T))]


def make(model: str, cell: str, layers: int, width: int, hidden: int, dtype: torch.dtype) -> Any:
    settings: dict[str, Any] = {"window": 5, "time_scale": 7.0} if model == "skipw" else {}
    made: Any = MODELS[model](cell, width, hidden, layers, **settings).to(dtype)
    if model != "dense":
        torch.nn.init.normal_(made.gate.weight, 0.0, 1.0 / hidden**0.5)
        with torch.no_grad():
            slots = len(made.gate.bias)
            made.gate.bias.copy_(torch.linspace(-1.0, 1.2, slots) if slots > 1 else torch.tensor([-1.0]))
    return made


def compare(made: Any, x: torch.Tensor, **call: Any) -> dict[str, torch.Tensor]:
    expected = outcome(made, x, backend="reference", **call)
    assert_same(expected, outcome(made, x, backend="native", **call))
    assert_same(inferred(made, x, backend="reference", **call), inferred(made, x, backend="native", **call))
    return expected


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(("model", "cell"), [(model, cell) for model in MODELS for cell in PLAIN_CELLS])
@pytest.mark.sanitized
def test_every_form_of_input(model: str, cell: str, layers: int, kind: str) -> None:
    x = inputs(kind, torch.float64)
    made = make(model, cell, layers, x.shape[2], 7, torch.float64)
    call: dict[str, Any] = {"lengths": LENGTHS, "outputs": "all" if layers == 1 else "last"}
    if model == "dense":
        call["updates"] = torch.rand(B, T) < 0.4
    else:
        call["at"] = points(model) if model == "thrrnn" else None
    expected = compare(made, x, **call)
    assert 0 < expected["y.inputs_processed"].mean() < 1


@pytest.mark.parametrize("select", ["topk", "random", "last", "first_above"])
@pytest.mark.sanitized
def test_the_bound_over_any_window(select: str) -> None:
    """With K moved, in one call and going on from its middle."""
    x = inputs("rows", torch.float64)
    made = make("skipw", "gru", 1, x.shape[2], 7, torch.float64)
    made.bound, made.select = "any", select
    at = skipw.Schedule([(0, skipw.OperatingPoint(2, 0.3)), (7, skipw.OperatingPoint(4, 0.3))])
    expected = compare(made, x, at=at, lengths=LENGTHS)
    assert 0 < expected["y.inputs_processed"].mean() < 1
    with torch.no_grad():
        before = made(x[:, :8], at=at, backend="native", generator=torch.Generator().manual_seed(1)).state
    compare(made, x[:, 8:].contiguous(), at=skipw.OperatingPoint(1, 0.3), state=before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("hidden", [1, 7, 16, 33])
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_every_vector_unit(cell: str, hidden: int, dtype: torch.dtype, variant: str) -> None:
    assert library.variant() == variant
    for kind, layers in (("one", 1), ("rows", 2), ("tokens", 1)):
        x = inputs(kind, dtype)
        made = make("skipw", cell, layers, x.shape[2], hidden, dtype)
        updates = torch.rand(B, T) < 0.5
        compare(made, x, updates=updates, lengths=LENGTHS)
        expected, got = (outcome(made, x, backend=name, at=None) for name in ("reference", "native"))
        if torch.equal(expected["y.updates"], got["y.updates"]):
            assert_same(expected, got)
        else:
            assert dtype == torch.float32, "in float64 no decision lies so near a border"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize(
    ("model", "cell"),
    [("skipw", "gru"), ("skipw", "lstm"), ("skipw", "fastgrnn"), ("thrrnn", "gru"), ("thrrnn", "fastgrnn")],
)
@pytest.mark.sanitized
def test_a_skipped_input_that_is_not_finite_changes_nothing(
    model: str, cell: str, kind: str, value: float
) -> None:
    x = inputs(kind, torch.float64)
    made = make(model, cell, 1 + (kind == "two"), x.shape[2], 7, torch.float64)
    skipped = ~inferred(made, x, backend="reference")["y.updates"]
    assert 10 < skipped.sum() < B * T
    x[skipped & (torch.rand(B, T) < 0.5)] = value
    expected = compare(made, x)
    assert all(bool(grad.isfinite().all()) for name, grad in expected.items() if name.startswith("d."))


@pytest.mark.parametrize("kind", ["one", "rows", "tokens"])
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_a_processed_nan_stays_in_its_row(cell: str, kind: str) -> None:
    x = inputs(kind, torch.float32)
    made = make("skipw", cell, 1, x.shape[2], 7, torch.float32)
    first = inferred(made, x, backend="native")["y.updates"].int().argmax(1)
    clean = inferred(made, x, backend="native", outputs="last")["y.output"]
    x[0, first[0]] = float("nan")
    y = inferred(made, x, backend="native", outputs="last")["y.output"]
    assert y[0].isnan().all()
    assert torch.equal(y[1:], clean[1:])


def test_infinite_inputs_saturate_as_in_torch() -> None:
    """Lanes beyond N must not turn an infinite input into NaN."""
    for cell in PLAIN_CELLS:
        made = make("dense", cell, 2, 1, 7, torch.float64)
        x = torch.randn(2, 5, 1, dtype=torch.float64)
        x[0, 2] = float("inf")
        expected = inferred(made, x, backend="reference")["y.output"]
        assert_same({"y": expected}, {"y": inferred(made, x, backend="native")["y.output"]})


def test_one_row_and_one_input() -> None:
    for cell, model in (("gru", "skipw"), ("lstm", "thrrnn"), ("fastgrnn", "skipw")):
        made = make(model, cell, 1, 1, 5, torch.float64)
        compare(made, torch.randn(1, 1, 1, dtype=torch.float64))


def test_more_rows_than_walk_together() -> None:
    """Several shards on one thread, rounds of every size, more pending rows than fit."""
    made = make("skipw", "gru", 1, 1, 3, torch.float64)
    compare(made, torch.randn(300, 11, 1, dtype=torch.float64), lengths=torch.randint(0, 12, (300,)))


def test_what_a_step_keeps_grows_with_the_inputs_processed() -> None:
    """Ten times the sequence with as many inputs processed: no more memory beyond one block."""
    from skipw.ops.native.node import tape_bytes

    kept = []
    for num_steps in (200, 2000):
        rnn = skipw.SkipW("gru", 1, 64, window=num_steps // 10)
        with torch.no_grad():
            rnn.gate.weight.zero_()
            rnn.gate.bias.fill_(-5.0)
            rnn.gate.bias[:8] = 5.0
        y = rnn(torch.randn(16, num_steps, 1), outputs="last", backend="native")
        assert y.input_cost.tolist() == [80.0] * 16
        kept.append(tape_bytes(y.output.grad_fn.next_functions[0][0]))
    assert kept[0] == kept[1] > 16 * 80 * 4 * 64 * 4


def test_a_step_is_freed_without_the_garbage_collector() -> None:
    """What comes out must not be held by what made it: the tape is large."""
    import gc
    import weakref

    rnn = skipw.SkipW("gru", 1, 8, window=5)
    gc.disable()
    try:
        for outputs in ("all", "last"):
            y = rnn(torch.randn(2, 12, 1), outputs=outputs, backend="native")
            node = y.importance.grad_fn
            alive = weakref.ref(node.tensors)
            (y.output.sum() + y.input_cost.sum()).backward()
            assert alive() is not None
            del y, node
            assert alive() is None
    finally:
        gc.enable()
