"""Which inputs are processed: by position, by sequence, by part of the Adding Task (figures 7, 8, 16)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skipw.errors import ShapeError

__all__ = ["ProcessedInputs", "adding_masks"]

PARTS = ("p1", "p2", "p3", "p4")


class ProcessedInputs:
    """What one operating point processes, added up over batches of sequences."""

    def __init__(self) -> None:
        self._processed: NDArray[np.int64] | None = None  # by position
        self._present: NDArray[np.int64] | None = None
        self._shares: Counter[float] = Counter()
        self._parts = np.zeros((len(PARTS), 2), dtype=np.int64)

    def add(
        self, updates: NDArray[np.bool_], lengths: NDArray[np.int64], adding: NDArray[Any] | None = None
    ) -> None:
        """Add a batch.

        Args:
            updates: Bool[n, T], the inputs that were processed.
            lengths: Int64[n], at least 1.
            adding: Float32[n, T, 2], value and marker, of Adding Task sequences; None for others.
        Raises:
            ShapeError: if the arrays don't fit together.
        """
        if updates.ndim != 2 or lengths.shape != updates.shape[:1]:
            raise ShapeError(
                f"expected updates Bool[n, T] and lengths Int64[n], got shapes {updates.shape} and "
                f"{lengths.shape}."
            )
        present = np.arange(updates.shape[1]) < lengths[:, None]
        processed = updates & present
        before = (0, 0) if self._processed is None else (self._processed, self._present)
        self._processed, self._present = before[0] + processed.sum(0), before[1] + present.sum(0)
        self._shares.update(np.round(processed.sum(1) / np.maximum(lengths, 1), 3).tolist())
        if adding is not None:
            masks = adding_masks(adding[:, :, 1])
            self._parts += [[int((processed & mask).sum()), int(mask.sum())] for mask in masks]

    def by_position(self) -> NDArray[np.float64]:
        """Float64[T]: the probability that each input is processed, among sequences that are long enough."""
        if self._processed is None or self._present is None:
            return np.zeros(0)
        return self._processed / np.maximum(self._present, 1)

    def by_sequence(self) -> dict[float, int]:
        """Numbers of sequences by the share of their inputs processed, rounded to a thousandth (figure 7)."""
        return dict(sorted(self._shares.items()))

    def by_part(self) -> dict[str, float]:
        """The share processed in each part of Adding Task sequences (figure 8); empty for other data."""
        if not self._parts.any():
            return {}
        return {part: float(a / max(n, 1)) for part, (a, n) in zip(PARTS, self._parts, strict=True)}

    def tables(self) -> dict[str, pd.DataFrame]:
        """As CSV files: ``patterns`` by position, ``shares`` by sequence, and ``parts`` on the Adding
        Task."""
        positions, shares, parts = self.by_position(), self.by_sequence(), self.by_part()
        tables = {
            "patterns": pd.DataFrame({"position": np.arange(len(positions)), "share": positions}),
            "shares": pd.DataFrame({"inputs_processed": list(shares), "sequences": list(shares.values())}),
        }
        if parts:
            tables["parts"] = pd.DataFrame({"part": list(parts), "share": list(parts.values())})
        return tables


def adding_masks(markers: NDArray[Any]) -> list[NDArray[np.bool_]]:
    """The four parts of Adding Task sequences (eqs. 12 and 13).

    p1 runs up to the first marker, p2 on to the middle, p3 from there up to the second marker, p4 to the end.
    A perfect policy processes all of p1 and p3 and nothing of p2 and p4.

    Args:
        markers: Float[n, T], 1 at the two markers of each sequence, else 0.
    Returns:
        four Bool[n, T]; each input is in exactly one.
    """
    steps = markers.shape[1]
    places = np.arange(steps)
    middle = (steps + 1) // 2
    first = (markers > 0.5).argmax(1)[:, None]
    second = (steps - 1 - (markers[:, ::-1] > 0.5).argmax(1))[:, None]
    return [
        places <= first,
        (places > first) & (places < middle),
        (places >= middle) & (places <= second),
        places > second,
    ]
