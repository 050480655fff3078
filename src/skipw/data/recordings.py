"""Windows that belong together: finding recordings, joining them into named groups, holding out whole ones.

Windows overlap by 26 of 32 frames, so a random split of windows would put nearly the same sequence on both
sides. What several cameras saw at the same time, or one person's recordings, may belong together too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from skipw.errors import DataFormatError

PURE = 0.75  # share of the windows that have their recording's class, above which val is drawn class by class
OVERLAP = 26  # frames that a window shares with the next one of its recording


def find_recordings(inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Which recording each window is from, Int64[n] from 0: a new one starts where the overlap breaks."""
    goes_on = (inputs[:-1, -OVERLAP:] == inputs[1:, :OVERLAP]).all(axis=(1, 2))
    return np.concatenate([[0], np.cumsum(~goes_on)]).astype(np.int64)


def join_recordings(
    recordings: npt.NDArray[np.int64], names: Sequence[str]
) -> tuple[npt.NDArray[np.int64], int | None]:
    """Which named group each window is from, and the first window whose name breaks its recording in two.

    Args:
        recordings: Int64[n] from ``find_recordings``.
        names: of the n windows' groups, for example performance or person.
    Returns:
        Int64[n] from 0; an index into the windows, or None where every recording has one name.
    """
    _, groups = np.unique(np.asarray(names), return_inverse=True)
    broken = np.flatnonzero((recordings[1:] == recordings[:-1]) & (groups[1:] != groups[:-1]))
    return groups.astype(np.int64), int(broken[0]) + 1 if broken.size else None


def draw_recordings(
    labels: npt.NDArray[np.int64], recordings: npt.NDArray[np.int64], share: float, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Hold out whole recordings, about ``share`` of each class's windows, at least one and never all.

    Args:
        labels: Int64[n]; a recording counts for the class that most of its windows have. Where these make up
            less than three quarters (groups of persons who did everything), the share is that of all windows.
        recordings: Int64[n] from ``find_recordings``, or groups from ``join_recordings``.
        share: in (0, 1).
        rng: decides which.
    Returns:
        Bool[n], True where held out.
    Raises:
        DataFormatError: if no class has two recordings or groups.
    """
    held = np.zeros(recordings.max() + 1, dtype=bool)
    windows = np.bincount(recordings)
    classes = _recording_classes(labels, recordings)
    if (classes[recordings] == labels).mean() < PURE:
        classes = np.zeros_like(classes)
    for label in np.unique(classes):
        members = rng.permutation(np.flatnonzero(classes == label))
        target, taken = share * windows[members].sum(), 0
        for recording in members[:-1]:  # one always stays in training
            if taken and abs(taken + windows[recording] - target) >= abs(taken - target):
                continue
            held[recording] = True
            taken += windows[recording]
    if not held.any():
        raise DataFormatError("no class has two recordings or groups, so none can be held out for validation")
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
