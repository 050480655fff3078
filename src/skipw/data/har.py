"""The HAR text format: 2D poses in windows, read strictly; recordings found; val carved; inputs normalised.

One frame a row, ``x0,y0,x1,y1,...``; 32 rows a sequence; labels one a line, from 1. Windows of one recording
stand in order and overlap by 26 frames, so a recording ends where the overlap breaks. Any number of joints
and classes. A file of group names keeps what belongs together (a performance, a person) on one side of val.
"""

from __future__ import annotations

import logging
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from skipw.data.archives import read_packed
from skipw.data.normaliser import Normaliser
from skipw.data.prepared import Split, full_lengths, save_prepared
from skipw.data.recordings import (
    OVERLAP,
    draw_recordings,
    find_recordings,
    first_recordings,
    join_recordings,
)
from skipw.data.sources import require_record
from skipw.errors import DataFormatError, ParamsError

log = logging.getLogger(__name__)

NUM_STEPS = 32
ACTIONS = ("JUMPING", "JUMPING_JACKS", "BOXING", "WAVING_2HANDS", "WAVING_1HAND", "CLAPPING_HANDS")
CLASS_LIST = "classes.txt"  # optional, one name a line
GROUP_LIST = "groups_train.txt"  # optional, one name a training sequence: val takes all of a name or none
SPLIT_NAMES = ("train", "test")
STANDARD_CLIP = 3.0  # standard deviations
POSE_CLIP = 5.0  # body sizes
LABEL = re.compile(rb"[1-9]\d{0,5}")
REMEDY = "correct the file, or run `python pipelines/download.py har` again"


@dataclass(frozen=True)
class Poses:
    """One split as it comes: inputs Float32[n, 32, D] raw, labels Int64[n] from 0."""

    inputs: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


def find_file(folder: Path, name: str) -> Path:
    """``name``.txt or ``name``.txt.xz; raises DataFormatError if it is not in the folder."""
    for path in (folder / f"{name}.txt", folder / f"{name}.txt.xz"):
        if path.is_file():
            return path
    raise DataFormatError(f"{folder}: expected {name}.txt or {name}.txt.xz, found neither; {REMEDY}")


def read_folder(folder: Path, num_classes: int | None = None) -> dict[str, Poses]:
    """Both splits of a folder in the HAR format.

    Args:
        folder: with X_train, Y_train, X_test, Y_test, each .txt or .txt.xz.
        num_classes: labels must lie in 1..num_classes; None: as many as there are, without gaps in training.
    Raises:
        DataFormatError: names file, line and remedy.
        ChecksumError: if a packed file is damaged.
    """
    labels = {name: read_labels(find_file(folder, f"Y_{name}"), num_classes) for name in SPLIT_NAMES}
    if num_classes is None:
        _check_labels_complete(folder, labels)
    poses = {}
    for name in SPLIT_NAMES:
        path = find_file(folder, f"X_{name}")
        frames = read_frames(path)
        if len(frames) != NUM_STEPS * len(labels[name]):
            raise DataFormatError(
                f"{path}: has {len(frames):,} rows, expected {NUM_STEPS} for each of the "
                f"{len(labels[name]):,} labels "
                f"in Y_{name}, {NUM_STEPS * len(labels[name]):,}; {REMEDY}"
            )
        poses[name] = Poses(frames.reshape(-1, NUM_STEPS, frames.shape[1]), labels[name])
    widths = {name: poses[name].inputs.shape[2] for name in SPLIT_NAMES}
    if len(set(widths.values())) > 1:
        raise DataFormatError(
            f"{folder}: X_train has {widths['train']} columns, X_test {widths['test']}; {REMEDY}"
        )
    return poses


def _check_labels_complete(folder: Path, labels: dict[str, npt.NDArray[np.int64]]) -> None:
    seen = np.unique(labels["train"])
    missing = sorted(set(range(int(max(y.max() for y in labels.values())) + 1)) - set(seen.tolist()))
    if missing:
        raise DataFormatError(
            f"{folder}: labels reach {max(y.max() for y in labels.values()) + 1}, but "
            f"{missing[0] + 1} never occurs in "
            f"Y_train; number the classes from 1 without gaps, or name all of them in {CLASS_LIST}"
        )


def read_labels(path: Path, num_classes: int | None = None) -> npt.NDArray[np.int64]:
    """Labels, one a line from 1, as Int64[n] from 0.

    Raises:
        DataFormatError: if the file is empty, a line is no whole number or a label is out of range.
    """
    lines = _lines(path)
    for number, line in enumerate(lines, start=1):
        if LABEL.fullmatch(line.strip()) is None:
            said = line.strip()[:30].decode("utf-8", errors="replace")
            raise DataFormatError(
                f"{path}, line {number}: expected a label, a whole number from 1; got {said!r}; {REMEDY}"
            )
    labels = np.array([int(line) for line in lines], dtype=np.int64) - 1
    if num_classes is not None and labels.max() >= num_classes:
        number = int(np.argmax(labels >= num_classes))
        raise DataFormatError(
            f"{path}, line {number + 1}: label {labels[number] + 1} is out of range, there are "
            f"{num_classes} classes; {REMEDY}"
        )
    return labels


def read_frames(path: Path) -> npt.NDArray[np.float32]:
    """All rows of a file of poses, Float32[rows, D].

    Five of six rows repeat one of the window before, so only distinct lines are parsed.

    Raises:
        DataFormatError: if the file is empty, a row has another number of columns than the first, D is odd,
            or a value is no finite number.
    """
    lines = _lines(path)
    first_seen: dict[bytes, int] = {}
    which = np.fromiter(
        (first_seen.setdefault(line, len(first_seen)) for line in lines), np.int64, len(lines)
    )
    distinct = list(first_seen)
    columns = distinct[0].count(b",") + 1
    if columns % 2:
        raise DataFormatError(f"{path}, line 1: expected pairs x,y, got {columns} columns; {REMEDY}")
    for line in distinct:
        if line.count(b",") + 1 != columns:
            raise DataFormatError(
                f"{path}, line {lines.index(line) + 1}: has {line.count(b',') + 1} columns, line 1 "
                f"has {columns}; {REMEDY}"
            )
    values = _parse(distinct)
    if values is None or values.size != len(distinct) * columns or not np.isfinite(values).all():
        raise _bad_number(path, lines)
    return values.reshape(-1, columns).astype(np.float32)[which]


def _lines(path: Path) -> list[bytes]:
    lines = read_packed(path).replace(b"\r\n", b"\n").split(b"\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise DataFormatError(f"{path}: is empty; {REMEDY}")
    return lines


def _parse(lines: list[bytes]) -> npt.NDArray[np.float64] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # numpy's word for "stopped at something else"
        try:
            return np.fromstring(b",".join(lines), dtype=np.float64, sep=",")
        except (DeprecationWarning, ValueError):
            return None


def _bad_number(path: Path, lines: list[bytes]) -> DataFormatError:
    """The error for the first line that holds something else than finite numbers."""
    for number, line in enumerate(lines, start=1):
        for column, text in enumerate(line.split(b","), start=1):
            try:
                good = bool(np.isfinite(float(text)))
            except ValueError:
                good = False
            if not good:
                said = text.strip()[:30].decode("utf-8", errors="replace")
                return DataFormatError(
                    f"{path}, line {number}: expected a finite number in column {column}, got "
                    f"{said!r}; {REMEDY}"
                )
    return DataFormatError(f"{path}: expected numbers separated by single commas; {REMEDY}")


def read_groups(path: Path, recordings: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Which group each training sequence is from, Int64[n] from 0; its recording where there is no such file.

    Args:
        path: one name a line and sequence.
        recordings: Int64[n] of the same sequences.
    Raises:
        DataFormatError: if there are more or fewer names, one is empty, or a recording has two.
    """
    if not path.is_file():
        return recordings
    names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    if len(names) != len(recordings) or not all(names):
        raise DataFormatError(
            f"{path}: expected a group's name for each of the {len(recordings):,} training sequences, one a "
            f"line; got {sum(map(bool, names)):,}; {REMEDY}"
        )
    groups, broken = join_recordings(recordings, names)
    if broken is not None:
        raise DataFormatError(
            f"{path}, line {broken + 1}: {names[broken]!r} goes on in the recording of "
            f"{names[broken - 1]!r} (the sequences overlap); a recording belongs to one group; {REMEDY}"
        )
    return groups


def missing_value(inputs: npt.NDArray[np.float32]) -> float | None:
    """How an unseen joint is written: 0 (OpenPose) or -1, whichever is more frequent; None if neither."""
    joints = inputs.reshape(-1, 2)
    counts = {value: int((joints == value).all(axis=1).sum()) for value in (0.0, -1.0)}
    value = max(counts, key=lambda v: counts[v])
    return value if counts[value] else None


def fit_normaliser(kind: Literal["pose", "standard", "none"], inputs: npt.NDArray[np.float32]) -> Normaliser:
    """The normaliser for these training inputs, Float32[n, 32, D] raw."""
    missing = missing_value(inputs)
    match kind:
        case "standard":
            return Normaliser.fit_standard(inputs, missing=missing, clip=STANDARD_CLIP)
        case "pose":
            return Normaliser("pose", inputs.shape[-1], clip=POSE_CLIP, missing=missing)
        case "none":
            return Normaliser("none", inputs.shape[-1])
    raise ParamsError(f"prepare.har.normaliser is pose, standard or none; got {kind!r}")


def prepare_har(
    raw: Path, out: Path, *, seed: int, val_share: float, normaliser: Literal["pose", "standard", "none"],
    train_limit: int | None = None, test_limit: int | None = None,
) -> None:  # fmt: skip
    """Write the three splits; val is whole recordings or groups out of train, and test is only for testing.

    Every split is in a random order that the seed fixes, so its first n are a sample. ``train_limit`` and
    ``test_limit`` count recordings.

    Raises:
        DataFormatError, ChecksumError: if the files are not what they should be.
    """
    record = require_record(raw)
    classes = record["parts"]["poses"]["classes"]
    poses = read_folder(raw, len(classes))
    rng = np.random.default_rng(seed)
    recordings = {name: find_recordings(poses[name].inputs) for name in SPLIT_NAMES}
    if recordings["train"].max() + 1 == len(poses["train"].labels):
        log.warning(
            "%s: no windows overlap by %d frames; each is taken for a recording", record["title"], OVERLAP
        )
    kept = {
        name: first_recordings(poses[name].labels, recordings[name], limit, rng)
        for name, limit in (("train", train_limit), ("test", test_limit))
    }
    train = Poses(poses["train"].inputs[kept["train"]], poses["train"].labels[kept["train"]])
    _, own = np.unique(recordings["train"][kept["train"]], return_inverse=True)
    groups = read_groups(raw / GROUP_LIST, recordings["train"])[kept["train"]]
    held = draw_recordings(train.labels, np.unique(groups, return_inverse=True)[1], val_share, rng)
    normalise = fit_normaliser(normaliser, train.inputs[~held])

    def split(source: Poses, rows: npt.NDArray[np.bool_]) -> Split:
        order = rng.permutation(np.flatnonzero(rows))
        inputs = normalise(source.inputs[order])
        return Split(inputs, source.labels[order], full_lengths(inputs))

    splits = {
        "train": split(train, ~held),
        "val": split(train, held),
        "test": split(poses["test"], kept["test"]),
    }
    counts = {"train": np.unique(own[~held]).size, "val": np.unique(own[held]).size}
    counts["test"] = np.unique(recordings["test"][kept["test"]]).size
    in_groups = {"train": np.unique(groups[~held]).size, "val": np.unique(groups[held]).size}
    meta = {
        "dataset": "har",
        "title": record["title"],
        "data_source": record["data_source"],
        "task": "classification",
        "metric": "accuracy",
        "classes": classes,
        "input_size": int(train.inputs.shape[2]),
        "num_steps": NUM_STEPS,
        "normaliser": normalise.to_json(),
        "vocabulary_size": 0,
        "embedding_size": 0,
        "preprocessing": {"seed": seed, "val_share": val_share, "recordings": counts, "groups": in_groups},
    }
    save_prepared(out, splits, meta, {})
