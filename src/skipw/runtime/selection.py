"""Which inputs of a window are kept (eqs. 9 and 10), for one row, on plain numbers: a window is short."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from skipw.errors import BudgetError

__all__ = ["DRAWING", "draw_noise", "ranking_keys", "select_slots", "select_slots_of_any"]

DRAWING = ("sample", "random")
LOWEST = -1e300  # log 0 and the like rank above NaN


def ranking_keys(
    importance: npt.NDArray[Any], select: str, noise: npt.NDArray[Any] | None, threshold: float
) -> list[float]:
    """What the slots of a window are ranked by, largest first (eq. 9 and Appendix H).

    Args:
        importance: Float[L].
        select: a selector of ``skipw.SkipW``.
        noise: Float[L] of :func:`draw_noise` for "sample" and "random".
        threshold: thr, read by "first_above" only.
    """
    keys: npt.NDArray[Any] = importance
    if select != "topk":
        keys = _other_keys(importance, select, noise, threshold)
    ranked: list[float] = keys.tolist()
    return ranked


def _other_keys(
    importance: npt.NDArray[Any], select: str, noise: npt.NDArray[Any] | None, threshold: float
) -> npt.NDArray[Any]:
    """The selectors of Appendix H."""
    keys: npt.NDArray[Any]
    slots: npt.NDArray[Any] = np.arange(len(importance), dtype=np.float64)
    match select:
        case "sample":  # Gumbel top-k on log importance: without replacement, in proportion to importance
            with np.errstate(all="ignore"):
                keys = np.log(importance) + noise
        case "random":
            assert noise is not None
            keys = noise
        case "first":
            keys = -slots
        case "last":
            keys = slots
        case "first_above":
            keys = np.where(importance >= threshold, -slots, -math.inf)
        case _:
            raise BudgetError(f"unknown selector {select!r}.")
    return keys


def select_slots(
    values: Sequence[float], keys: Sequence[float], limit: int, threshold: float, offset: int = 0
) -> tuple[int, ...]:
    """The slots that will be processed: those of the ``limit`` largest keys that reach thr (eqs. 9 and 10).

    Ties go to the earliest slot; a NaN importance ranks last and never reaches the threshold.

    Args:
        values: importance of each of L slots.
        keys: what they are ranked by.
        limit: K, or what is left of it.
        threshold: thr.
        offset: slots before it have passed.
    Returns:
        Offsets, ascending, at most ``limit``.
    """
    if limit < len(values) - offset:
        chosen = sorted(_ordered(values, keys, offset)[:limit])
    else:
        chosen = list(range(offset, len(values)))
    return tuple(
        [slot for slot in chosen if values[slot] >= threshold]
    )  # from a generator it would be resized


def select_slots_of_any(
    values: Sequence[float],
    keys: Sequence[float],
    budget: int,
    recent: Sequence[bool],
    threshold: float,
    offset: int = 0,
) -> tuple[int, ...]:
    """As :func:`select_slots`, with at most K of any L consecutive inputs (``skipw.ops.any_window``).

    Args:
        values, keys, threshold, offset: as there.
        budget: K.
        recent: which of the last L - 1 inputs were processed, the latest last.
    """
    window = len(values)
    processed = list(itertools.accumulate(reversed(recent), initial=0))  # of the last m inputs
    room = [budget - processed[window - 1 - (slot - offset)] for slot in range(offset, window)]
    chosen = []
    for slot in _ordered(values, keys, offset)[: max(0, room[-1])]:
        if min(room[slot - offset :]) >= 1:
            chosen.append(slot)
            room[slot - offset :] = [left - 1 for left in room[slot - offset :]]
    return tuple([slot for slot in sorted(chosen) if values[slot] >= threshold])


def _ordered(values: Sequence[float], keys: Sequence[float], offset: int) -> list[int]:
    """The slots from ``offset`` on, those to be selected first first; ties by position, NaN last."""
    to_come = range(offset, len(values))
    ranked = [math.inf if values[slot] != values[slot] else -max(keys[slot], LOWEST) for slot in to_come]
    return [offset + position for position in sorted(range(len(to_come)), key=ranked.__getitem__)]  # stable


def draw_noise(
    generator: np.random.Generator, window: int, select: str, dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """Float[L]: uniform for "random", Gumbel for "sample"."""
    double = dtype == np.float64
    uniform: npt.NDArray[Any] = (
        generator.random(window) if double else generator.random(window, dtype=np.float32)
    )
    if select == "random":
        return uniform
    tiny = np.finfo(dtype).tiny
    exponential = -np.log(np.maximum(uniform, tiny))
    return -np.log(np.maximum(exponential, tiny))
