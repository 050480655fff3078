"""Everything that the evaluate stage writes about one experiment, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from skipw.data.prepared import load_meta, load_split
from skipw.errors import DataFormatError
from skipw.evaluation.grid import Identity, grid_points, grid_rows, operating_points_of
from skipw.evaluation.patterns import ProcessedInputs
from skipw.evaluation.progress import progress
from skipw.evaluation.sequence_results import SequenceResults, Sequences
from skipw.evaluation.subsampling import REPEAT_COLUMNS, periodic_rows, random_rows, some_sequences
from skipw.evaluation.switching import switch_curve, switch_positions
from skipw.evaluation.table import grid_table
from skipw.operating_point import OperatingPoint
from skipw.params import Evaluate

__all__ = ["evaluate_experiment"]

REFERENCE_THRESHOLD = 0.5
SWITCH_SEQUENCES = 1000
SWITCH_POSITIONS = 17


def evaluate_experiment(
    model: torch.nn.Module,
    description: Mapping[str, Any],
    prepared: Path,
    how: Evaluate,
    *,
    experiment: str,
    kind: str,
    count_window: int,
) -> dict[str, pd.DataFrame]:
    """Evaluate a model on val and test.

    Args:
        model: a ``SequenceModel``.
        description: its model.json.
        prepared: the prepared data set's folder.
        how: the section ``evaluate`` of params.yaml.
        experiment: the experiment's name; ``kind`` is its model, one of MODELS.
        kind: random and periodic drive a dense model through ``updates=``.
        count_window: L that inputs are counted in, for models without a window of their own.
    Returns:
        tables by file name: ``grid`` always; ``repeats`` for random; ``patterns``, ``shares`` and
        ``switching`` for gated models, ``parts`` too on the Adding Task.
    Raises:
        DataFormatError: if the model was trained on data of another source than those that are prepared now.
        BudgetError: if the bound was violated.
    """
    meta = load_meta(prepared)
    if meta["data_source"] != description["data_source"]:
        raise DataFormatError(
            f"{experiment} was trained on {description['data_source']}, but {prepared} holds "
            f"{meta['data_source']}; train it again (`dvc repro`)."
        )
    identity = Identity.of(description, count_window, experiment=experiment, model=kind)
    splits = {
        "val": some_sequences(load_split(prepared, "val"), how.val_limit),
        "test": some_sequences(load_split(prepared, "test"), how.test_limit),
    }
    if kind in ("random", "periodic"):
        return _subsampling(model, splits, identity, how)
    return _gated(model, splits, identity, how)


def _subsampling(
    model: torch.nn.Module, splits: Mapping[str, Sequences], identity: Identity, how: Evaluate
) -> dict[str, pd.DataFrame]:
    sampling = how.random
    options: dict[str, Any] = {"batch_size": how.batch_size, "backend": how.backend}
    rates = sampling.rates
    sizes = [len(split.targets) for split in splits.values()]
    if identity.model == "periodic":
        with progress(identity.experiment, sum(sizes) * len(rates)) as advance:
            rows = [
                row
                for name, split in splits.items()
                for row in periodic_rows(model, split, identity, name, rates, advance=advance, **options)
            ]
        return {"grid": grid_table(rows)}
    sizes = [min(size, sampling.sequences or size) for size in sizes]
    times = getattr(sampling.evaluations, identity.dataset, sampling.evaluations.default)
    means: list[dict[str, Any]] = []
    repeats: list[dict[str, Any]] = []
    with progress(identity.experiment, sum(sizes) * len(rates) * times) as advance:
        for name, split in splits.items():
            new, single = random_rows(
                model,
                split,
                identity,
                name,
                rates,
                times,
                sequences=sampling.sequences,
                seed=how.seed,
                advance=advance,
                **options,
            )
            means += new
            repeats += single
    return {"grid": grid_table(means), "repeats": pd.DataFrame(repeats, columns=list(REPEAT_COLUMNS))}


def _gated(
    model: torch.nn.Module, splits: Mapping[str, Sequences], identity: Identity, how: Evaluate
) -> dict[str, pd.DataFrame]:
    thresholds = {"skipw": how.thresholds.skipw, "thrrnn": how.thresholds.thrrnn}.get(identity.model, ())
    options: dict[str, Any] = {"batch_size": how.batch_size, "backend": how.backend}
    points = operating_points_of(identity, thresholds, cross=how.cross)
    total = sum(len(split.targets) for split in splits.values()) * len(points)
    rows: list[dict[str, Any]] = []
    seen = _Patterns(identity, splits["test"], thresholds)
    with progress(identity.experiment, total) as advance:
        for name, split in splits.items():
            found = grid_points(
                model, split, identity, thresholds, cross=how.cross, advance=advance, **options
            )
            rows += grid_rows(identity, name, seen.watch(found) if name == "test" else found)
    tables = {"grid": grid_table(rows)} | seen.tables()
    if identity.model == "skipw":
        tables["switching"] = _switching(model, splits["test"], identity, thresholds, options)
    return tables


def _switching(
    model: torch.nn.Module,
    split: Sequences,
    identity: Identity,
    thresholds: tuple[float, ...],
    options: Mapping[str, Any],
) -> pd.DataFrame:
    """From the whole window to a quarter of it, at the threshold the model was trained with."""
    window = identity.count_window
    threshold = _reference(thresholds)
    first, second = OperatingPoint(window, threshold), OperatingPoint(max(1, window // 4), threshold)
    some = some_sequences(split, SWITCH_SEQUENCES)
    positions = switch_positions(some.inputs.shape[1], SWITCH_POSITIONS)
    with progress(f"{identity.experiment}: switching", len(positions) * len(some.targets)) as advance:
        table = switch_curve(model, some, first, second, positions, window=window, advance=advance, **options)
    return _labelled(table, identity).assign(
        first_budget=first.budget,
        second_budget=second.budget,
        threshold=threshold,
        sequences=len(some.targets),
    )


def _reference(thresholds: tuple[float, ...]) -> float:
    """The threshold nearest to the one of training."""
    return min(thresholds, key=lambda threshold: abs(threshold - REFERENCE_THRESHOLD))


def _labelled(table: pd.DataFrame, identity: Identity) -> pd.DataFrame:
    """``table`` with the experiment, the data set, its source and the model in front."""
    names = ("experiment", "dataset", "data_source", "model")
    facts = {name: getattr(identity, name) for name in names}
    return pd.DataFrame({name: [value] * len(table) for name, value in facts.items()}).join(table)


class _Patterns:
    """Collects which inputs are processed while the grid is computed, at no further cost.

    SkipW: every budget at the reference threshold; ThrRNN: every threshold; SkipRNN: its one point.
    """

    def __init__(self, identity: Identity, split: Sequences, thresholds: tuple[float, ...]) -> None:
        self._identity, self._split = identity, split
        self._threshold = _reference(thresholds) if identity.model == "skipw" else None
        self._seen: dict[OperatingPoint, ProcessedInputs] = {}

    def watch(
        self, points: Iterator[tuple[OperatingPoint | None, slice, SequenceResults]]
    ) -> Iterator[tuple[OperatingPoint | None, slice, SequenceResults]]:
        """The same points, looked at in passing."""
        for point, rows, results in points:
            if point is not None and self._threshold in (None, point.threshold):
                assert results.updates is not None
                seen = self._seen.setdefault(point, ProcessedInputs())
                adding = self._split.inputs[rows] if self._identity.dataset == "adding" else None
                seen.add(results.updates, self._split.lengths[rows], adding)
            yield point, rows, results

    def tables(self) -> dict[str, pd.DataFrame]:
        """What was seen, by file name."""
        tables: dict[str, list[pd.DataFrame]] = {}
        for point, seen in self._seen.items():
            for name, table in seen.tables().items():
                place = {"budget": [point.budget] * len(table), "threshold": [point.threshold] * len(table)}
                front = pd.DataFrame(place).astype({"budget": "Int64"})
                tables.setdefault(name, []).append(front.join(table))
        return {
            name: _labelled(pd.concat(parts, ignore_index=True), self._identity)
            for name, parts in tables.items()
        }
