"""Each equation against values computed by hand and against the same equation in plain Python."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from skipw import equations
from skipw.errors import BudgetError
from tests.core.cases import SELECTORS

NAN, INF = float("nan"), float("inf")
# Few distinct values, so that ties are common; NaN, both ends, and a value next to another.
VALUES = st.sampled_from([0.0, 0.25, 0.5, 0.75, 0.75000006, 1.0, NAN])
WINDOWS = st.lists(VALUES, min_size=1, max_size=8)


def t64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


# Eqs. 1 and 10: the comparison --------------------------------------------------------------------


def test_binarise_includes_the_threshold_and_never_nan() -> None:
    values = t64(0.0, 0.49, 0.5, 0.51, 1.0, NAN)
    assert equations.binarise(values, 0.5).tolist() == [False, False, True, True, True, False]
    assert equations.binarise(values, 0.0).tolist() == [True, True, True, True, True, False]
    assert equations.binarise(values, 1.0).tolist() == [False, False, False, False, True, False]


def test_straight_through_is_the_mask_with_the_gradient_of_the_importance() -> None:
    importance = t64(0.2, 0.9).requires_grad_()
    update = equations.straight_through(torch.tensor([False, True]), importance)
    assert update.tolist() == [0.0, 1.0]
    assert torch.autograd.grad(update @ t64(3.0, -5.0), importance)[0].tolist() == [3.0, -5.0]


# Eqs. 2 and 3: ThrRNN and SkipRNN ----------------------------------------------------------------


def test_gate_probability_by_hand() -> None:
    state, weight, bias = t64(1.0, -2.0, 0.5).view(1, 3), t64(0.3, 0.1, -0.4).view(1, 3), t64(0.7)
    expected = 1 / (1 + math.exp(-(0.3 - 0.2 - 0.2 + 0.7)))
    assert equations.gate_probability(state, weight, bias).tolist() == [pytest.approx(expected, abs=1e-15)]


def test_accumulate_by_hand() -> None:
    # Row 0 was processed: both become the probability. Rows 1 and 2: the sum, at most 1; carried over.
    accumulated, increment = equations.accumulate(
        t64(1.0, 0.0, 0.0), t64(0.2, 0.9, 0.9), t64(1.0, 0.3, 0.8), t64(0.7, 0.25, 0.4)
    )
    torch.testing.assert_close(accumulated, t64(0.2, 0.55, 1.0), rtol=0, atol=1e-15)
    torch.testing.assert_close(increment, t64(0.2, 0.25, 0.4), rtol=0, atol=1e-15)


@given(st.floats(0, 1, width=32), st.floats(0, 1, width=32))
def test_the_paper_s_minimum_and_ours_are_equal_and_ours_reaches_one_exactly(a: float, d: float) -> None:
    zero, one = torch.zeros(1), torch.ones(1)
    got, _ = equations.accumulate(zero, one / 3, torch.tensor([a]), torch.tensor([d]))
    assert float(got) == pytest.approx(a + min(d, 1 - a), abs=2e-7)
    assert float(got) == 1.0 or a + d < 1.0


def test_a_skipped_nan_stays_out_of_the_accumulated_value() -> None:
    got = equations.accumulate(t64(0.0), t64(NAN), t64(0.25), t64(0.5))
    assert [float(part) for part in got] == [0.75, 0.5]


def test_accumulate_has_the_formula_s_gradient() -> None:
    inputs = [t64(1.0, 0.0, 0.0), t64(0.2, 0.6, 0.9), t64(0.9, 0.3, 0.8), t64(0.7, 0.25, 0.4)]
    leaves = [part.clone().requires_grad_() for part in inputs]
    u, p, a, d = [part.clone().requires_grad_() for part in inputs]
    formula = (u * p + (1 - u) * torch.minimum(a + d, torch.ones(())), u * p + (1 - u) * d)
    weights = torch.randn(2, 3, dtype=torch.float64)
    got = torch.autograd.grad((torch.stack(equations.accumulate(*leaves)) * weights).sum(), leaves)
    expected = torch.autograd.grad((torch.stack(formula) * weights).sum(), (u, p, a, d))
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-15)


# Eqs. 4 and 5: copy or update ---------------------------------------------------------------------


def test_copy_or_update_selects_rather_than_multiplies() -> None:
    update, candidate = t64(1.0, 0.0), torch.tensor([[1.0, 2.0], [NAN, INF]], dtype=torch.float64)
    state = torch.tensor([[NAN, 5.0], [3.0, 4.0]], dtype=torch.float64)
    assert equations.copy_or_update(update, candidate, state).tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_copy_or_update_has_the_formula_s_gradient() -> None:
    tensors = [t64(1.0, 0.0), torch.randn(2, 3).double(), torch.randn(2, 3).double()]
    mine = [part.clone().requires_grad_() for part in tensors]
    u, c, s = [part.clone().requires_grad_() for part in tensors]
    weight = torch.randn(2, 3).double()
    got = torch.autograd.grad((equations.copy_or_update(*mine) * weight).sum(), mine)
    column = u.unsqueeze(-1)
    expected = torch.autograd.grad(((column * c + (1 - column) * s) * weight).sum(), (u, c, s))
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-15)


# Eqs. 6 to 8: the importance of a window ----------------------------------------------------------


def test_window_importance_by_hand() -> None:
    weight = torch.tensor([[0.5, -1.0, 2.0], [0.0, 0.25, -0.5]], dtype=torch.float64)
    got = equations.window_importance(t64(1.0, 3.0).view(1, 2), t64(0.2), weight, t64(0.1, -0.3))
    logits = (0.5 - 3.0 + 0.4 + 0.1, 0.75 - 0.1 - 0.3)
    assert got.tolist() == [[pytest.approx(1 / (1 + math.exp(-z)), abs=1e-15) for z in logits]]


def test_window_importance_without_time_feature() -> None:
    weight = torch.tensor([[0.5, -1.0]], dtype=torch.float64)
    got = equations.window_importance(t64(1.0, 3.0).view(1, 2), None, weight, t64(0.1))
    assert float(got) == pytest.approx(1 / (1 + math.exp(2.4)), abs=1e-15)


def test_window_offset() -> None:
    steps = torch.tensor([0, 1, 6, 7, 8, 783])
    assert equations.window_offset(steps, 7).tolist() == [0, 1, 6, 0, 1, 6]


# Eq. 9: the selection -----------------------------------------------------------------------------


def plain_selection(
    importance: list[float], k: int, select: str, noise: list[float], threshold: float, offset: int
) -> set[int]:
    """Eq. 9 in plain Python: the best slot left, again and again; the earliest of equals; NaN last."""
    ranks = {
        "topk": lambda i: importance[i],
        "sample": lambda i: (math.log(importance[i]) if importance[i] > 0 else -1e300) + noise[i],
        "random": lambda i: noise[i],
        "first": lambda i: -i,
        "last": lambda i: i,
        "first_above": lambda i: -i if importance[i] >= threshold else -1e300,
    }
    left = list(range(offset, len(importance)))
    chosen: set[int] = set()
    while left and len(chosen) < k:
        real = [i for i in left if not math.isnan(importance[i])]
        best = left[0] if not real else real[0]
        for i in real:
            if ranks[select](i) > ranks[select](best):
                best = i
        chosen.add(best)
        left.remove(best)
    return chosen


@settings(max_examples=400, deadline=None)
@given(WINDOWS, st.data())
def test_select_k_is_the_plain_selection(values: list[float], data: st.DataObject) -> None:
    length = len(values)
    k, offset = data.draw(st.integers(0, length)), data.draw(st.integers(0, length - 1))
    select = data.draw(st.sampled_from(SELECTORS))
    threshold = data.draw(st.sampled_from([0.0, 0.5, 0.75, 1.0]))
    noise = data.draw(st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.9]), min_size=length, max_size=length))
    importance = torch.tensor([values], dtype=torch.float64)
    drawn = torch.tensor([noise], dtype=torch.float64)
    expected = plain_selection(values, k, select, noise, threshold, offset)
    for limit in (k, torch.tensor([k])):
        got = equations.select_k(
            importance, limit, select=select, noise=drawn, threshold=threshold, offset=torch.tensor([offset])
        )
        assert set(got[0].nonzero().squeeze(1).tolist()) == expected
        assert int(got.sum()) == min(k, length - offset)


@settings(max_examples=100, deadline=None)
@given(WINDOWS, st.sampled_from(SELECTORS))
def test_selections_are_nested_in_k(values: list[float], select: str) -> None:
    importance = torch.tensor([values])
    noise = torch.rand(1, len(values), generator=torch.Generator().manual_seed(len(values)))
    before = torch.zeros(1, len(values), dtype=torch.bool)
    for k in range(len(values) + 1):
        mask = equations.select_k(importance, k, select=select, noise=noise, threshold=0.5)
        assert int(mask.sum()) == k
        assert bool((mask | ~before).all()), "a larger k gave a slot up"
        before = mask


def test_ties_go_to_the_earliest() -> None:
    saturated = torch.sigmoid(torch.tensor([[17.0, 40.0, 18.0, 99.0]]))
    assert saturated.unique().tolist() == [1.0]  # float32: all four are 1.0
    assert equations.select_k(saturated, 2).tolist() == [[True, True, False, False]]
    assert equations.select_k(torch.zeros(1, 4), 3).tolist() == [[True, True, True, False]]


def test_nan_ranks_last_and_is_not_processed() -> None:
    importance = torch.tensor([[NAN, 0.0, NAN, 0.2]])
    chosen = equations.select_k(importance, 3)
    assert chosen.tolist() == [[True, True, False, True]]
    assert (chosen & equations.binarise(importance, 0.0)).tolist() == [[False, True, False, True]]


def test_rows_have_their_own_k_and_offset() -> None:
    importance = torch.tensor([[0.1, 0.9, 0.5]]).expand(3, -1)
    got = equations.select_k(importance, torch.tensor([0, 1, 2]), offset=torch.tensor([0, 0, 2]))
    assert got.tolist() == [[False, False, False], [False, True, False], [False, False, True]]


@pytest.mark.parametrize("k", [-1, 5])
def test_k_outside_the_window_is_refused(k: int) -> None:
    with pytest.raises(BudgetError, match=rf"k must lie in \[0, 4\] for a window of 4 inputs, got {k}"):
        equations.select_k(torch.rand(2, 4), k)


def test_unknown_selector_and_missing_noise_are_refused() -> None:
    with pytest.raises(BudgetError, match="select must be one of topk, sample"):
        equations.select_k(torch.rand(2, 4), 1, select="best")
    for select in ("sample", "random"):
        with pytest.raises(BudgetError, match="needs noise"):
            equations.select_k(torch.rand(2, 4), 1, select=select)


def test_sample_draws_in_proportion_to_importance() -> None:
    importance = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).expand(40_000, -1)
    uniform = torch.rand(importance.shape, generator=torch.Generator().manual_seed(1)).clamp(min=1e-30)
    got = equations.select_k(importance, 1, select="sample", noise=-torch.log(-torch.log(uniform)))
    torch.testing.assert_close(got.float().mean(0), importance[0], rtol=0, atol=0.01)


# Eq. 11, and the gradient's factor ----------------------------------------------------------------


def test_input_cost_is_a_sum_and_not_a_mean() -> None:
    updates = torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    assert equations.input_cost(updates).tolist() == [3.0, 0.0]


@pytest.mark.parametrize("factor", [0.0, 0.1, 1.0])
def test_scale_gradient(factor: float) -> None:
    value = t64(1.0, -2.0).requires_grad_()
    scaled = equations.scale_gradient(value, factor)
    assert scaled.tolist() == [1.0, -2.0]
    loss = (scaled * t64(3.0, 4.0)).sum() + value.sum()
    assert torch.autograd.grad(loss, value)[0].tolist() == pytest.approx([1 + 3 * factor, 1 + 4 * factor])
