"""What the paper leaves open, as docs/paper_readings.md decides it: windows, switches, NaN, padding."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import skipw
from skipw import OperatingPoint, Schedule
from tests.core.cases import BACKENDS, MODELS, SELECTORS, floats_of_state, gradients, loss_of, make, values_of

NAN = float("nan")
both = pytest.mark.parametrize("backend", BACKENDS)


def with_importance(values: list[float], **settings: Any) -> Any:
    """A SkipW whose slots always have these importances."""
    model = make("skipw", window=len(values), **settings)
    nn.init.zeros_(model.gate.weight)
    with torch.no_grad():
        model.gate.bias.copy_(torch.tensor([math.log(v / (1 - v)) for v in values]))
    return model


def processed(model: Any, num_steps: int, at: Any, backend: str, **call: Any) -> list[int]:
    """Indices of the inputs that one sequence has processed."""
    y = model(torch.randn(1, num_steps, 3, dtype=torch.float64), at=at, backend=backend, **call)
    return y.updates[0].nonzero().squeeze(1).tolist()


SLOTS = [0.9, 0.1, 0.8, 0.7, 0.95, 0.6]


@both
@pytest.mark.parametrize(
    ("switches", "expected"),
    [
        ([(0, 3, 0.5)], [0, 2, 4]),
        ([(0, 6, 0.75)], [0, 2, 4]),
        ([(0, 3, 0.85)], [0, 4]),
        ([(0, 3, 0.5), (1, 2, 0.5)], [0, 4]),  # 1 used, 1 left: the best to come
        ([(0, 3, 0.5), (1, 4, 0.5)], [0, 2, 3, 4]),
        ([(0, 3, 0.5), (1, 4, 0.75)], [0, 2, 4]),  # 3 left, of those >= 0.75
        ([(0, 3, 0.5), (3, 0, 0.5)], [0, 2]),  # more used than K: none
        ([(0, 3, 0.5), (3, 2, 0.0)], [0, 2]),
        ([(0, 0, 0.5), (3, 2, 0.0)], [3, 4]),
        ([(0, 1, 0.5), (5, 6, 0.0)], [4, 5]),
        ([(0, 2, 0.5), (1, 1, 0.5), (2, 2, 0.5)], [0, 4]),
        ([(0, 2, 0.99), (2, 2, 0.5)], [2, 4]),  # nothing used before: both are left
    ],
)
def test_a_switch_in_the_middle_of_a_window(
    switches: list[tuple[int, int, float]], expected: list[int], backend: str
) -> None:
    schedule = Schedule([(start, OperatingPoint(k, thr)) for start, k, thr in switches])
    assert processed(with_importance(SLOTS), 6, schedule, backend) == expected


@both
def test_a_row_that_ended_before_a_switch_follows_it_when_it_goes_on(backend: str) -> None:
    """The second chunk runs at K = 1: a row that had used 2 gets none, also if it never saw the switch."""
    model = with_importance(SLOTS)
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    schedule = Schedule([(0, OperatingPoint(3)), (5, OperatingPoint(1))])
    first = model(x, at=schedule, lengths=[3, 6], backend=backend)
    assert first.updates.int().tolist() == [[1, 0, 1, 0, 0, 0], [1, 0, 1, 0, 1, 0]]
    second = model(x[:, 3:], at=OperatingPoint(1), lengths=[3, 3], state=first.state, backend=backend)
    assert second.updates[0].tolist() == [False, False, False]


@both
def test_forced_updates_in_the_middle_count_against_the_budget(backend: str) -> None:
    model = with_importance(SLOTS)
    x = torch.randn(1, 12, 3, dtype=torch.float64)
    first = model(x[:, :1], at=OperatingPoint(3), backend=backend)
    forced = model(x[:, 1:3], updates=torch.ones(1, 2, dtype=torch.bool), state=first.state, backend=backend)
    assert forced.state.used.tolist() == [3]
    last = model(x[:, 3:], at=OperatingPoint(3), state=forced.state, backend=backend)
    assert last.updates[0].int().tolist() == [0, 0, 0, 1, 0, 1, 0, 1, 0]


@both
def test_a_window_that_opened_under_forced_updates_has_importance_zero(backend: str) -> None:
    model = with_importance(SLOTS)
    x = torch.randn(1, 12, 3, dtype=torch.float64)
    forced = model(x[:, :2], updates=torch.tensor([[True, False]]), backend=backend)
    for threshold, expected in ((0.5, []), (0.0, [2, 3])):  # ties at 0: the earliest, up to K - used
        last = model(x[:, 2:6], at=OperatingPoint(3, threshold), state=forced.state, backend=backend)
        assert (last.updates[0].nonzero().squeeze(1) + 2).tolist() == expected


@both
@pytest.mark.parametrize(
    ("select", "expected"),
    [("topk", [0, 4]), ("first", [0]), ("last", [4, 5]), ("first_above", [0, 2])],
)
def test_selectors(select: str, expected: list[int], backend: str) -> None:
    model = with_importance(SLOTS, select=select)
    assert processed(model, 6, OperatingPoint(2, 0.5), backend) == expected


@both
def test_the_first_window_of_skipw_is_gated_like_any_other(backend: str) -> None:
    model = make("skipw")
    nn.init.constant_(model.gate.bias, -30.0)
    y = model(torch.randn(2, 13, 3, dtype=torch.float64), backend=backend)
    assert not y.updates.any()
    assert torch.equal(y.output, model.initial_state[-1].expand(2, 13, -1))


@both
@pytest.mark.parametrize("name", ["thrrnn", "skiprnn"])
def test_the_first_input_of_thrrnn_and_skiprnn_is_always_processed(name: str, backend: str) -> None:
    model = make(name)
    nn.init.constant_(model.gate.bias, -30.0)
    for at in [None, OperatingPoint(threshold=1.0)] if name == "thrrnn" else [None]:
        y = model(torch.randn(2, 13, 3, dtype=torch.float64), at=at, backend=backend)
        assert y.updates.sum(1).tolist() == [1, 1]
        assert y.updates[:, 0].all()
        assert y.importance[:, 0].tolist() == [1.0, 1.0]


@both
@pytest.mark.parametrize("initial_state", ["trainable", "zeros"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_budget_zero_gives_the_initial_state(cell: str, initial_state: str, backend: str) -> None:
    model = make("skipw", cell, 2, initial_state=initial_state)
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    y = model(x, at=OperatingPoint(0, 0.0), backend=backend)
    initial = torch.zeros(1, 5) if initial_state == "zeros" else model.initial_state[-1]
    assert not y.updates.any()
    assert torch.equal(y.output, initial.to(x).expand(2, 9, -1))
    assert y.inputs_processed.tolist() == [0.0, 0.0]
    last = model(x, at=OperatingPoint(0, 0.0), outputs="last", backend=backend)
    assert torch.equal(last.output, y.output[:, -1])


@both
def test_absent_slots_of_a_last_window_still_use_up_the_budget(backend: str) -> None:
    """The gate cannot know that the sequence ends after two inputs: slots 4 and 0 win, slot 4 never comes."""
    assert processed(with_importance(SLOTS), 2, OperatingPoint(2), backend) == [0]


@both
def test_since_update_is_t_before_any_update_and_the_distance_after(backend: str) -> None:
    model = make("skipw", window=2, time_feature="since_update", time_scale=1.0)
    with torch.no_grad():
        model.gate.weight.zero_()
        model.gate.bias.zero_()
        model.gate.weight[:, -1] = 0.1  # importance = σ(0.1 · feature)
    y = model(torch.randn(1, 10, 3, dtype=torch.float64), at=OperatingPoint(1, 0.59), backend=backend)
    feature = torch.logit(y.importance[0, ::2]) * 10
    # σ(0.4) = 0.599 is the first to reach 0.59, at t = 4; from then on t - 4.
    assert y.updates[0].nonzero().squeeze(1).tolist() == [4, 8]
    torch.testing.assert_close(feature, torch.tensor([0, 2, 4, 2, 4]).double(), rtol=0, atol=1e-9)


@both
@pytest.mark.parametrize("name", MODELS)
def test_padding_changes_nothing(name: str, backend: str) -> None:
    """Beyond a length: update False, importance 0, output repeats, no gradient; NaN there harms nobody."""
    model = make(name, "lstm")
    x = torch.randn(3, 8, 3, dtype=torch.float64)
    lengths = torch.tensor([8, 3, 0])
    beyond = torch.arange(8) >= lengths.unsqueeze(1)
    answers = []
    for filling in (0.0, NAN, math.inf):
        padded = x.masked_fill(beyond.unsqueeze(2), filling).requires_grad_()
        y = model(padded, lengths=lengths, backend=backend)
        assert not y.updates[beyond].any()
        assert not y.importance[beyond].any()
        assert torch.equal(y.output[1, 3:], y.output[1, 2].expand(5, -1))
        grads = gradients(loss_of(y), {"x": padded, **dict(model.named_parameters())})
        assert not grads["d.x"][beyond].any()
        answers.append(values_of(y) | grads)
    for other in answers[1:]:
        assert all(torch.equal(part, other[label]) for label, part in answers[0].items())
    share = answers[0]["y.updates"].sum(1).double() / lengths.clamp(min=1)
    torch.testing.assert_close(answers[0]["y.inputs_processed"], share, rtol=0, atol=1e-15)


@both
@pytest.mark.parametrize(("name", "layers"), [("skipw", 1), ("skipw", 2), ("thrrnn", 2)])
@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_a_skipped_nan_changes_nothing(cell: str, name: str, layers: int, backend: str) -> None:
    model = make(name, cell, layers)
    x = torch.randn(4, 17, 3, dtype=torch.float64)
    at = OperatingPoint(3, 0.4) if name == "skipw" else OperatingPoint(threshold=0.8)
    clean = model(x, at=at, backend=backend)
    spoilt = x.masked_fill(~clean.updates.unsqueeze(2), NAN)
    spoilt[..., 1] = x[..., 1]  # one NaN among the features is enough
    for filling in (spoilt, x.masked_fill(~clean.updates.unsqueeze(2), math.inf)):
        filling = filling.requires_grad_()
        y = model(filling, at=at, backend=backend)
        for label, part in values_of(clean).items():
            assert torch.equal(part, values_of(y)[label]), label
        grads = gradients(loss_of(y), {"x": filling, **dict(model.named_parameters())})
        assert all(bool(grad.isfinite().all()) for grad in grads.values())
        assert not grads["d.x"][~clean.updates].any()


@both
def test_a_skipped_overflow_changes_nothing(backend: str) -> None:
    """Finite inputs so large that the candidate is NaN: as long as they are skipped, values stay numbers."""
    model = make("thrrnn", dtype=torch.float32)
    nn.init.constant_(model.gate.bias, -3.0)
    x = torch.randn(3, 9, 3)
    clean = model(x, backend=backend)
    spoilt = x.masked_fill(~clean.updates.unsqueeze(2), 3e38)
    y = model(spoilt, backend=backend)
    for label, part in values_of(clean).items():
        assert torch.equal(part, values_of(y)[label]), label


@both
@pytest.mark.parametrize("select", SELECTORS)
def test_a_processed_nan_stops_the_sequence_and_spares_its_neighbours(select: str, backend: str) -> None:
    model = make("skipw", select=select, window=3)
    x = torch.randn(2, 12, 3, dtype=torch.float64)
    x[0] = NAN
    y = model(x, at=OperatingPoint(1, 0.0), backend=backend, generator=torch.Generator().manual_seed(0))
    assert y.updates[0, 3:].sum() == 0, "a NaN importance was processed"
    assert y.updates[1].view(4, 3).sum(1).tolist() == [1, 1, 1, 1]
    assert y.output[1].isfinite().all()


@both
def test_lstm_gates_are_driven_by_c_and_gru_gates_by_h(backend: str) -> None:
    for cell in ("gru", "lstm"):
        model = make("skipw", cell, 2, window=3, time_feature="none")
        first = model(torch.randn(2, 3, 3, dtype=torch.float64), backend=backend)
        second = model(torch.randn(2, 3, 3, dtype=torch.float64), state=first.state, backend=backend)
        top = first.state.layers[-1]
        view = top if isinstance(top, Tensor) else top[1]
        expected = torch.sigmoid(view @ model.gate.weight.T + model.gate.bias)
        torch.testing.assert_close(second.importance, expected, rtol=0, atol=1e-14)


def test_the_importance_of_slots_that_have_not_come_is_in_the_state() -> None:
    model = with_importance(SLOTS)
    y = model(torch.randn(1, 8, 3, dtype=torch.float64))
    torch.testing.assert_close(y.state.importance, torch.tensor([SLOTS]).double(), rtol=0, atol=1e-7)
    assert floats_of_state(y.state).keys() == {"layer0.0", "importance"}
    assert isinstance(y, skipw.SkipOutput)
