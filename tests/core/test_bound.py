"""The bound, for any weights and inputs: in every window at most K inputs are processed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import skipw
from skipw.gate_inputs import GATE_INPUTS
from tests.core.cases import BACKENDS, CELLS, SELECTORS, TIME_FEATURES

WEIGHTS = ("normal", "zero", "huge", "nan gate", "nan cell", "saturated", "one nan slot")
INPUTS = ("normal", "nan", "some nan", "inf", "huge")


@dataclass(frozen=True)
class Setting:
    """One drawn model with its inputs and the way that it is run."""

    cell: str
    layers: int
    window: int
    select: str
    time_feature: str
    gate_inputs: tuple[str, ...]
    gate_windows: int
    gate_budgets: tuple[int, ...]
    weights: str
    inputs: str
    dtype: torch.dtype
    lengths: list[int]
    num_steps: int
    switches: list[tuple[int, int, float]]
    training: bool
    seed: int

    def fit_for(self, backend: str) -> Setting:
        """The native backend has GRU, LSTM and FastGRNN."""
        cell = {"rnn": "gru", "pair": "lstm"}.get(self.cell, self.cell)
        return replace(self, cell=cell) if backend == "native" else self

    def computable(self) -> Setting:
        """The same in float64 and without overflow: sums of huge terms depend on their order."""
        return replace(
            self,
            dtype=torch.float64,
            weights="normal" if self.weights == "huge" else self.weights,
            inputs="some nan" if self.inputs == "huge" else self.inputs,
        )

    def model(self) -> Any:
        torch.manual_seed(self.seed)
        made = skipw.SkipW(
            CELLS[self.cell],
            2,
            3,
            self.layers,
            window=self.window,
            select=self.select,
            time_feature=self.time_feature,
            time_scale=3.0,
            gate_inputs=self.gate_inputs,
            gate_windows=self.gate_windows,
            gate_budgets=self.gate_budgets,
        ).to(self.dtype)
        nn.init.normal_(made.gate.bias)
        nn.init.normal_(made.gate.weight)
        spoil(made, self.weights)
        return made

    def x(self) -> Tensor:
        x = torch.randn(len(self.lengths), self.num_steps, 2, dtype=self.dtype)
        match self.inputs:
            case "nan":
                x.fill_(float("nan"))
            case "some nan":
                x[torch.rand(x.shape) < 0.2] = float("nan")
            case "inf":
                x[torch.rand(x.shape) < 0.5] = float("inf")
            case "huge":
                x *= torch.finfo(self.dtype).max / 100
        return x

    def schedule(self) -> skipw.Schedule:
        return skipw.Schedule([(start, skipw.OperatingPoint(k, thr)) for start, k, thr in self.switches])

    def allowed(self) -> list[int]:
        """The largest K in force within each window."""
        budgets, current = [], 0
        starts = {start: k for start, k, _ in self.switches}
        for t in range(self.num_steps):
            current = starts.get(t, current)
            budgets.append(current)
        return [max(budgets[t : t + self.window]) for t in range(0, self.num_steps, self.window)]


@torch.no_grad()
def spoil(model: Any, weights: str) -> None:
    match weights:
        case "zero":
            for parameter in model.parameters():
                parameter.zero_()
        case "huge":
            for parameter in model.parameters():
                parameter *= 1e30
        case "nan gate":
            model.gate.weight.fill_(float("nan"))
        case "nan cell":
            next(model.cells.parameters())[0] = float("nan")
        case "saturated":
            model.gate.bias.fill_(40.0)
        case "one nan slot":
            model.gate.bias[-1] = float("nan")


@st.composite
def setting(draw: st.DrawFn) -> Setting:
    window, num_steps = draw(st.integers(1, 6)), draw(st.integers(1, 19))
    starts = sorted({0, *draw(st.lists(st.integers(1, 20), max_size=4))})
    thresholds = st.sampled_from([0.0, 0.3, 0.5, 1.0])
    time_feature = draw(st.sampled_from(TIME_FEATURES))
    seen = [name for name in GATE_INPUTS if name != time_feature]
    return Setting(
        cell=draw(st.sampled_from(["gru", "gru", "lstm", "fastgrnn", "rnn", "pair"])),
        layers=draw(st.integers(1, 2)),
        window=window,
        select=draw(st.sampled_from(SELECTORS)),
        time_feature=time_feature,
        gate_inputs=tuple(draw(st.lists(st.sampled_from(seen), unique=True))),
        gate_windows=draw(st.sampled_from([0, 0, 1, 3])),
        gate_budgets=tuple(sorted(draw(st.sets(st.integers(1, window - 1))))) if window > 1 else (),
        weights=draw(st.sampled_from(WEIGHTS)),
        inputs=draw(st.sampled_from(INPUTS)),
        dtype=draw(st.sampled_from([torch.float32, torch.float64])),
        lengths=draw(st.lists(st.integers(0, num_steps), min_size=1, max_size=3)),
        num_steps=num_steps,
        switches=[(start, draw(st.integers(0, window)), draw(thresholds)) for start in starts],
        training=draw(st.booleans()),
        seed=draw(st.integers(0, 99)),
    )


def per_window(updates: Tensor, window: int) -> Tensor:
    """Inputs processed in each aligned window, Long[B, W]."""
    return torch.stack([part.sum(1) for part in updates.split(window, dim=1)], 1)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=120)
@given(drawn=setting())
def test_at_most_k_of_every_window(backend: str, drawn: Setting) -> None:
    drawn = drawn.fit_for(backend)
    model, x = drawn.model(), drawn.x()
    with torch.set_grad_enabled(drawn.training):
        y = model(x, at=drawn.schedule(), lengths=drawn.lengths, backend=backend)
    assert bool((per_window(y.updates, drawn.window) <= torch.tensor(drawn.allowed())).all())
    assert not y.updates[torch.arange(drawn.num_steps) >= torch.tensor(drawn.lengths).unsqueeze(1)].any()
    assert torch.equal(y.input_cost.detach(), y.updates.sum(1).to(drawn.dtype))
    assert not (y.updates & y.importance.isnan()).any(), "a NaN importance was processed"


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=60)
@given(drawn=setting())
def test_the_stream_keeps_the_bound_and_equals_the_batch(backend: str, drawn: Setting) -> None:
    """Input by input with the same generator."""
    drawn = drawn.fit_for(backend).computable()
    model, x, lengths = drawn.model(), drawn.x(), torch.tensor(drawn.lengths)
    points = {start: skipw.OperatingPoint(k, thr) for start, k, thr in drawn.switches}
    generators = [torch.Generator().manual_seed(7) for _ in range(2)]
    with torch.no_grad():
        whole = model(x, at=drawn.schedule(), lengths=lengths, backend=backend, generator=generators[0])
        state, at, updates = None, points[0], []
        for t in range(drawn.num_steps):
            at = points.get(t, at)
            left = (lengths - t).clamp(0, 1)
            y = model(
                x[:, t : t + 1], at=at, lengths=left, state=state, backend=backend, generator=generators[1]
            )
            state = y.state
            updates.append(y.updates)
    streamed = torch.cat(updates, 1)
    assert bool((per_window(streamed, drawn.window) <= torch.tensor(drawn.allowed())).all())
    assert torch.equal(streamed, whole.updates)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=60)
@given(drawn=setting(), budget=st.integers(0, 6))
def test_threshold_zero_processes_exactly_k_of_a_complete_window(
    backend: str, drawn: Setting, budget: int
) -> None:
    """Appendix D.4.2, for every selector, as long as importance is a number."""
    weights = drawn.weights if drawn.weights in ("normal", "zero", "saturated") else "normal"
    sound = replace(drawn.fit_for(backend), inputs="normal", weights=weights)
    model, x, budget = sound.model(), sound.x(), min(budget, sound.window)
    y = model(x, at=skipw.OperatingPoint(budget, 0.0), backend=backend)
    counts = per_window(y.updates, sound.window)
    complete = sound.num_steps // sound.window
    assert bool((counts[:, :complete] == budget).all())
    assert bool((counts <= budget).all())


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "reference"])
@settings(max_examples=40)
@given(drawn=setting())
def test_backends_agree_on_every_decision(backend: str, drawn: Setting) -> None:
    drawn = drawn.fit_for(backend).computable()
    model, x = drawn.model(), drawn.x()
    answers = []
    for name in ("reference", backend):
        with torch.set_grad_enabled(drawn.training):
            y = model(
                x,
                at=drawn.schedule(),
                lengths=drawn.lengths,
                backend=name,
                generator=torch.Generator().manual_seed(2),
            )
        answers.append(y)
    expected, got = answers
    assert torch.equal(expected.updates, got.updates)
    assert torch.equal(expected.output.isnan(), got.output.isnan())
    assert (expected.output - got.output).nan_to_num().abs().max() < 1e-12
    assert (expected.importance - got.importance).nan_to_num().abs().max() < 1e-12
