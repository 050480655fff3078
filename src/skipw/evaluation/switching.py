"""Change the operating point at every position of a sequence (paper, section 4.2, figures 9 and 13)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from skipw.errors import BudgetError
from skipw.evaluation.progress import Advance, silent
from skipw.evaluation.sequence_results import Sequences, run_sequences
from skipw.operating_point import OperatingPoint, Schedule

__all__ = ["switch_curve", "switch_positions"]


def switch_positions(num_steps: int, at_most: int) -> list[int]:
    """Evenly spaced positions from 0 (the second point all along) to ``num_steps`` (the first all along)."""
    return [int(p) for p in np.unique(np.linspace(0, num_steps, min(at_most, num_steps + 1)).round())]


def switch_curve(
    model: torch.nn.Module,
    split: Sequences,
    first: OperatingPoint,
    second: OperatingPoint,
    positions: Sequence[int],
    *,
    window: int,
    batch_size: int = 500,
    backend: str = "auto",
    advance: Advance = silent,
) -> pd.DataFrame:
    """What a change from ``first`` to ``second`` before the input at each position gives.

    Args:
        model: a ``SequenceModel`` of a SkipW or ThrRNN.
        split: the sequences.
        first, second: operating points before and from the position on.
        positions: 0 means ``second`` for the whole sequence, T and beyond ``first``.
        window: L, that inputs are counted in.
        batch_size, backend, advance: as in ``run_sequences``.
    Returns:
        columns position, metric, value, inputs_processed, max_inputs_in_window.
    Raises:
        BudgetError: if a window ever holds more processed inputs than the larger of the two budgets.
    """
    rows = []
    for position in positions:
        points = [(0, first), (position, second)] if position else [(0, second)]
        results = run_sequences(
            model,
            split,
            at=Schedule(points),
            window=window,
            batch_size=batch_size,
            backend=backend,
            advance=advance,
        )
        most = int(results.max_in_window.max())
        limit = max(window if point.budget is None else point.budget for _, point in points)
        if most > limit:
            raise BudgetError(
                f"a window holds {most} processed inputs after a switch at {position} under budgets of at "
                f"most {limit}; the bound must never be exceeded: please report this as a defect."
            )
        rows += [
            {
                "position": position,
                "metric": metric,
                "value": values.mean(),
                "inputs_processed": results.inputs_processed.mean(),
                "max_inputs_in_window": most,
            }
            for metric, values in results.measures.items()
        ]
    return pd.DataFrame(rows)
