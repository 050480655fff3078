"""The Adding Task: the sum of the two marked values of a sequence (paper, appendices A and D).

Each input is (value, marker): values uniform in [-0.5, 0.5), markers 0 but for two ones, the first in the
first tenth of the sequence, the second in its last half. Two of 50 inputs matter; the variance of the answer
is 1/6.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from skipw.data.normaliser import Normaliser
from skipw.data.prepared import Split, full_lengths, save_prepared
from skipw.errors import ParamsError

VARIANCE = 1 / 6  # two values of variance 1/12; "solved" is a true MSE below a hundredth of it


def marker_ranges(num_steps: int) -> tuple[range, range]:
    """Where the first and where the second marker can stand (for 50 steps 0..4 and 25..49: 125 pairs)."""
    if num_steps < 2:
        raise ParamsError(f"the Adding Task needs at least 2 steps; got num_steps={num_steps}")
    return range(max(1, num_steps // 10)), range((num_steps + 1) // 2, num_steps)


def generate(num_sequences: int, num_steps: int, rng: np.random.Generator, *, balanced: bool) -> Split:
    """Draw sequences of the Adding Task.

    Args:
        num_sequences: how many, at least 1.
        num_steps: T, at least 2.
        rng: the source of randomness.
        balanced: True: every pair of marker places equally often, in turn, so that any first n sequences are
            balanced too (up to one of each pair); False: pairs drawn at random.
    Returns:
        inputs Float32[n, T, 2] (value, marker), targets Float32[n].
    """
    if num_sequences < 1:
        raise ParamsError(f"expected at least 1 sequence; got {num_sequences}")
    first, second = marker_ranges(num_steps)
    pairs = np.array([(a, b) for a in first for b in second])
    count = len(pairs)
    which = np.arange(num_sequences) % count if balanced else rng.integers(count, size=num_sequences)
    marked = pairs[which]
    inputs = np.zeros((num_sequences, num_steps, 2), dtype=np.float32)
    inputs[:, :, 0] = rng.random((num_sequences, num_steps), dtype=np.float32) - np.float32(0.5)
    rows = np.arange(num_sequences)
    targets: npt.NDArray[np.float64] = np.zeros(num_sequences)
    for column in (0, 1):
        inputs[rows, marked[:, column], 1] = 1.0
        targets += inputs[rows, marked[:, column], 0]
    return Split(inputs, targets.astype(np.float32), full_lengths(inputs))


def prepare_adding(out: Path, *, seed: int, num_steps: int, train: int, val: int, test: int) -> None:
    """Generate and write the splits, each from its own stream of random numbers; val and test balanced."""
    sizes = {"train": train, "val": val, "test": test}
    splits = {
        name: generate(size, num_steps, np.random.default_rng([seed, i]), balanced=name != "train")
        for i, (name, size) in enumerate(sizes.items())
    }
    meta = {
        "dataset": "adding",
        "title": "Adding Task",
        "data_source": "generated",
        "task": "regression",
        "metric": "mse",
        "classes": [],
        "input_size": 2,
        "num_steps": num_steps,
        "normaliser": Normaliser("none", 2).to_json(),
        "vocabulary_size": 0,
        "embedding_size": 0,
        "preprocessing": {
            "seed": seed,
            "num_steps": num_steps,
            "test_pairs_balanced": True,
            "variance": VARIANCE,
        },
    }
    save_prepared(out, splits, meta, {})
