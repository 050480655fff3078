"""Fronts, knees, aliases and hypervolumes against definitions spelled out by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from skipw.errors import ShapeError
from skipw.evaluation.pareto import aliases, hypervolume, knee, non_dominated

# Few distinct values, so that ties and equal points are common.
VALUES = st.integers(0, 6).map(lambda number: number / 6) | st.just(float("nan"))
POINTS = st.lists(st.tuples(VALUES, VALUES), max_size=14)


def columns(points: list[tuple[float, float]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    table = np.array(points, dtype=float).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def dominates(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return a[0] <= b[0] and a[1] >= b[1] and a != b


@settings(max_examples=60, deadline=None)
@given(POINTS)
def test_front_is_the_first_of_each_point_that_nothing_dominates(points: list[tuple[float, float]]) -> None:
    finite = [index for index, point in enumerate(points) if np.isfinite(point).all()]
    expected = {
        index
        for index in finite
        if not any(dominates(points[other], points[index]) for other in finite)
        and not any(points[other] == points[index] for other in finite if other < index)
    }
    front = non_dominated(*columns(points))
    assert set(front.tolist()) == expected
    cost, gain = columns(points)
    assert (np.diff(cost[front]) > 0).all()
    assert (np.diff(gain[front]) > 0).all()


@settings(max_examples=60, deadline=None)
@given(POINTS, st.randoms(use_true_random=False))
def test_front_does_not_depend_on_the_order(points: list[tuple[float, float]], random) -> None:
    shuffled = list(points)
    random.shuffle(shuffled)
    fronts = [[group[index] for index in non_dominated(*columns(group))] for group in (points, shuffled)]
    assert fronts[0] == fronts[1]


@settings(max_examples=60, deadline=None)
@given(POINTS)
def test_hypervolume_is_the_share_of_dominated_cells(points: list[tuple[float, float]]) -> None:
    cost, gain = columns(points)
    centres = (np.arange(6) + 0.5) / 6
    covered = sum(
        any(c <= x and g >= y for c, g in points) for x in centres for y in centres
    )  # the values lie on a grid of sixths, so its cells are covered wholly or not at all
    assert hypervolume(cost, gain, (1.0, 0.0), (0.0, 1.0)) == pytest.approx(covered / 36, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(POINTS)
def test_knee_is_the_point_farthest_from_the_chord(points: list[tuple[float, float]]) -> None:
    cost, gain = columns(points)
    front = non_dominated(cost, gain)
    if len(front) < 2:
        return
    x, y = cost[front], gain[front]
    a = np.array([0.0, 0.0])
    b = np.array([1.0, 1.0])
    scaled = np.stack([(x - x[0]) / (x[-1] - x[0]), (y - y[0]) / (y[-1] - y[0])], axis=1)
    distance = [abs(float(np.linalg.det(np.stack([b - a, p - a])) / np.linalg.norm(b - a))) for p in scaled]
    chosen = knee(x, y)
    assert distance[chosen] == pytest.approx(max(distance), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(POINTS, st.floats(0.1, 100), st.floats(-5, 5))
def test_knee_does_not_depend_on_units(points: list[tuple[float, float]], scale: float, shift: float) -> None:
    cost, gain = columns(points)
    front = non_dominated(cost, gain)
    if not len(front):
        return
    x, y = cost[front], gain[front]
    distance = np.abs((y - y[0]) / max(np.ptp(y), 1e-9) - (x - x[0]) / max(np.ptp(x), 1e-9))
    if np.sum(np.isclose(distance, distance.max(), atol=1e-6)) == 1:  # no tie that rounding could decide
        assert knee(x, y) == knee(x * scale + 3, y * scale + shift)


def test_aliases_of_a_bent_front() -> None:
    cost, gain = [0.05, 0.1, 0.5, 0.9], [0.5, 0.9, 0.92, 0.93]
    assert aliases(cost, gain) == {"most-accurate": 3, "knee": 1, "cheapest": 0}


def test_one_point_holds_all_aliases_and_none_holds_none() -> None:
    assert aliases([0.3], [0.8]) == {"most-accurate": 0, "knee": 0, "cheapest": 0}
    assert aliases([], []) == {}


def test_a_straight_front_has_its_knee_at_the_most_accurate_end() -> None:
    assert knee([0.1, 0.5, 0.9], [0.1, 0.5, 0.9]) == 2


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match="one length"):
        non_dominated([0.1, 0.2], [0.3])
    with pytest.raises(ShapeError, match="at least one point"):
        knee([], [])
    with pytest.raises(ShapeError, match="cost less and gain more"):
        hypervolume([0.1], [0.3], (0.0, 0.0), (1.0, 1.0))
