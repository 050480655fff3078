"""What the core's tests share: cells, models whose gates open and close, and the comparison of two answers.

``outcome`` runs a model and names everything that came out, gradients included; ``assert_same`` compares two
label by label. A tolerance is relative to the largest value under the label, and absolute below 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

import skipw
from skipw.ops.state import parts

BACKENDS = ("reference", "compact", "native")
EVERY_CELL = ("reference", "compact")  # the backends that run any cell, with hooks, in any number type
PLAIN_CELLS = ("gru", "lstm", "fastgrnn")  # whose equations every backend on the CPU knows
OWN_CELLS = ("rnn", "pair", "triple")
SELECTORS = ("topk", "sample", "random", "first", "last", "first_above")
TIME_FEATURES = ("steps", "window", "since_update", "none")
WINDOW = 6
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
MARGIN = 1e-5


class PairCell(nn.Module):
    """A cell of one's own whose state is (h, c), and which is no LSTM."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.mix = nn.Linear(input_size + 2 * hidden_size, 2 * hidden_size)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        h, c = state
        a, b = self.mix(torch.cat([x, h, c], -1)).chunk(2, -1)
        c = 0.5 * c + torch.tanh(a)
        return torch.sigmoid(b) * c, c


class TripleCell(nn.Module):
    """The same with a third tensor, which counts."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.pair = PairCell(input_size, hidden_size)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        h, n, c = state
        h, c = self.pair(x, (h, c))
        return h / (1 + 0.1 * n), n + 1, c


CELLS: dict[str, Any] = {
    "gru": "gru",
    "lstm": "lstm",
    "fastgrnn": "fastgrnn",
    "rnn": nn.RNNCell,
    "pair": PairCell,
    "triple": TripleCell,
}
MODELS: dict[str, type[Any]] = {
    "skipw": skipw.SkipW,
    "thrrnn": skipw.ThrRNN,
    "skiprnn": skipw.SkipRNN,
    "dense": skipw.DenseRNN,
}


def make(
    model: str = "skipw",
    cell: str = "gru",
    layers: int = 1,
    *,
    hidden: int = 5,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    **settings: Any,
) -> Any:
    """A model on inputs of width 3 whose gates take every value."""
    torch.manual_seed(seed)
    if model == "skipw":
        settings.setdefault("window", WINDOW)
    made = MODELS[model](CELLS[cell], 3, hidden, layers, **settings).to(dtype)
    if model != "dense":
        nn.init.normal_(made.gate.weight, 0.0, 2.0 / hidden**0.5)
        nn.init.normal_(made.gate.bias, -1.0 if model in ("thrrnn", "skiprnn") else 0.0, 1.0)
    return made


def points(model: str) -> Any:
    """Operating points that change within windows and at their borders; None where the model has none."""
    point = skipw.OperatingPoint
    if model == "skipw":
        entries = [(0, point(4, 0.3)), (3, point(2, 0.5)), (9, point(5, 0.2)), (12, point(3, 0.0))]
        return skipw.Schedule([*entries, (15, point(None, 0.5))])
    if model == "thrrnn":
        return skipw.Schedule([(0, point(threshold=0.7)), (4, point(threshold=0.3))])
    return None


def floats_of_state(state: skipw.SkipState) -> dict[str, Tensor]:
    """Every floating-point tensor of a state that a gradient may pass, by name."""
    named = {
        f"layer{k}.{p}": part for k, layer in enumerate(state.layers) for p, part in enumerate(parts(layer))
    }
    for name in ("importance", "accumulated", "increment", "last_input"):
        if getattr(state, name) is not None:
            named[name] = getattr(state, name)
    return named


def values_of(y: skipw.SkipOutput) -> dict[str, Tensor]:
    """Everything that a call returned, by name, without gradients."""
    named = {f"y.{f.name}": getattr(y, f.name) for f in dataclasses.fields(y) if f.name != "state"}
    named |= {f"state.{name}": part for name, part in floats_of_state(y.state).items()}
    for field in dataclasses.fields(y.state):
        value = getattr(y.state, field.name)
        if isinstance(value, Tensor):
            named[f"state.{field.name}"] = value
    return {name: value.detach() for name, value in named.items()}


def loss_of(y: skipw.SkipOutput, seed: int = 11) -> Tensor:
    """A scalar that depends on everything differentiable, each entry with its own random weight."""
    generator = torch.Generator().manual_seed(seed)
    total = y.output.new_zeros(())
    for part in (y.output, y.input_cost, y.importance, *floats_of_state(y.state).values()):
        weight = torch.randn(part.shape, generator=generator, dtype=torch.float64).to(part.dtype)
        total = total + (weight * part).sum()
    return total


def gradients(loss: Tensor, leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The gradient of every leaf; zeros where the loss does not depend on it."""
    wanted = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
    found = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
    return {
        f"d.{name}": torch.zeros_like(leaf) if grad is None else grad
        for (name, leaf), grad in zip(wanted.items(), found, strict=True)
    }


def outcome(
    model: Any,
    x: Tensor,
    *,
    backend: str,
    seed: int = 3,
    leaves: Mapping[str, Tensor] | None = None,
    **call: Any,
) -> dict[str, Tensor]:
    """Run with gradients: values, and gradients of x, every weight and ``leaves``."""
    x = x.detach().requires_grad_()
    y = model(x, backend=backend, generator=torch.Generator().manual_seed(seed), **call)
    return values_of(y) | gradients(loss_of(y), {"x": x, **dict(model.named_parameters()), **(leaves or {})})


def inferred(model: Any, x: Tensor, *, backend: str, seed: int = 3, **call: Any) -> dict[str, Tensor]:
    """Run without gradients: values."""
    with torch.no_grad():
        return values_of(model(x, backend=backend, generator=torch.Generator().manual_seed(seed), **call))


def assert_same(
    expected: Mapping[str, Tensor], got: Mapping[str, Tensor], tolerance: float | None = None
) -> None:
    """Equal labels, shapes and dtypes; whole numbers and truth values equal, floats within the tolerance."""
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        other = got[name]
        assert value.shape == other.shape, (name, value.shape, other.shape)
        assert value.dtype == other.dtype, (name, value.dtype, other.dtype)
        if not value.is_floating_point() or value.numel() == 0:
            assert torch.equal(value, other), (name, value, other)
            continue
        allowed = TOLERANCE[value.dtype] if tolerance is None else tolerance
        scale = max(1.0, float(value.nan_to_num().abs().max()))
        assert torch.equal(value.isnan(), other.isnan()), (name, value, other)
        error = float((value - other).nan_to_num().abs().max())
        assert error <= allowed * scale, f"{name}: error {error:.2e}, allowed {allowed:.0e} x {scale:.3g}"


def first_mismatches(a: Tensor, b: Tensor) -> list[tuple[int, int]]:
    """(row, input) of each row's first difference between two Bool[B, T]."""
    rows = (a != b).any(1).nonzero().squeeze(1).tolist()
    return [(row, int((a[row] != b[row]).int().argmax())) for row in rows]


def margin_at(
    values: Mapping[str, Tensor], row: int, t: int, window: int | None, thresholds: list[float]
) -> float:
    """How far the decision at (row, t) is from another one: to a threshold, or to a rival in its window."""
    importance = values["y.importance"][row]
    mine = float(importance[t])
    distances = [abs(mine - threshold) for threshold in thresholds]
    if window is not None:
        start = t - t % window
        rivals = torch.cat([importance[start : start + window], values["state.importance"][row]])
        gaps = (rivals - mine).abs()
        distances += gaps[gaps > 0].tolist()
    return min(distances)
