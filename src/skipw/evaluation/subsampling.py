"""The two naive baselines: inputs at random, or at regular intervals (paper, section 4.1, figures 3, 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from skipw.evaluation.grid import Identity, result_rows
from skipw.evaluation.progress import Advance, silent
from skipw.evaluation.sequence_results import Sequences, run_sequences
from skipw.models.baselines import periodic_updates, random_updates

__all__ = ["REPEAT_COLUMNS", "periodic_rows", "random_rows"]

REPEAT_COLUMNS = (
    "experiment", "dataset", "rate", "repetition", "split", "metric", "value", "inputs_processed",
)  # fmt: skip
SPLIT_SEEDS = {"val": 1, "test": 2}


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
    seed: int = 0,
    batch_size: int = 500,
    backend: str = "auto",
    advance: Advance = silent,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of grid.csv (means over the repetitions) and rows of repeats.csv (every repetition).

    Args:
        model: the dense model trained with random masks.
        split: the sequences.
        identity: with model "random".
        name: val or test.
        rates: shares of the inputs to take, in [0, 1].
        evaluations: masks drawn for each rate.
        seed: of the masks, which depend on it, the split, the rate's place and the repetition alone.
        batch_size, backend, advance: as in ``run_sequences``.
    """
    lengths = torch.from_numpy(np.array(split.lengths))
    means: list[dict[str, Any]] = []
    repeats: list[dict[str, Any]] = []
    for place, rate in enumerate(rates):
        runs: list[list[dict[str, Any]]] = []
        for repetition in range(evaluations):
            if runs and rate in (0.0, 1.0):  # nothing is left to chance
                runs.append(runs[0])
                advance(len(split.targets))
                continue
            stream = np.random.SeedSequence([seed, SPLIT_SEEDS.get(name, 0), place, repetition])
            generator = torch.Generator().manual_seed(int(stream.generate_state(1)[0]))
            updates = random_updates(lengths, split.inputs.shape[1], rate, generator).numpy()
            results = run_sequences(
                model, split, window=identity.count_window, updates=updates, batch_size=batch_size,
                backend=backend, advance=advance,
            )  # fmt: skip
            runs.append(result_rows(identity, None, name, results))
        means += _means(runs)
        repeats += [
            {"rate": rate, "repetition": repetition} | {key: row[key] for key in REPEAT_COLUMNS if key in row}
            for repetition, run in enumerate(runs)
            for row in run
        ]
    return means, repeats


def _means(runs: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Row by row, the means over the repetitions, and the most inputs in any window of any of them."""
    rows = []
    for same in zip(*runs, strict=True):
        averaged = ("value", "loss", "inputs_processed", "inputs_processed_std")
        means = {key: float(np.mean([row[key] for row in same])) for key in averaged}
        most = max(row["max_inputs_in_window"] for row in same)
        rows.append(same[0] | means | {"max_inputs_in_window": most})
    return rows
