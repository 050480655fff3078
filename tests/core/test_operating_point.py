"""Operating points and schedules: what they accept, what they refuse, and with which words."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch

from skipw.errors import BudgetError
from skipw.operating_point import OperatingPoint, Schedule

POINT = OperatingPoint(3, 0.4)


def test_defaults_are_the_whole_window_at_one_half() -> None:
    assert OperatingPoint() == OperatingPoint(budget=None, threshold=0.5)
    assert OperatingPoint().budget_in(8) == 8
    assert OperatingPoint(3).budget_in(8) == 3


@pytest.mark.parametrize("budget", [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)])
def test_whole_numbers_of_any_kind_are_budgets(budget: Any) -> None:
    point = OperatingPoint(budget)
    assert point == OperatingPoint(3)
    assert type(point.budget) is int


@pytest.mark.parametrize("threshold", [0, 1, 0.0, 1.0, np.float32(0.5), np.int64(1)])
def test_numbers_of_any_kind_are_thresholds(threshold: Any) -> None:
    assert type(OperatingPoint(1, threshold).threshold) is float


@pytest.mark.parametrize(
    "budget",
    [True, np.True_, torch.tensor(True), 3.0, np.float64(3), torch.tensor(3.0), "3", np.array([3]), [3], -1],
)
def test_other_budgets_are_refused(budget: Any) -> None:
    with pytest.raises(BudgetError, match="budget must be"):
        OperatingPoint(budget)


@pytest.mark.parametrize(
    "threshold",
    [
        True,
        np.True_,
        None,
        "0.5",
        float("nan"),
        float("inf"),
        -0.01,
        1.01,
        10**400,
        0.5j,
        Decimal("0.5"),
        torch.tensor(0.5),
    ],
)
def test_other_thresholds_are_refused(threshold: Any) -> None:
    with pytest.raises(BudgetError, match="threshold must"):
        OperatingPoint(1, threshold)


def test_errors_are_value_errors_that_name_the_remedy() -> None:
    with pytest.raises(ValueError, match="pass an int such as 3"):
        OperatingPoint(2.5)  # type: ignore[arg-type]
    with pytest.raises(BudgetError, match=r"\[0, 2\].*window of 2 inputs, got 3; lower the budget"):
        POINT.budget_in(2)


def test_points_are_frozen_and_hashable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        POINT.budget = 5  # type: ignore[misc]
    assert len({POINT, OperatingPoint(3, 0.4), OperatingPoint(3, 0.5)}) == 2


def test_schedules_hold_their_points_in_order() -> None:
    schedule = Schedule([(0, POINT), (np.int64(12), OperatingPoint())])
    assert list(schedule) == [(0, POINT), (12, OperatingPoint())]
    assert len(schedule) == 2
    assert schedule == Schedule(iter([(0, POINT), (12, OperatingPoint())]))
    assert hash(schedule) == hash(Schedule(list(schedule)))
    assert schedule != Schedule([(0, POINT)])


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "at least one pair"),
        ([(1, POINT)], "begins at input 0, got 1"),
        ([(0, POINT), (5, POINT), (5, POINT)], r"increase strictly, got \[0, 5, 5\]"),
        ([(0, POINT), (5, POINT), (3, POINT)], "increase strictly"),
        ([(0, POINT), (2.0, POINT)], "start of a schedule entry must be a whole number"),
        ([(0, POINT), (True, POINT)], "start of a schedule entry must be a whole number"),
        ([(-1, POINT)], "at least 0"),
        ([(0, 3)], "holds OperatingPoint values, got int"),
        ([POINT], "holds pairs"),
        ([(0, POINT, 1)], "holds pairs"),
        (POINT, "list of pairs"),
        (None, "list of pairs"),
    ],
)
def test_other_schedules_are_refused(entries: Any, message: str) -> None:
    with pytest.raises(BudgetError, match=message):
        Schedule(entries)


def test_anything_that_means_an_operating_point_is_a_schedule() -> None:
    assert Schedule.of(None) == Schedule([(0, OperatingPoint())])
    assert Schedule.of(POINT) == Schedule([(0, POINT)])
    schedule = Schedule([(0, POINT)])
    assert Schedule.of(schedule) is schedule
    with pytest.raises(BudgetError, match="expected an OperatingPoint or a Schedule, got int"):
        Schedule.of(3)  # type: ignore[arg-type]
