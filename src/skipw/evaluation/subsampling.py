"""The two naive baselines: inputs at random, or at regular intervals (paper, section 4.1, figures 3, 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from skipw.data.prepared import Split
from skipw.evaluation.grid import Identity, result_rows
from skipw.evaluation.progress import Advance, silent
from skipw.evaluation.sequence_results import Sequences, run_sequences
from skipw.models.baselines import periodic_updates, random_updates

__all__ = ["REPEAT_COLUMNS", "next_part", "periodic_rows", "random_rows", "some_sequences"]

REPEAT_COLUMNS = (
    "experiment", "dataset", "rate", "repetition", "split", "metric", "value", "inputs_processed",
)  # fmt: skip
SPLIT_SEEDS = {"val": 1, "test": 2}
ORDER_SEED = 0


def periodic_rows(
    model: torch.nn.Module,
    split: Sequences,
    identity: Identity,
    name: str,
    rates: Sequence[float],
    *,
    batch_size: int = 500,
    backend: str = "auto",
    advance: Advance = silent,
) -> list[dict[str, Any]]:
    """Rows of grid.csv, one a rate and metric; budget and threshold stay empty, the share processed tells
    them apart.

    Args:
        model: the dense model trained with random masks.
        split: the sequences.
        identity: with model "periodic".
        name: val or test.
        rates: shares of the inputs to take, in (0, 1].
        batch_size, backend, advance: as in ``run_sequences``.
    """
    lengths = torch.from_numpy(np.array(split.lengths))
    rows = []
    for rate in rates:
        updates = periodic_updates(lengths, split.inputs.shape[1], rate).numpy()
        results = run_sequences(
            model, split, window=identity.count_window, updates=updates, batch_size=batch_size,
            backend=backend, advance=advance,
        )  # fmt: skip
        rows += result_rows(identity, None, name, results)
    return rows


def random_rows(
    model: torch.nn.Module,
    split: Sequences,
    identity: Identity,
    name: str,
    rates: Sequence[float],
    evaluations: int,
    *,
    sequences: int | None = None,
    seed: int = 0,
    batch_size: int = 500,
    backend: str = "auto",
    advance: Advance = silent,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of grid.csv (means over the repetitions) and rows of repeats.csv (every repetition).

    Where an evaluation takes a part of the split, each takes the next part of one shuffled order, so that the
    means stand for the whole split and compare with the other models'.

    Args:
        model: the dense model trained with random masks.
        split: the sequences.
        identity: with model "random".
        name: val or test.
        rates: shares of the inputs to take, in [0, 1].
        evaluations: masks drawn for each rate.
        sequences: how many an evaluation takes; None is all.
        seed: of the masks, which depend on it, the split, the rate's place and the repetition alone.
        batch_size, backend, advance: as in ``run_sequences``.
    """
    means: list[dict[str, Any]] = []
    repeats: list[dict[str, Any]] = []
    for place, rate in enumerate(rates):
        runs: list[list[dict[str, Any]]] = []
        for repetition in range(evaluations):
            part = next_part(split, sequences, repetition)
            key = np.random.SeedSequence([seed, SPLIT_SEEDS.get(name, 0), place, repetition])
            generator = torch.Generator().manual_seed(int(key.generate_state(1)[0]))
            lengths = torch.from_numpy(np.array(part.lengths))
            updates = random_updates(lengths, part.inputs.shape[1], rate, generator).numpy()
            results = run_sequences(
                model, part, window=identity.count_window, updates=updates, batch_size=batch_size,
                backend=backend, advance=advance,
            )  # fmt: skip
            runs.append(result_rows(identity, None, name, results))
        covered = min(len(split.targets), evaluations * len(part.targets))
        means += [row | {"sequences": covered} for row in _means(runs)]
        repeats += [
            {"rate": rate, "repetition": repetition} | {key: row[key] for key in REPEAT_COLUMNS if key in row}
            for repetition, run in enumerate(runs)
            for row in run
        ]
    return means, repeats


def some_sequences(split: Sequences, limit: int | None) -> Sequences:
    """At most ``limit`` sequences drawn without replacement, always the same, in the split's order.

    Splits may be sorted by class or recording, so that the first ones would not stand for the rest.
    """
    return next_part(split, limit, 0)


def next_part(split: Sequences, size: int | None, number: int) -> Sequences:
    """Part ``number`` of a split that was shuffled once and is taken ``size`` by ``size``, round and
    round."""
    count = len(split.targets)
    if size is None or size >= count:
        return split
    order = np.random.default_rng(ORDER_SEED).permutation(count)
    rows = np.sort(order[(number * size + np.arange(size)) % count])
    return Split(split.inputs[rows], split.targets[rows], split.lengths[rows])


def _means(runs: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Row by row, the means over the repetitions, and the most inputs in any window of any of them."""
    rows = []
    for same in zip(*runs, strict=True):
        averaged = ("value", "loss", "inputs_processed", "inputs_processed_std")
        means = {key: float(np.mean([row[key] for row in same])) for key in averaged}
        most = max(row["max_inputs_in_window"] for row in same)
        rows.append(same[0] | means | {"max_inputs_in_window": most})
    return rows
