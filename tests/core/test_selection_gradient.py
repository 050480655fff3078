"""The gradient through the selection: what the alternatives to the identity change, and what they leave alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import skipw
from skipw.ops.selection_gradient import SELECTION_GRADIENTS, shaped_gradient, soft_membership
from tests.core.cases import BACKENDS, PLAIN_CELLS, WINDOW, assert_same, make, outcome

AT = skipw.OperatingPoint(2, 0.3)


def a_window(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Importance in [0, 1] and a gradient for it, Float64[4, 6] each."""
    generator = torch.Generator().manual_seed(seed)
    shape = (4, WINDOW)
    importance = torch.rand(shape, generator=generator, dtype=torch.float64)
    return importance, torch.randn(shape, generator=generator, dtype=torch.float64)


def test_zero_sum_moves_ranks_only_where_the_budget_binds() -> None:
    importance, grad = a_window()
    importance[0] = torch.tensor([0.9, 0.8, 0.7, 0.1, 0.2, 0.1])  # three are wanted, two allowed
    importance[1] = torch.tensor([0.9, 0.1, 0.7, 0.1, 0.2, 0.1])  # two are wanted: nothing binds
    shaped = shaped_gradient(grad, importance, 2, 0.5, "zero_sum", 0.1)
    assert float(shaped[0, :3].sum()) == pytest.approx(0.0, abs=1e-12)
    differences = (shaped[0, :3] - grad[0, :3]).diff()
    assert torch.allclose(differences, torch.zeros(2, dtype=torch.float64), atol=1e-12)
    assert torch.equal(shaped[0, 3:], grad[0, 3:])
    assert torch.equal(shaped[1], grad[1])


@pytest.mark.parametrize("budget", [1, 3, 5])
def test_soft_membership_adds_up_and_its_derivative_is_the_gradient(budget: int) -> None:
    importance, grad = a_window()
    member = soft_membership(importance, budget, 0.1)
    assert torch.allclose(member.sum(-1), torch.full((4,), float(budget), dtype=torch.float64))
    shaped = shaped_gradient(grad, importance, budget, 0.5, "soft", 0.1)
    for slot in range(WINDOW):
        step = torch.zeros_like(importance)
        step[:, slot] = 1e-6
        ahead, behind = (soft_membership(importance + sign * step, budget, 0.1) for sign in (1, -1))
        expected = ((ahead - behind) * grad).sum(-1) / 2e-6
        assert torch.allclose(shaped[:, slot], expected, atol=1e-6)


@pytest.mark.parametrize("how", SELECTION_GRADIENTS)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_every_backend_has_the_reference_s_gradients(how: str, backend: str, cell: str) -> None:
    if (how, backend) == ("soft", "native"):
        backend = "auto"  # it has none; auto finds one that has
    model = make(cell=cell, layers=2, selection_gradient=how, gate_state_gradient=0.3)
    x = torch.randn(5, 21, 3, dtype=torch.float64)
    call = {"at": AT, "lengths": torch.tensor([21, 20, 13, 6, 1])}
    assert_same(outcome(model, x, backend="reference", **call), outcome(model, x, backend=backend, **call))


@pytest.mark.parametrize("how", ["zero_sum", "soft"])
def test_a_gradient_of_another_kind_needs_a_binding_budget(how: str) -> None:
    x = torch.randn(4, 18, 3, dtype=torch.float64)
    plain, other = make(), make(selection_gradient=how)
    for point, same in ((skipw.OperatingPoint(WINDOW, 0.3), True), (AT, False)):
        first, second = (outcome(model, x, backend="reference", at=point) for model in (plain, other))
        assert torch.equal(first["y.updates"], second["y.updates"])
        difference = float((first["d.gate.weight"] - second["d.gate.weight"]).abs().max())
        assert (difference < 1e-12) == same


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_price_of_inputs_reaches_every_slot_as_before(backend: str) -> None:
    x = torch.randn(4, 18, 3, dtype=torch.float64)
    gradients = []
    for how in ("identity", "zero_sum"):
        model = make(selection_gradient=how, gate_state_gradient=0.0)
        model(x, at=AT, backend=backend).input_cost.sum().backward()
        gradients.append(model.gate.weight.grad)
    assert float(gradients[0].abs().sum()) > 0
    assert torch.allclose(gradients[0], gradients[1], rtol=0, atol=1e-12)


def test_a_switch_or_a_part_of_a_window_is_left_to_the_reference() -> None:
    model = make(selection_gradient="zero_sum")
    x = torch.randn(3, 14, 3, dtype=torch.float64)
    at = skipw.Schedule([(0, AT), (4, skipw.OperatingPoint(1, 0.2))])
    with pytest.raises(skipw.errors.BackendUnavailableError, match="zero_sum"):
        model(x, at=at, backend="native")
    assert_same(outcome(model, x, backend="reference", at=at), outcome(model, x, backend="auto", at=at))


def test_native_says_that_it_has_no_soft_gradient() -> None:
    said = "no selection_gradient='soft', only 'identity' and 'zero_sum'. Use backend='compact' or 'auto'"
    with pytest.raises(skipw.errors.BackendUnavailableError, match=said):
        make(selection_gradient="soft")(torch.randn(3, 14, 3, dtype=torch.float64), at=AT, backend="native")


@pytest.mark.parametrize(
    "settings", [{"selection_gradient": "sparse"}, {"selection_softness": 0.0}], ids=["name", "softness"]
)
def test_unknown_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(skipw.errors.ShapeError, match=next(iter(settings))):
        make(**settings)
