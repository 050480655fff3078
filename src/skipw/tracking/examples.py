"""Input examples that are logged with each version: made up, so that no data set's content is passed on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from skipw.data.tokeniser import tokenise

__all__ = ["example_sequences", "input_example"]

SENTENCES = (
    "It's a moving film, and the actors don't put a foot wrong.",
    "Two hours of my life that I won't get back: dull, loud and far too long!",
    "Not great, not terrible; the ending saves it.",
)


def input_example(description: Mapping[str, Any], sequences: int) -> pd.DataFrame:
    """Sequences of two lengths, in the raw units of the data set.

    Args:
        description: model.json.
        sequences: how many.
    Returns:
        The column ``sequence``: texts, or lists of rows of D numbers.
    """
    if description.get("vocabulary"):
        return pd.DataFrame({"sequence": [SENTENCES[i % len(SENTENCES)] for i in range(sequences)]})
    normaliser = description["normaliser"]
    rng = np.random.default_rng(0)
    lengths = [20 if i % 2 == 0 else 12 for i in range(sequences)]
    frames = [_frames(normaliser, str(description["dataset"]), length, rng) for length in lengths]
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


def _frames(normaliser: Mapping[str, Any], dataset: str, length: int, rng: np.random.Generator) -> Any:
    """Float[length, D]."""
    width = int(normaliser["input_size"])
    if dataset == "adding":  # a number, and a mark at the two that are to be added
        marks = np.zeros((length, 1))
        marks[rng.choice(length, 2, replace=False)] = 1.0
        return np.hstack([rng.uniform(0.0, 1.0, (length, 1)), marks])
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
