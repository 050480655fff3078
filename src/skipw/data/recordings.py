"""Windows cut from one recording belong together: finding recordings, and holding out whole ones.

Windows overlap by 26 of 32 frames, so a random split of windows would put nearly the same sequence on both
sides.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skipw.errors import DataFormatError

OVERLAP = 26  # frames that a window shares with the next one of its recording


def find_recordings(inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Which recording each window is from, Int64[n] from 0: a new one starts where the overlap breaks."""
    goes_on = (inputs[:-1, -OVERLAP:] == inputs[1:, :OVERLAP]).all(axis=(1, 2))
    return np.concatenate([[0], np.cumsum(~goes_on)]).astype(np.int64)


def draw_recordings(
    labels: npt.NDArray[np.int64], recordings: npt.NDArray[np.int64], share: float, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Hold out whole recordings, about ``share`` of each class's windows, at least one and never all.

    Args:
        labels: Int64[n]; a recording counts for the class that most of its windows have.
        recordings: Int64[n] from ``find_recordings``.
        share: in (0, 1).
        rng: decides which.
    Returns:
        Bool[n], True where held out.
    Raises:
        DataFormatError: if no class has two recordings.
    """
    held = np.zeros(recordings.max() + 1, dtype=bool)
    windows = np.bincount(recordings)
    classes = _recording_classes(labels, recordings)
    for label in np.unique(classes):
        members = rng.permutation(np.flatnonzero(classes == label))
        target, taken = share * windows[members].sum(), 0
        for recording in members[:-1]:  # one always stays in training
            if taken and abs(taken + windows[recording] - target) >= abs(taken - target):
                continue
            held[recording] = True
            taken += windows[recording]
    if not held.any():
        raise DataFormatError("no class has two recordings, so none can be held out for validation")
    return held[recordings]


def _recording_classes(
    labels: npt.NDArray[np.int64], recordings: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    counts = np.zeros((recordings.max() + 1, labels.max() + 1), dtype=np.int64)
    np.add.at(counts, (recordings, labels), 1)
    return counts.argmax(axis=1)


def first_recordings(
    labels: npt.NDArray[np.int64],
    recordings: npt.NDArray[np.int64],
    limit: int | None,
    rng: np.random.Generator,
) -> npt.NDArray[np.bool_]:
    """Bool[n]: the windows of ``limit`` recordings drawn from all classes in turn; all of them for None."""
    if limit is None:
        return np.ones(len(labels), dtype=bool)
    classes = _recording_classes(labels, recordings)
    turn = np.empty(len(classes), dtype=np.int64)
    for label in np.unique(classes):
        members = rng.permutation(np.flatnonzero(classes == label))
        turn[members] = np.arange(len(members))
    chosen = np.lexsort((classes, turn))[:limit]
    return np.isin(recordings, chosen)
