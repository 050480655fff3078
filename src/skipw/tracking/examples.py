"""Input examples that are logged with each version: made up, so that no data set's content is passed on.

A sentence for texts, a digit drawn with straight strokes for MNIST, a person of the simulator for poses, two marked
numbers for the Adding Task.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from skipw.data.adding import generate
from skipw.data.tokeniser import tokenise

__all__ = ["example_sequences", "input_example"]

SENTENCES = (
    "It's a moving film, and the actors don't put a foot wrong.",
    "Two hours of my life that I won't get back: dull, loud and far too long!",
    "Not great, not terrible; the ending saves it.",
)


#: Digits as strokes between places (column, row) in a square of side 1, in the order in which they are examples.
DIGITS: dict[int, tuple[tuple[float, float], ...]] = {
    7: ((0.28, 0.22), (0.74, 0.22), (0.46, 0.80)),
    1: ((0.54, 0.20), (0.48, 0.80)),
    4: ((0.40, 0.22), (0.28, 0.54), (0.72, 0.54), (0.64, 0.34), (0.60, 0.82)),
}
PEN = 0.045  # half the width of a stroke


def input_example(description: Mapping[str, Any], sequences: int) -> pd.DataFrame:
    """Sequences in the raw units of the data set, of two lengths where nothing tells how long they are.

    Args:
        description: model.json.
        sequences: how many.
    Returns:
        The column ``sequence``: texts, or lists of rows of D numbers.
    """
    if description.get("vocabulary"):
        return pd.DataFrame({"sequence": [SENTENCES[i % len(SENTENCES)] for i in range(sequences)]})
    normaliser, dataset = description["normaliser"], str(description["dataset"])
    preprocessing = description.get("preprocessing") or {}
    rng = np.random.default_rng(0)
    if "image_size" in preprocessing:
        shown = [list(DIGITS)[i % len(DIGITS)] for i in range(sequences)]
        frames = [255.0 * _drawn(digit, int(preprocessing["image_size"])) for digit in shown]
    elif description.get("data_source") == "har-simulator":
        frames = _simulated(sequences)
    else:
        usual = int(preprocessing.get("num_steps") or 0)  # of the Adding Task
        lengths = [usual or (20 if i % 2 == 0 else 12) for i in range(sequences)]
        frames = [_frames(normaliser, dataset, length, rng) for length in lengths]
    return pd.DataFrame({"sequence": [np.round(values, 3).tolist() for values in frames]})


def example_sequences(description: Mapping[str, Any], tries: int = 20) -> Iterator[list[Any]]:
    """Single sequences of three windows or more, in the raw units of the data set.

    Args:
        description: model.json.
        tries: how many.
    Returns:
        Words, or rows of D numbers; a different sequence each time.
    """
    window = int(description["architecture"].get("window") or 0)
    length = max(24, 3 * window)
    vocabulary = description.get("vocabulary")
    if vocabulary:
        words = [token for sentence in SENTENCES for token in tokenise(sentence)]
        for shift in range(tries):
            yield [words[(shift + place) % len(words)] for place in range(length)]
    elif description["architecture"].get("vocabulary_size"):
        rng = np.random.default_rng(0)
        for _ in range(tries):
            yield rng.integers(1, description["architecture"]["vocabulary_size"], length).tolist()
    else:
        width = int(description["architecture"]["input_size"])
        normaliser = description.get("normaliser") or {"kind": "none", "input_size": width}
        rng = np.random.default_rng(0)
        for _ in range(tries):
            frames = _frames(normaliser, str(description.get("dataset")), length, rng)
            yield np.round(frames, 3).tolist()


def _drawn(digit: int, size: int) -> Any:
    """A digit as intensities Float[size * size, 1] in [0, 1], row by row."""
    centres = (np.arange(size) + 0.5) / size
    pixels = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2)
    nearest = np.full(len(pixels), np.inf)
    corners = np.asarray(DIGITS[digit])
    for start, end in itertools.pairwise(corners):
        along = np.clip((pixels - start) @ (end - start) / np.sum((end - start) ** 2), 0, 1)
        distance = np.linalg.norm(pixels - start - along[:, np.newaxis] * (end - start), axis=1)
        nearest = np.minimum(nearest, distance)
    return np.clip(1.5 - nearest / (2 * PEN), 0, 1)[:, np.newaxis]


def _simulated(sequences: int) -> list[Any]:
    """Windows of 32 frames of people whom no model saw: the simulator's, from another seed."""
    from skipw.data.har import NUM_STEPS
    from skipw.data.simulator import SEED, plan, record

    recordings = plan(SEED + 1)
    chosen = [recordings[i * len(recordings) // sequences] for i in range(sequences)]
    begin = NUM_STEPS // 2  # they stand still at first
    return [pose[begin : begin + NUM_STEPS] for pose in record(chosen, SEED + 1)]


def _frames(normaliser: Mapping[str, Any], dataset: str, length: int, rng: np.random.Generator) -> Any:
    """Float[length, D]."""
    width = int(normaliser["input_size"])
    if dataset == "adding":
        return generate(1, length, rng, balanced=False).inputs[0].astype(np.float64)
    if normaliser["kind"] == "scale":  # intensities
        return np.clip(rng.uniform(-0.5, 1.0, (length, width)), 0, 1) * np.asarray(normaliser["scale"])
    if normaliser["kind"] == "standard":
        return np.asarray(normaliser["mean"]) + np.asarray(normaliser["scale"]) * rng.normal(
            0, 0.5, (length, width)
        )
    joints = rng.uniform(
        [200.0, 100.0], [400.0, 700.0], (1, (width + 1) // 2, 2)
    )  # a body in pixels, swaying
    sway = 20.0 * np.sin(np.linspace(0, 6, length))[:, None, None]
    return (joints + sway).reshape(length, -1)[:, :width]
