"""Checks of the numbers that a model is built with."""

from __future__ import annotations

import math
import operator
from numbers import Real
from typing import Any

from skipw.errors import ShapeError

__all__ = ["checked_count", "checked_factor", "checked_positive", "checked_size"]


def checked_size(value: Any, name: str) -> int:
    """A size as an int, at least 1; numpy's whole numbers are taken too."""
    return _whole_number(value, name, 1)


def checked_count(value: Any, name: str) -> int:
    """A count as an int, at least 0; numpy's whole numbers are taken too."""
    return _whole_number(value, name, 0)


def checked_positive(value: Any, name: str) -> float:
    """A finite number above 0."""
    if not _is_finite(value) or not value > 0:
        raise ShapeError(f"{name} must be positive and finite, got {value!r}.")
    return float(value)


def checked_factor(value: Any, name: str) -> float:
    """A finite number of at least 0."""
    if not _is_finite(value) or not value >= 0:
        raise ShapeError(f"{name} must be a number of at least 0, got {value!r}.")
    return float(value)


def _whole_number(value: Any, name: str, least: int) -> int:
    try:
        number = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or "bool" in str(getattr(value, "dtype", "")):
        raise ShapeError(f"{name} must be a whole number of at least {least}, got {value!r}.")
    return number


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
