"""Small prepared data sets, made by the tests, one of each kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skipw.data.adding import generate, prepare_adding
from skipw.data.normaliser import Normaliser
from skipw.data.prepared import Split, load_meta, save_prepared
from skipw.params import TrainSettings

CLASSES = ["falls", "rises", "stays"]


@pytest.fixture(scope="session")
def adding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Adding Task of 10 steps, 64 sequences that are both train and val: made to be overfitted."""
    folder = tmp_path_factory.mktemp("prepared") / "adding"
    prepare_adding(folder, seed=3, num_steps=10, train=64, val=5, test=5)
    meta = load_meta(folder)
    split = generate(64, 10, np.random.default_rng(3), balanced=True)
    save_prepared(folder, {"train": split, "val": split, "test": split}, meta, {})
    return folder


@pytest.fixture(scope="session")
def slopes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes, sequences of 4 to 12 inputs of width 3: the sign of the slope."""
    rng = np.random.default_rng(5)
    folder = tmp_path_factory.mktemp("prepared") / "har"

    def split(n: int) -> Split:
        targets = rng.integers(3, size=n)
        lengths = rng.integers(4, 13, size=n)
        time = np.arange(12, dtype=np.float32)[None, :, None] / 12
        inputs = rng.normal(0, 0.1, (n, 12, 3)).astype(np.float32)
        inputs = inputs + (targets[:, None, None] - 1) * np.float32(2) * time
        inputs[np.arange(12) >= lengths[:, None]] = 0
        return Split(inputs.astype(np.float32), targets.astype(np.int64), lengths.astype(np.int64))

    save_prepared(folder, {"train": split(96), "val": split(33), "test": split(9)}, _meta("har", 3), {})
    return folder


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of token sequences, told apart by the word 1 or 2 that stands somewhere in them."""
    rng = np.random.default_rng(7)
    folder = tmp_path_factory.mktemp("prepared") / "imdb"

    def split(n: int) -> Split:
        targets = rng.integers(2, size=n)
        lengths = rng.integers(3, 9, size=n)
        inputs = rng.integers(3, 12, size=(n, 8))
        inputs[np.arange(8) >= lengths[:, None]] = 0
        inputs[np.arange(n), rng.integers(3, size=n)] = targets + 1
        return Split(inputs.astype(np.int32), targets.astype(np.int64), lengths.astype(np.int64))

    vectors = rng.normal(size=(12, 5)).astype(np.float32)
    vectors[0] = 0
    meta = {**_meta("imdb", 5), "classes": ["bad", "good"], "vocabulary_size": 12, "embedding_size": 5}
    extra = {"embedding.npy": vectors, "vocabulary.json": [f"word{i}" for i in range(12)]}
    splits = {"train": split(96), "val": split(40), "test": split(8)}
    save_prepared(folder, splits, meta, extra)
    return folder


def _meta(dataset: str, width: int) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "title": f"Made for tests: {dataset}",
        "data_source": "generated",
        "task": "classification",
        "metric": "accuracy",
        "classes": CLASSES,
        "input_size": width,
        "num_steps": 12,
        "normaliser": Normaliser("none", width).to_json(),
        "vocabulary_size": 0,
        "embedding_size": 0,
        "preprocessing": {},
    }


@pytest.fixture
def settings() -> Callable[..., TrainSettings]:
    """``settings(dataset, model, **changes)``: small and quick."""

    def make(dataset: str, model: str = "skipw", **changes: Any) -> TrainSettings:
        values: dict[str, Any] = {
            "experiment": f"{dataset}-{model}",
            "hidden_size": 12,
            "window": 5,
            "steps": 20,
            "val_every": 10,
            "batch_size": 16,
            "eval_batch_size": 16,
            "learning_rate": 1e-2,
            **changes,
        }
        return TrainSettings(dataset=dataset, model=model, **values)

    return make
