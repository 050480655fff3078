"""Every operating point of a model in one go: the rows of grid.csv."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from skipw.errors import BudgetError
from skipw.evaluation.progress import Advance, silent
from skipw.evaluation.sequence_results import (
    SequenceResults,
    Sequences,
    joined,
    results_of,
    run_sequences,
    tensors,
)
from skipw.evaluation.shared_prefix import can_share, run_points
from skipw.operating_point import OperatingPoint

__all__ = ["Identity", "grid_points", "grid_rows", "operating_points_of", "result_rows"]


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


def grid_points(
    model: torch.nn.Module,
    split: Sequences,
    identity: Identity,
    thresholds: Sequence[float],
    *,
    cross: bool = False,
    batch_size: int = 500,
    backend: str = "auto",
    advance: Advance = silent,
) -> Iterator[tuple[OperatingPoint | None, slice, SequenceResults]]:
    """Run a model at each of its operating points.

    Args:
        model: a ``SequenceModel``.
        split: the sequences.
        identity: which kind of model it is and its window.
        thresholds: for SkipW and ThrRNN; the other models ignore them.
        cross: see ``operating_points_of``.
        batch_size, backend, advance: as in ``run_sequences``.
    Yields:
        the point, which sequences, and what each of them gave there. A point may come several times, each
        time with the sequences that follow. SkipW: each threshold with each budget from 0 to the window;
        ThrRNN: each threshold; SkipRNN: its one point; a dense model: None.
    """
    how: dict[str, Any] = {"window": identity.count_window, "batch_size": batch_size, "backend": backend}
    points = operating_points_of(identity, thresholds, cross=cross)
    if identity.model == "skipw" and can_share(model):
        yield from _shared(model, split, [point for point in points if point is not None], advance, how)
        return
    for point in points:
        yield point, slice(None), run_sequences(model, split, at=point, advance=advance, **how)


def operating_points_of(
    identity: Identity, thresholds: Sequence[float], *, cross: bool = False
) -> list[OperatingPoint | None]:
    """All operating points of a kind of model; None is a model without any.

    ``cross`` leaves SkipW those of the paper's figures: each budget at the threshold nearest to 0.5, that of training,
    and each threshold with the whole window.
    """
    match identity.model:
        case "skipw":
            assert identity.window is not None
            budgets = range(identity.window + 1)
            trained = min(thresholds, key=lambda threshold: abs(threshold - 0.5), default=None)
            return [
                OperatingPoint(budget, threshold)
                for threshold in thresholds
                for budget in budgets
                if not cross or threshold == trained or budget == identity.window
            ]
        case "thrrnn":
            return [OperatingPoint(None, threshold) for threshold in thresholds]
        case "skiprnn":
            return [OperatingPoint()]
        case _:
            return [None]


def _shared(
    model: torch.nn.Module,
    split: Sequences,
    points: Sequence[OperatingPoint],
    advance: Advance,
    how: Mapping[str, Any],
) -> Iterator[tuple[OperatingPoint, slice, SequenceResults]]:
    """All points of a SkipW, a batch of sequences at a time, so that the work in flight stays bounded."""
    model.eval()
    size = how["batch_size"]
    for start in range(0, len(split.targets), size):
        rows = slice(start, min(start + size, len(split.targets)))
        inputs, lengths, targets = tensors(split, rows)
        scores, updates = run_points(model, inputs, lengths, points, backend=how["backend"])
        for place, point in enumerate(points):
            yield point, rows, results_of(scores[place], updates[place], lengths, targets, how["window"])
        advance(len(targets) * len(points))


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
    identity: Identity,
    split: str,
    points: Iterable[tuple[OperatingPoint | None, slice, SequenceResults]],
) -> list[dict[str, Any]]:
    """The rows of all points of a split, by ascending threshold and budget.

    Args:
        identity: of the model.
        split: val or test.
        points: of ``grid_points``.
    Raises:
        BudgetError: as ``result_rows``.
    """
    parts: dict[OperatingPoint | None, list[SequenceResults]] = {}
    for point, _, results in points:
        parts.setdefault(point, []).append(results.without_updates())
    rows = [row for point, part in parts.items() for row in result_rows(identity, point, split, joined(part))]
    return sorted(rows, key=lambda row: (row["threshold"] or 0.0, row["budget"] or 0))
