"""The prepared form of every data set: three splits of plain arrays and one meta.json, in one folder.

``{train,val,test}_inputs.npy`` Float32[n, T, D] normalised, or Int32[n, T] token ids (0 = padding, at the
end); ``*_targets.npy`` Int64[n] classes or Float32[n]; ``*_lengths.npy`` Int64[n], inputs before the padding.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skipw.data.atomic import replaced_folder, write_json
from skipw.errors import DataFormatError

SPLITS = ("train", "val", "test")
#: A data set itself, from wherever it was fetched; every other data_source is other data.
GENUINE_SOURCES = ("official", "mirror", "registry")
ARRAYS = ("inputs", "targets", "lengths")
REQUIRED_KEYS = (
    "dataset", "title", "data_source", "task", "metric", "classes", "input_size", "num_steps", "sizes",
    "normaliser", "preprocessing", "constant_predictor",
)  # fmt: skip
REMEDY = "run `python pipelines/prepare.py <dataset>` again"


@dataclass(frozen=True)
class Split:
    """One split of a prepared data set.

    Attributes:
        inputs: Float32[n, T, D], or Int32[n, T] token ids.
        targets: Int64[n] classes from 0, or Float32[n].
        lengths: Int64[n], between 1 and T.
    """

    inputs: npt.NDArray[Any]
    targets: npt.NDArray[Any]
    lengths: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.targets)


def full_lengths(inputs: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Int64[n], T for every sequence: nothing is padded."""
    return np.full(len(inputs), inputs.shape[1], dtype=np.int64)


def save_prepared(
    folder: Path, splits: dict[str, Split], meta: dict[str, Any], extra: dict[str, Any]
) -> None:
    """Write a prepared data set; the folder appears complete or not at all.

    Args:
        folder: for example ``data/prepared/mnist``; replaced if it exists.
        splits: one Split for each of train, val and test.
        meta: content of meta.json; ``sizes`` and ``constant_predictor`` are added here.
        extra: further files by name: arrays for ``.npy``, JSON values for ``.json``.
    Raises:
        DataFormatError: if a split is empty or its arrays disagree.
    """
    for name in SPLITS:
        _check_split(name, splits[name], meta)
    sizes = {name: len(splits[name]) for name in SPLITS}
    full = {**meta, "sizes": sizes, "constant_predictor": _constant_predictor(splits, meta["task"])}
    if full["task"] == "classification":
        full["majority_class_share"] = full["constant_predictor"]
    missing = [key for key in REQUIRED_KEYS if key not in full]
    if missing:
        raise DataFormatError(f"meta.json of {folder} lacks {', '.join(missing)}")
    with replaced_folder(folder) as fresh:
        for name in SPLITS:
            for array in ARRAYS:
                np.save(fresh / f"{name}_{array}.npy", getattr(splits[name], array), allow_pickle=False)
        for name, content in extra.items():
            if name.endswith(".npy"):
                np.save(fresh / name, content, allow_pickle=False)
            else:
                write_json(fresh / name, content)
        write_json(fresh / "meta.json", full)


def _check_split(name: str, split: Split, meta: dict[str, Any]) -> None:
    n = len(split)
    if n == 0:
        raise DataFormatError(
            f"{meta['dataset']}: the {name} split is empty; the source holds too few sequences"
        )
    if len(split.inputs) != n or len(split.lengths) != n:
        counts = f"{len(split.inputs)} inputs, {n} targets, {len(split.lengths)} lengths"
        raise DataFormatError(f"{meta['dataset']}: the {name} split has {counts}; they must be as many")
    if split.lengths.min() < 1 or split.lengths.max() > split.inputs.shape[1]:
        raise DataFormatError(f"{meta['dataset']}: lengths of {name} must lie in 1..{split.inputs.shape[1]}")
    if meta["task"] == "classification":
        low, high, classes = int(split.targets.min()), int(split.targets.max()), len(meta["classes"])
        if low < 0 or high >= classes:
            raise DataFormatError(
                f"{meta['dataset']}: classes of {name} reach {low}..{high}, expected 0..{classes - 1}"
            )


def _constant_predictor(splits: dict[str, Split], task: str) -> dict[str, float]:
    """What the best constant answer scores, in the metric.

    Accuracy: the share of the split's own largest class. MSE: that of always answering train's mean.
    """
    if task == "classification":
        counts = {name: np.bincount(splits[name].targets) for name in ("val", "test")}
        return {name: float(count.max() / count.sum()) for name, count in counts.items()}
    mean = float(np.mean(splits["train"].targets, dtype=np.float64))
    return {
        name: float(np.mean((splits[name].targets.astype(np.float64) - mean) ** 2))
        for name in ("val", "test")
    }


def load_meta(folder: Path) -> dict[str, Any]:
    """The content of meta.json.

    Raises:
        DataFormatError: if the file is missing, is not JSON or lacks a key.
    """
    path = Path(folder) / "meta.json"
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataFormatError(f"{path}: no prepared data set here ({error}); {REMEDY}") from error
    missing = (
        [key for key in REQUIRED_KEYS if key not in meta] if isinstance(meta, dict) else list(REQUIRED_KEYS)
    )
    if missing:
        raise DataFormatError(f"{path}: lacks the keys {', '.join(missing)}; {REMEDY}")
    return meta


def load_split(folder: Path, split: str, limit: int | None = None) -> Split:
    """Read one split; inputs stay on disk (memory-mapped) until they are used.

    Args:
        folder: for example ``data/prepared/mnist``.
        split: train, val or test.
        limit: only the first this many sequences; None is all.
    Raises:
        DataFormatError: if a file is missing or damaged, or the arrays disagree.
    """
    if split not in SPLITS:
        raise DataFormatError(f"a split is one of {', '.join(SPLITS)}; got {split!r}")
    if limit is not None and limit < 1:
        raise DataFormatError(f"limit must be at least 1 or None; got {limit}")
    inputs, targets, lengths = (_load_array(Path(folder) / f"{split}_{array}.npy", array) for array in ARRAYS)
    if not len(inputs) == len(targets) == len(lengths):
        counts = f"{len(inputs)} inputs, {len(targets)} targets and {len(lengths)} lengths"
        raise DataFormatError(f"{folder}: {split} has {counts}; {REMEDY}")
    return Split(inputs[:limit], targets[:limit], lengths[:limit])


def _load_array(path: Path, name: str) -> npt.NDArray[Any]:
    try:
        return np.load(path, mmap_mode="r" if name == "inputs" else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataFormatError(f"{path}: not a readable array ({error}); {REMEDY}") from error


def load_embedding(folder: Path) -> npt.NDArray[np.float32]:
    """Float32[V, E], row i the vector of token id i; row 0, the padding, is zero (text data sets only)."""
    return np.asarray(_load_array(Path(folder) / "embedding.npy", "embedding"), dtype=np.float32)


def load_vocabulary(folder: Path) -> list[str]:
    """The tokens by id (text data sets only)."""
    path = Path(folder) / "vocabulary.json"
    try:
        return [str(token) for token in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise DataFormatError(f"{path}: not a readable vocabulary ({error}); {REMEDY}") from error
