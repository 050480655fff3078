"""Which inputs are processed: by position, by sequence, by part of the Adding Task (figures 7, 8, 16)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipw.errors import ShapeError

__all__ = ["adding_parts", "processed_by_position", "shares_by_sequence"]

PARTS = ("p1", "p2", "p3", "p4")


def processed_by_position(updates: NDArray[np.bool_], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """The probability that each input is processed, among the sequences that are long enough to have it.

    Args:
        updates: Bool[n, T], the inputs that were processed.
        lengths: Int64[n].
    Returns:
        Float64[T], each in [0, 1]; 0 where no sequence is that long.
    Raises:
        ShapeError: if the two don't fit together.
    """
    if updates.ndim != 2 or lengths.shape != updates.shape[:1]:
        raise ShapeError(
            f"expected updates Bool[n, T] and lengths Int64[n], got shapes {updates.shape} "
            f"and {lengths.shape}."
        )
    present = np.arange(updates.shape[1]) < lengths[:, None]
    return (updates & present).sum(0) / np.maximum(present.sum(0), 1)


def shares_by_sequence(
    inputs_processed: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """How many sequences had which share of their inputs processed: the distribution that a violin shows.

    Args:
        inputs_processed: Float64[n], a share for each sequence.
    Returns:
        Float64[m] shares, ascending, rounded to a thousandth, and Int64[m] numbers of sequences, whose sum is
        n.
    """
    shares, sequences = np.unique(np.round(inputs_processed, 3), return_counts=True)
    return shares, sequences.astype(np.int64)


def adding_parts(updates: NDArray[np.bool_], inputs: NDArray[Any]) -> dict[str, float]:
    """The share of inputs processed in the four parts of Adding Task sequences (eqs. 12 and 13).

    p1 runs up to the first marker, p2 on to the middle, p3 from there up to the second marker, p4 to the end.
    A perfect policy processes all of p1 and p3 and nothing of p2 and p4.

    Args:
        updates: Bool[n, T].
        inputs: Float32[n, T, 2], value and marker.
    Returns:
        a share for each of p1, p2, p3, p4; 0 for a part that no sequence has.
    """
    steps = updates.shape[1]
    positions = np.arange(steps)
    middle = (steps + 1) // 2
    markers = inputs[:, :, 1] > 0.5
    first = markers.argmax(1)[:, None]
    second = (steps - 1 - markers[:, ::-1].argmax(1))[:, None]
    inside = {
        "p1": positions <= first,
        "p2": (positions > first) & (positions < middle),
        "p3": (positions >= middle) & (positions <= second),
        "p4": positions > second,
    }
    return {part: float((updates & mask).sum() / max(mask.sum(), 1)) for part, mask in inside.items()}
