from __future__ import annotations

from collections.abc import Callable

import pytest

from skipw.errors import ParamsError
from skipw.params import TrainSettings
from skipw.training.schedules import cost_multiplier, learning_rate_factor, seed_for_step

Settings = Callable[..., TrainSettings]


def test_cosine_with_warm_up_rises_then_falls_to_its_end(settings: Settings) -> None:
    chosen = settings("adding", steps=100, warmup=0.1, final_learning_rate=0.2)
    factors = [learning_rate_factor(step, chosen) for step in range(101)]
    assert factors[:10] == sorted(factors[:10])
    assert factors[10] == pytest.approx(1.0)
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[55] == pytest.approx(0.6)
    assert factors[100] == pytest.approx(0.2)


def test_exponential_follows_the_sequences_seen(settings: Settings) -> None:
    chosen = settings("har", schedule="exponential", batch_size=500, decay_rate=0.96, decay_samples=100_000)
    assert learning_rate_factor(200, chosen) == pytest.approx(0.96)
    assert learning_rate_factor(400, chosen) == pytest.approx(0.96**2)


def test_constant_stays(settings: Settings) -> None:
    chosen = settings("har", schedule="constant")
    assert {learning_rate_factor(step, chosen) for step in range(20)} == {1.0}


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0.0, 1.0), (0.1, 1.0), (0.2, 5.5), (0.3, 10.0), (0.5, 10.0), (1.0, 0.5)]
)
def test_cost_is_interpolated_between_breakpoints(fraction: float, expected: float) -> None:
    breakpoints = [(0.1, 1.0), (0.3, 10.0), (0.6, 10.0), (0.9, 0.5)]
    assert cost_multiplier(fraction, breakpoints) == pytest.approx(expected)


def test_cost_jumps_where_two_breakpoints_meet() -> None:
    assert cost_multiplier(0.5, [(0.0, 1.0), (0.5, 1.0), (0.5, 3.0)]) == 1.0
    assert cost_multiplier(0.51, [(0.0, 1.0), (0.5, 1.0), (0.5, 3.0)]) == 3.0


def test_no_breakpoint_is_an_error() -> None:
    with pytest.raises(ParamsError, match="cost_schedule"):
        cost_multiplier(0.5, [])


def test_seeds_differ_by_step_and_by_seed() -> None:
    seeds = {seed_for_step(seed, step) for seed in range(10) for step in range(1000)}
    assert len(seeds) == 10_000
    assert all(0 <= seed < 2**31 for seed in seeds)
