"""λ is steered so that a wanted share of the inputs is processed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from skipw.errors import ParamsError
from skipw.params import TrainSettings
from skipw.training import fit
from skipw.training.cost_control import CostController


def test_the_price_rises_while_too_much_is_processed_and_vanishes_below_the_target() -> None:
    controller = CostController(1e-4, 0.25)
    prices = []
    for _ in range(100):
        controller.observe(0.5)
        prices.append(controller.cost)
    assert prices == sorted(prices) and prices[0] > 1e-4
    for _ in range(100):
        controller.observe(0.15)
    assert controller.cost == 0.0


def test_a_gate_that_answers_slowly_is_brought_to_its_target() -> None:
    controller, share = CostController(1e-5, 0.3), 0.9
    for _ in range(5000):
        wanted = 1 / (1 + controller.cost / 1e-3)  # what this price leads to in the end
        share += 0.01 * (wanted - share)
        controller.observe(share)
    assert share == pytest.approx(0.3, abs=0.01)
    assert math.isclose(controller.cost, 1e-3 * (1 / 0.3 - 1), rel_tol=0.1)


def test_the_price_never_more_than_doubles_at_once_and_a_far_target_is_approached_by_a_ramp() -> None:
    at_once, ramped = CostController(1e-4, 0.05), CostController(1e-4, 0.05, ramp=1000)
    for controller in (at_once, ramped):
        controller.observe(0.8)
    assert 1.9e-4 < at_once.cost < 2.1e-4
    assert 1e-4 < ramped.cost < 1.1e-4
    targets = []
    for _ in range(1000):
        ramped.observe(ramped.present_target)
        targets.append(ramped.present_target)
    assert targets == sorted(targets, reverse=True)
    assert targets[499] == pytest.approx((0.8 * 0.05) ** 0.5, rel=0.01)
    assert targets[-1] == 0.05


def test_it_goes_on_from_its_state() -> None:
    first, second = CostController(1e-4, 0.25, ramp=9), CostController(7.0, 0.25, ramp=9)
    first.observe(0.4)
    second.restore(first.state())
    for controller in (first, second):
        controller.observe(0.6)
    assert first.cost == second.cost


@pytest.mark.parametrize(("start", "target"), [(0.0, 0.5), (1e-4, 0.0), (1e-4, 1.5)])
def test_impossible_settings_are_refused(start: float, target: float) -> None:
    with pytest.raises(ValueError, match="target"):
        CostController(start, target)


@pytest.mark.slow
def test_a_training_reaches_the_share_it_is_asked_for(
    settings: Callable[..., TrainSettings], slopes: Path, tmp_path: Path
) -> None:
    shares = []
    for target in (0.7, 0.4):
        chosen = settings(
            "har", steps=800, val_every=100, cost_per_input=1e-3, target_inputs=target, checkpoint_from=0.9
        )
        best = fit(chosen, slopes, tmp_path / str(target), scratch=tmp_path / "scratch", progress=False)
        shares.append(best["val_inputs_processed"])
    assert shares == pytest.approx([0.7, 0.4], abs=0.1)


def test_a_target_needs_a_price_to_start_from(
    settings: Callable[..., TrainSettings], slopes: Path, tmp_path: Path
) -> None:
    with pytest.raises(ParamsError, match="cost_per_input"):
        fit(settings("har", target_inputs=0.5), slopes, tmp_path / "m", scratch=tmp_path, progress=False)
