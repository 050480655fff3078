"""The bound over any L consecutive inputs: never more than K of them, and the best choice that allows that."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import skipw
from skipw.errors import ParamsError, ShapeError
from skipw.models.architecture import Architecture
from skipw.ops.any_window import select_k_of_any
from skipw.params import experiment_settings, load
from skipw.runtime.selection import ranking_keys, select_slots_of_any
from tests.core.cases import BACKENDS, SELECTORS, assert_same, inferred, make, outcome, points
from tests.core.test_bound import Setting, setting
from tests.core.test_chunks import in_chunks, joined

VALUES = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0, float("nan")]), st.floats(0, 1, width=32))


def exceeds(updates: Tensor, budgets: list[int], window: int) -> bool:
    """Whether some L inputs hold more than the K in force at the last of them that was processed."""
    return any(
        bool(row[t]) and int(row[max(0, t - window + 1) : t + 1].sum()) > budgets[t]
        for row in updates
        for t in range(updates.shape[1])
    )


def budgets_of(drawn: Setting) -> list[int]:
    """K in force at each input."""
    starts = {start: k for start, k, _ in drawn.switches}
    budgets, current = [], 0
    for t in range(drawn.num_steps):
        current = starts.get(t, current)
        budgets.append(current)
    return budgets


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=120)
@given(drawn=setting(), cuts=st.lists(st.integers(1, 18), max_size=3))
def test_at_most_k_of_any_l_inputs(backend: str, drawn: Setting, cuts: list[int]) -> None:
    """Whatever weights, inputs, lengths and switches; in one call, in chunks and input by input."""
    drawn = drawn.fit_for(backend).computable()
    model, x = drawn.model(), drawn.x()
    model.bound = "any"
    call: dict[str, Any] = {
        "lengths": torch.tensor(drawn.lengths),
        "at": drawn.schedule(),
        "backend": backend,
    }
    with torch.set_grad_enabled(drawn.training):
        whole = joined(in_chunks(model, x, [drawn.num_steps], **call))
        budgets = budgets_of(drawn)
        assert not exceeds(whole["y.updates"], budgets, drawn.window)
        for t in range(drawn.num_steps):  # hence never more than the largest K within
            inside = whole["y.updates"][:, t : t + drawn.window].sum(1)
            assert int(inside.max()) <= max(budgets[t : t + drawn.window])
        ends = sorted({min(cut, drawn.num_steps) for cut in cuts} | {drawn.num_steps})
        for chunks in (ends, list(range(1, drawn.num_steps + 1))):
            assert_same(whole, joined(in_chunks(model, x, chunks, **call)))


@pytest.mark.parametrize("select", SELECTORS)
@pytest.mark.parametrize(("cell", "layers"), [("gru", 1), ("lstm", 2), ("fastgrnn", 1), ("pair", 1)])
@pytest.mark.parametrize("backend", ["compact", "native"])
def test_each_is_the_reference_with_gradients(backend: str, cell: str, layers: int, select: str) -> None:
    model = make("skipw", cell, layers, select=select, bound="any", gate_state_gradient=0.1)
    x = torch.randn(4, 27, 3, dtype=torch.float64)
    call: dict[str, Any] = {"at": points("skipw"), "lengths": [27, 0, 8, 17]}
    expected = outcome(model, x, backend="reference", **call)
    assert_same(expected, outcome(model, x, backend=backend, **call))
    assert_same(inferred(model, x, backend="reference", **call), inferred(model, x, backend=backend, **call))
    assert expected["d.gate.weight"].abs().max() > 0
    forced = {"updates": torch.rand(4, 27) < 0.5}
    before = model(x, **forced, backend=backend).state.detach()
    again = [outcome(model, x, backend=name, state=before, **call) for name in ("reference", backend)]
    assert_same(*again)
    assert torch.equal(before.recent, forced["updates"][:, -5:])


def late_then_early(bound: str) -> Any:
    """L = 6; even windows want their last three slots, odd ones their first three."""
    model = skipw.SkipW("gru", 3, 5, window=6, time_feature="window", time_scale=1.0, bound=bound)
    late = torch.tensor([-1.0, -1.0, -1.0, 1.0, 1.0, 1.0])
    with torch.no_grad():
        model.gate.weight.zero_()
        model.gate.weight[:, -1] = -2 * late
        model.gate.bias.copy_(late)
    return model


@pytest.mark.parametrize("backend", BACKENDS)
def test_aligned_windows_let_twice_the_budget_through(backend: str) -> None:
    x = torch.randn(1, 12, 3)

    def processed(bound: str, threshold: float) -> list[int]:
        at = skipw.OperatingPoint(3, threshold)
        updates = late_then_early(bound)(x, at=at, backend=backend).updates[0]
        return updates.nonzero().flatten().tolist()

    assert processed("aligned", 0.5) == [3, 4, 5, 6, 7, 8], "6 of 6 inputs at K = 3"
    assert processed("any", 0.5) == [3, 4, 5], "what is refused is skipped"
    assert processed("any", 0.0) == [3, 4, 5], "and no other takes its place"


@given(
    window=st.lists(VALUES, min_size=1, max_size=5),
    past=st.lists(st.booleans(), min_size=4, max_size=4),
    data=st.data(),
)
@settings(max_examples=200)
def test_the_choice_is_the_most_important_one_that_is_allowed(
    window: list[float], past: list[bool], data: st.DataObject
) -> None:
    """Against all subsets of what the aligned bound selects; the stream's selection is the same."""
    size = len(window)
    recent = past[: size - 1]
    budget, offset = data.draw(st.integers(0, size)), data.draw(st.integers(0, size - 1))
    row = torch.tensor([window])
    chosen = select_k_of_any(
        row, budget, torch.tensor([recent], dtype=torch.bool), offset=torch.tensor([offset])
    )
    slots = chosen[0].nonzero().flatten().tolist()

    def allowed(these: tuple[int, ...]) -> bool:
        line = [*recent, *(slot in these for slot in range(offset, size))]
        ends = [size - 1 + slot - offset for slot in these]
        return all(sum(line[end - size + 1 : end + 1]) <= budget for end in ends)

    def worth(these: tuple[int, ...]) -> tuple[int, float]:
        """A NaN counts as nothing but a slot."""
        return len(these), sum(window[slot] for slot in these if window[slot] == window[slot])

    used = sum(recent[len(recent) - offset :])
    order = sorted(range(offset, size), key=lambda slot: (window[slot] != window[slot], -window[slot], slot))
    aligned = sorted(order[: max(0, budget - used)])
    sets = [
        these
        for count in range(len(aligned) + 1)
        for these in itertools.combinations(aligned, count)
        if allowed(these)
    ]
    assert tuple(slots) in sets
    most = max(len(these) for these in sets)
    assert len(slots) == most, "as many as may be"
    best = max(worth(these)[1] for these in sets)
    assert worth(tuple(slots))[1] == pytest.approx(best, abs=1e-6)
    keys = ranking_keys(row[0].numpy(), "topk", None, 0.25)
    streamed = select_slots_of_any(row[0].tolist(), keys, budget, recent, 0.25, offset)
    assert list(streamed) == [slot for slot in slots if window[slot] >= 0.25]


def test_where_nothing_is_refused_it_is_the_aligned_window() -> None:
    model = make("skipw", "gru")
    x = torch.randn(3, 40, 3, dtype=torch.float64)
    aligned = inferred(model, x, backend="compact", at=skipw.OperatingPoint(None, 0.4))
    model.bound = "any"
    free = inferred(model, x, backend="compact", at=skipw.OperatingPoint(None, 0.4))
    free.pop("state.recent")
    assert_same(aligned, free)
    assert 0 < aligned["y.inputs_processed"].mean() < 1


def test_off_by_default_and_known_to_the_saved_model() -> None:
    model = make("skipw")
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    before = model(x).state
    assert model.bound == "aligned"
    assert before.recent is None
    task = Architecture("skipw", 3, 2, "classification", window=5).build()
    assert "bound" not in task.architecture.to_json()
    task.set_bound("any")
    assert task.rnn.bound == "any"
    assert Architecture.from_json(task.architecture.to_json()).build().rnn.bound == "any"
    with pytest.raises(ParamsError, match="bound must be one of aligned, any"):
        task.set_bound("all")
    with pytest.raises(ShapeError, match="only skipw has a bound"):
        Architecture("dense", 3, 2, "classification").build().set_bound("any")
    model.bound = "any"
    with pytest.raises(ShapeError, match="recent inputs True, got False"):
        model(x, state=before)


def test_what_is_refused() -> None:
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    with pytest.raises(ShapeError, match="bound must be one of aligned, any, got 'every'"):
        make("skipw", bound="every")
    with pytest.raises(ShapeError, match="selection_gradient='zero_sum' knows the bound of aligned windows"):
        make("skipw", bound="any", selection_gradient="zero_sum")(x)


def test_settings_take_it(tmp_path: Any) -> None:
    text = """
train:
  experiments:
    har-skipw: {dataset: har, model: skipw, window: 4, bound: any, start: data/prepared/har%s}
"""
    (tmp_path / "good.yaml").write_text(text % "")
    assert experiment_settings(load(tmp_path / "good.yaml"), "har-skipw").bound == "any"
    (tmp_path / "bad.yaml").write_text(text % ", selection_gradient: soft")
    with pytest.raises(ParamsError, match="soft knows the bound of aligned windows only"):
        load(tmp_path / "bad.yaml")
