"""Run models at points that the evaluate stage did not: thr = 0, other selectors, the first K inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from skipw.evaluation.grid import Identity, grid_points
from skipw.evaluation.patterns import ProcessedInputs
from skipw.evaluation.progress import progress
from skipw.evaluation.sequence_results import SequenceResults, Sequences, run_sequences
from skipw.reproduction.experiments import Experiment
from skipw.reproduction.points import metric_of
from skipw.reproduction.work import Work

__all__ = ["PointRun", "first_updates", "run_budgets", "run_first", "summary"]

BUDGETS = 10
FIRST_SEQUENCES = 3000


@dataclass
class PointRun:
    """What a model gave at one operating point.

    Attributes:
        values: of the metric, Float64[n].
        inputs: share of inputs processed, Float64[n].
        seen: which inputs were processed.
        missed: Adding Task: how often the first and the second marker were not processed, a share.
    """

    values: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    inputs: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    seen: ProcessedInputs = field(default_factory=ProcessedInputs)
    missed: tuple[float, float] | None = None
    _lost: list[NDArray[np.bool_]] = field(default_factory=list)

    def add(self, dataset: str, split: Sequences, rows: slice, results: SequenceResults) -> None:
        """Add some sequences' results."""
        assert results.updates is not None
        adding = split.inputs[rows] if dataset == "adding" else None
        self.values = np.concatenate([self.values, results.measures[metric_of(dataset)]])
        self.inputs = np.concatenate([self.inputs, results.inputs_processed])
        self.seen.add(results.updates, split.lengths[rows], adding)
        if adding is not None:
            self._lost.append(_lost_markers(adding[:, :, 1], results.updates))
            first, second = np.concatenate(self._lost).mean(0)
            self.missed = float(first), float(second)


def _lost_markers(markers: NDArray[Any], updates: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Bool[n, 2]: whether the first and the second marker were skipped."""
    marked = markers > 0.5
    rows = np.arange(len(marked))
    last = marked.shape[1] - 1 - marked[:, ::-1].argmax(1)
    return ~np.stack([updates[rows, marked.argmax(1)], updates[rows, last]], axis=1)


def run_budgets(
    work: Work,
    experiment: Experiment,
    thresholds: Sequence[float],
    *,
    select: str | None = None,
    limit: int | None = None,
) -> dict[tuple[int, float], PointRun]:
    """A SkipW on test at every budget from 1 to L.

    Args:
        work: where models and sequences are.
        experiment: of a SkipW.
        thresholds: in [0, 1].
        select: another selector on the same weights (Appendix H); None is the model's own.
        limit: a smaller number of test sequences.
    Returns:
        by (K, thr).
    """
    model = work.model(experiment)
    if select is not None:
        rnn: Any = model.rnn
        rnn.select = select
    split = work.test(experiment.dataset, limit)
    identity = Identity.of(
        experiment.description, experiment.window or 1, experiment=experiment.name, model="skipw"
    )
    runs: dict[tuple[int, float], PointRun] = {}
    total = len(split.targets) * len(thresholds) * ((experiment.window or 0) + 1)
    with progress(f"{experiment.name} {select or ''}", total) as advance:
        for point, rows, results in grid_points(
            model, split, identity, thresholds, advance=advance, **work.options
        ):
            if point is None or not point.budget:
                continue
            key = (point.budget, point.threshold)
            runs.setdefault(key, PointRun()).add(experiment.dataset, split, rows, results)
    return runs


def summary(experiment: Experiment, runs: dict[tuple[int, float], PointRun]) -> pd.DataFrame:
    """Means over the sequences.

    Returns:
        columns experiment, window, budget, threshold, value, inputs, sequences.
    """
    rows = [
        (experiment.name, experiment.window, k, thr, one.values.mean(), one.inputs.mean(), len(one.values))
        for (k, thr), one in runs.items()
    ]
    columns = ["experiment", "window", "budget", "threshold", "value", "inputs", "sequences"]
    return pd.DataFrame(rows, columns=columns)


def first_updates(lengths: NDArray[np.int64], num_steps: int, window: int, budget: int) -> NDArray[np.bool_]:
    """Bool[n, T]: the first K inputs of every window (figure 31), nothing beyond the lengths."""
    places = np.arange(num_steps)
    return (places % window < budget)[None, :] & (places[None, :] < lengths[:, None])


def run_first(work: Work, experiment: Experiment, window: int) -> pd.DataFrame:
    """A model trained with random masks on the first K inputs of every window, on test, for at most BUDGETS K.

    Returns:
        columns experiment, window, budget, value, inputs, sequences.
    """
    model = work.model(experiment)
    split = work.test(experiment.dataset, FIRST_SEQUENCES)
    budgets = np.unique(np.linspace(1, window, min(BUDGETS, window)).round().astype(int)).tolist()
    metric, rows = metric_of(experiment.dataset), []
    with torch.inference_mode():
        for budget in budgets:
            updates = first_updates(np.asarray(split.lengths), split.inputs.shape[1], window, budget)
            results = run_sequences(model, split, window=window, updates=updates, **work.options)
            value, inputs = results.measures[metric].mean(), results.inputs_processed.mean()
            rows.append((experiment.name, window, budget, value, inputs, len(results)))
    return pd.DataFrame(rows, columns=["experiment", "window", "budget", "value", "inputs", "sequences"])
