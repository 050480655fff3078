"""The Triton backend against the reference: values and every gradient, with forced and with free gates.

The interpreter takes about a tenth of a second for an input, so sequences are short and windows too. Tolerances are
those of every backend (float64 1e-12, float32 1e-5).
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

import skipw
from skipw.ops.triton.settings import Tiles, using
from tests.core.cases import assert_same, inferred, make, outcome

WINDOW = 3
POINT = skipw.OperatingPoint
SWITCHING = skipw.Schedule([(0, POINT(2, 0.3)), (1, POINT(1, 0.5)), (4, POINT(3, 0.2)), (5, POINT(2, 0.0))])
THRESHOLDS = skipw.Schedule([(0, POINT(threshold=0.7)), (3, POINT(threshold=0.3))])
WHOLE, RESIDENT, CHUNKED = Tiles(chunk=1024), Tiles(chunk=1024, resident=True), Tiles(chunk=16)


def same(model: Any, x: torch.Tensor, **call: Any) -> dict[str, torch.Tensor]:
    """Training and inference as the reference does; returns what the reference said."""
    expected = outcome(model, x, backend="reference", **call)
    assert_same(expected, outcome(model, x, backend="triton", **call))
    leaves = call.pop("leaves", None)
    if leaves is None:
        assert_same(
            inferred(model, x, backend="reference", **call), inferred(model, x, backend="triton", **call)
        )
    return expected


@pytest.mark.parametrize(
    ("cell", "layers", "hidden", "num_steps", "lengths", "tiles"),
    [
        ("gru", 1, 5, 1, None, WHOLE),
        ("gru", 1, 12, WINDOW - 1, (2, 0, 1), CHUNKED),
        ("gru", 2, 1, WINDOW, None, WHOLE),
        ("gru", 1, 5, WINDOW + 1, (4, 1, 3), RESIDENT),
        ("gru", 2, 17, 2, None, CHUNKED),
        ("lstm", 1, 1, 1, None, WHOLE),
        ("lstm", 2, 5, WINDOW - 1, (1, 2, 0), WHOLE),
        ("lstm", 1, 12, WINDOW, None, RESIDENT),
        ("lstm", 1, 5, WINDOW + 1, (3, 4, 1), WHOLE),
        ("lstm", 2, 17, 2, None, CHUNKED),
    ],
)
def test_forced_gates_give_the_reference_s_answer(
    cell: str, layers: int, hidden: int, num_steps: int, lengths: tuple[int, ...] | None, tiles: Tiles
) -> None:
    """T around the window, hidden sizes that fill no tile, every way to hold the weights."""
    model = make("skipw", cell, layers, hidden=hidden, window=WINDOW)
    x = torch.randn(3, num_steps, 3, dtype=torch.float64)
    updates = torch.rand(3, num_steps) < torch.tensor([[1.0], [0.6], [0.4]])
    with using(tiles=tiles):
        expected = same(
            model, x, updates=updates, lengths=lengths, outputs="last" if num_steps % 2 else "all"
        )
    assert expected["d.x"].abs().max() > 0
    assert not expected["d.gate.weight"].any()


@pytest.mark.parametrize("model", ["thrrnn", "dense"])
def test_forced_gates_of_the_other_models(model: str) -> None:
    """More rows than a tile, more features than are multiplied inside the kernel."""
    made = make(model, "gru", hidden=4)
    wide = skipw.DenseRNN("gru", 6, 4).double() if model == "dense" else made
    x = torch.randn(18, 2, 6 if model == "dense" else 3, dtype=torch.float64)
    expected = same(wide, x, updates=torch.rand(18, 2) < 0.5)
    assert expected["d.x"].abs().max() > 0


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_nothing_and_everything(share: float) -> None:
    model = make("skipw", "lstm", window=WINDOW)
    x, updates = torch.randn(2, 3, 3, dtype=torch.float64), torch.full((2, 3), bool(share))
    expected = same(model, x, updates=updates)
    assert expected["y.inputs_processed"].tolist() == [share] * 2


@pytest.mark.parametrize(
    ("select", "time_feature", "factor", "cell", "layers", "tiles"),
    [
        ("topk", "steps", 1.0, "gru", 1, RESIDENT),
        ("topk", "since_update", 0.1, "lstm", 2, WHOLE),
        ("sample", "window", 1.0, "lstm", 1, WHOLE),
        ("random", "none", 0.0, "gru", 1, CHUNKED),
        ("first", "since_update", 0.1, "gru", 1, WHOLE),
        ("last", "steps", 1.0, "gru", 2, CHUNKED),
        ("first_above", "window", 1.0, "gru", 1, RESIDENT),
    ],
)
def test_skipw_with_every_selector_and_time_feature(
    select: str, time_feature: str, factor: float, cell: str, layers: int, tiles: Tiles
) -> None:
    model = make(
        "skipw",
        cell,
        layers,
        hidden=17 if tiles is CHUNKED else 5,
        window=WINDOW,
        select=select,
        time_feature=time_feature,
        time_scale=7,
        gate_state_gradient=factor,
    )
    x = torch.randn(4, 6, 3, dtype=torch.float64)
    with using(tiles=tiles):
        expected = same(model, x, at=SWITCHING, lengths=[6, 0, 2, 5])
    assert 0 < expected["y.inputs_processed"].mean() < 0.9
    assert expected["d.gate.weight"].abs().max() > 0


@pytest.mark.parametrize(
    ("model", "cell", "layers", "factor"), [("thrrnn", "gru", 1, 0.1), ("skiprnn", "lstm", 2, 1.0)]
)
def test_accumulating_models(model: str, cell: str, layers: int, factor: float) -> None:
    made = make(model, cell, layers, gate_state_gradient=factor)
    x = torch.randn(4, 6, 3, dtype=torch.float64)
    expected = same(made, x, at=THRESHOLDS if model == "thrrnn" else None, lengths=[6, 0, 1, 5])
    assert 0 < expected["y.inputs_processed"].mean() < 0.9
    assert expected["d.gate.weight"].abs().max() > 0


@pytest.mark.parametrize(
    ("model", "cell", "select"),
    [("skipw", "gru", "sample"), ("skipw", "lstm", "topk"), ("skiprnn", "gru", "")],
)
def test_going_on_in_mid_window_from_rows_at_different_offsets(model: str, cell: str, select: str) -> None:
    """A ragged chunk, then the rest at another operating point; the gradient runs through both."""
    settings = {"select": select, "window": WINDOW} if select else {}
    made = make(model, cell, **settings)
    x = torch.randn(4, 7, 3, dtype=torch.float64)
    tail = {"lengths": [3, 2, 0, 1], "at": POINT(2, 0.4) if select else None}

    def both(name: str) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(1)
        at = SWITCHING if select else None
        first = made(x[:, :4], backend=name, lengths=[4, 1, 2, 0], at=at, generator=generator)
        return outcome(made, x[:, 4:], backend=name, state=first.state, **tail)

    assert_same(both("reference"), both("triton"))


@pytest.mark.parametrize(("cell", "count"), [("gru", 1), ("lstm", 2)])
def test_a_given_initial_state_gets_its_gradient(cell: str, count: int) -> None:
    model = make("skipw", cell, 2, initial_state="zeros", window=WINDOW)
    start = [torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True) for _ in range(count)]
    leaves = {f"start{p}": part for p, part in enumerate(start)}
    x = torch.randn(3, 4, 3, dtype=torch.float64)
    expected = same(model, x, state=start[0] if count == 1 else tuple(start), leaves=leaves)
    assert expected["d.start0"].abs().max() > 0


@pytest.mark.parametrize("name", ["skipw", "thrrnn"])
def test_a_skipped_input_that_is_not_finite_changes_nothing(name: str) -> None:
    """No value; its gradients are those of a candidate that is the state itself."""
    model = make(name, "gru", 2 if name == "skipw" else 1, **({"window": WINDOW} if name == "skipw" else {}))
    at = POINT(1, 0.0) if name == "skipw" else POINT(threshold=0.7)
    x = torch.randn(3, 4, 3, dtype=torch.float64)
    plain = inferred(model, x, backend="triton", at=at)
    assert not plain["y.updates"].all()
    spoilt = torch.where(plain["y.updates"].unsqueeze(-1), x, float("nan"))
    expected = same(model, spoilt, at=at)
    assert not any(value.isnan().any() for value in expected.values())
    assert torch.equal(expected["y.updates"], plain["y.updates"])


def test_a_processed_nan_and_a_nan_gate() -> None:
    """NaN in, NaN out, in that row alone; a NaN importance ranks last and is never processed."""
    model = make("skipw", "gru", window=WINDOW)
    with torch.no_grad():
        model.gate.bias[1] = float("nan")
    x = torch.randn(3, 4, 3, dtype=torch.float64)
    x[1] = float("nan")
    got = inferred(model, x, backend="triton", at=POINT(3, 0.0))
    assert_same(inferred(model, x, backend="reference", at=POINT(3, 0.0)), got)
    assert got["y.updates"][0].tolist() == [True, False, True, True]
    assert got["y.output"].isnan().any(-1).any(-1).tolist() == [False, True, False]


@pytest.mark.parametrize("bias", [0.0, 50.0])
def test_ties_go_to_the_earliest(bias: float) -> None:
    model = make("skipw", "gru", initial_state="zeros", dtype=torch.float32, window=WINDOW)
    torch.nn.init.zeros_(model.gate.weight)
    torch.nn.init.constant_(model.gate.bias, bias)
    got = inferred(model, torch.randn(2, 4, 3), backend="triton", at=POINT(2, 0.5))
    assert got["y.updates"].tolist() == [[True, True, False, True]] * 2


@pytest.mark.parametrize("precision", ["ieee", "tf32", "bf16"])
def test_precisions(precision: str) -> None:
    """float32 within 1e-5; bfloat16 products err by up to 2^-8 of each factor, and really are used."""
    model = make("thrrnn", "gru", hidden=12, dtype=torch.float32)
    x, updates = torch.randn(3, 4, 3), torch.rand(3, 4) < 0.7
    expected = outcome(model, x, backend="reference", updates=updates)
    with using(precision):
        got = outcome(model, x, backend="triton", updates=updates)
    if precision != "bf16":
        assert_same(expected, got)
        return
    error = max(float((expected[name] - got[name]).abs().max()) for name in ("y.output", "d.initial_state"))
    assert 1e-5 < error < 5e-2


def test_no_input_leaves_the_state_as_it_was() -> None:
    model = make("skipw", "gru", window=WINDOW)
    before = model(torch.randn(2, 2, 3, dtype=torch.float64), backend="triton")
    after = model(torch.randn(2, 0, 3, dtype=torch.float64), state=before.state, backend="triton")
    assert after.output.shape == (2, 0, 5)
    assert torch.equal(after.state.layers[0], before.state.layers[0])


def test_a_weight_changed_in_place_before_the_backward_pass_is_noticed() -> None:
    model = make("skipw", "gru", window=WINDOW)
    y = model(torch.randn(2, 2, 3, dtype=torch.float64), backend="triton")
    with torch.no_grad():
        model.cells[0].weight_ih.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.output.sum().backward()


def test_small_budgets_with_gates_of_their_own() -> None:
    """Calls of one gate each, whose states and gradients pass from one to the next."""
    model = make("skipw", "gru", 1, hidden=5, window=WINDOW, gate_budgets=(1, 2))
    x = torch.randn(3, 8, 3, dtype=torch.float64)
    expected = same(model, x, at=SWITCHING, lengths=torch.tensor([8, 0, 5]))
    rows = expected["d.gate.weight"].split(WINDOW)
    assert all(bool(part.any()) for part in rows[1:])
