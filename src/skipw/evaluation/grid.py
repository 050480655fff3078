"""Every operating point of a model in one go: the rows of grid.csv.

Masks are nested in the budget (READINGS.md): a sequence that never wants more than K inputs in a window runs
the same under every budget from K up. So budgets are taken in descending order and only the sequences that
the smaller budget touches are run again; the others keep their results.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from skipw.errors import BudgetError
from skipw.evaluation.progress import Advance, silent
from skipw.evaluation.sequence_results import SequenceResults, Sequences, run_sequences
from skipw.operating_point import OperatingPoint

__all__ = ["Identity", "count_points", "grid_points", "grid_rows", "result_rows"]


@dataclass(frozen=True)
class Identity:
    """The columns of grid.csv that are the same for all points of a model.

    ``window`` is the model's own (None without one); ``count_window`` is the one that inputs are counted in.
    """

    experiment: str
    dataset: str
    data_source: str
    model: str
    cell: str
    select: str | None
    hidden_size: int
    num_layers: int
    window: int | None
    cost_per_input: float
    count_window: int

    @classmethod
    def of(
        cls, description: Mapping[str, Any], count_window: int, *, experiment: str, model: str
    ) -> Identity:
        """From a model's ``model.json``; the sampling baselines bring their own experiment and model name."""
        shape = description["architecture"]
        gated = model == "skipw"
        return cls(
            experiment=experiment,
            dataset=description["dataset"],
            data_source=description["data_source"],
            model=model,
            cell=shape["cell"],
            select=shape["select"] if gated else None,
            hidden_size=shape["hidden_size"],
            num_layers=shape["num_layers"],
            window=shape["window"] if gated else None,
            cost_per_input=float(description["cost_per_input"]),
            count_window=shape["window"] if gated else count_window,
        )

    def columns(self) -> dict[str, Any]:
        """As they stand in grid.csv."""
        return {name: value for name, value in vars(self).items() if name != "count_window"}


def count_points(model: str, window: int | None, thresholds: Sequence[float]) -> int:
    """How many operating points ``grid_points`` yields."""
    if model == "skipw":
        return ((window or 0) + 1) * len(thresholds)
    return len(thresholds) if model == "thrrnn" else 1


def grid_points(
    model: torch.nn.Module,
    split: Sequences,
    identity: Identity,
    thresholds: Sequence[float],
    *,
    batch_size: int = 500,
    backend: str = "auto",
    advance: Advance = silent,
) -> Iterator[tuple[OperatingPoint | None, SequenceResults]]:
    """Run a model at each of its operating points.

    Args:
        model: a ``SequenceModel``.
        split: the sequences.
        identity: which kind of model it is and its window.
        thresholds: for SkipW and ThrRNN; the other models ignore them.
        batch_size, backend, advance: as in ``run_sequences``.
    Yields:
        the point and what each sequence gave there: SkipW each threshold with budgets from the window down to
        0; ThrRNN each threshold; SkipRNN its one point; a dense model None.
    """
    how: dict[str, Any] = {"window": identity.count_window, "batch_size": batch_size, "backend": backend}
    match identity.model:
        case "skipw":
            for threshold in thresholds:
                yield from _budgets(model, split, identity, threshold, advance, how)
        case "thrrnn":
            for threshold in thresholds:
                point = OperatingPoint(None, threshold)
                yield point, run_sequences(model, split, at=point, advance=advance, **how)
        case "skiprnn":
            point = OperatingPoint()
            yield point, run_sequences(model, split, at=point, advance=advance, **how)
        case _:
            yield None, run_sequences(model, split, advance=advance, **how)


def _budgets(
    model: torch.nn.Module,
    split: Sequences,
    identity: Identity,
    threshold: float,
    advance: Advance,
    how: Mapping[str, Any],
) -> Iterator[tuple[OperatingPoint, SequenceResults]]:
    assert identity.window is not None
    point = OperatingPoint(identity.window, threshold)
    results = run_sequences(model, split, at=point, advance=advance, **how)
    yield point, results
    nested = identity.select == "topk"
    for budget in reversed(range(identity.window)):
        point = OperatingPoint(budget, threshold)
        touched = np.flatnonzero(results.wanted > budget) if nested else np.arange(len(results))
        if len(touched):
            again = run_sequences(model, split, at=point, index=touched, advance=advance, **how)
            results = results.with_rows(touched, again)
        advance(len(results) - len(touched))
        yield point, results


def result_rows(
    identity: Identity, point: OperatingPoint | None, split: str, results: SequenceResults
) -> list[dict[str, Any]]:
    """The rows of grid.csv for one operating point on one split, one a metric.

    Raises:
        BudgetError: if any window holds more processed inputs than the budget allows.
    """
    most = int(results.max_in_window.max())
    budget = None if point is None or identity.model != "skipw" else point.budget
    if budget is not None and most > budget:
        raise BudgetError(
            f"{identity.experiment}: a window of {split} holds {most} processed inputs at a budget of "
            f"{budget}; the bound must never be exceeded: please report this as a defect."
        )
    shared = identity.columns() | {
        "budget": budget,
        "threshold": None if point is None else point.threshold,
        "split": split,
        "loss": results.task_loss.mean() + identity.cost_per_input * results.input_cost.mean(),
        "inputs_processed": results.inputs_processed.mean(),
        "inputs_processed_std": results.inputs_processed.std(),
        "max_inputs_in_window": most,
        "sequences": len(results),
    }
    return [
        shared | {"metric": metric, "value": values.mean()} for metric, values in results.measures.items()
    ]


def grid_rows(
    identity: Identity, split: str, points: Iterable[tuple[OperatingPoint | None, SequenceResults]]
) -> list[dict[str, Any]]:
    """The rows of all points of a split, by ascending threshold and budget.

    Raises:
        BudgetError: as ``result_rows``.
    """
    rows = [row for point, results in points for row in result_rows(identity, point, split, results)]
    return sorted(rows, key=lambda row: (row["threshold"] or 0.0, row["budget"] or 0))
