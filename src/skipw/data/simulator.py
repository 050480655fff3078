"""Simulated 2D poses in the HAR text format, for where the paper's set cannot be had: a marked substitute.

12 people, 6 actions, 5 repetitions and 4 cameras, less two recordings: 1,438 of about 147 frames at 22 Hz, cut
into as many windows of each class for training and testing as the real set has. The test split is one
repetition of each person and action, from all cameras, so no test performance was seen from another side in
training; the groups' file names the performance of every training window, so that val can keep to that too.
"""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from skipw.data.actions import FRAMES_PER_SECOND, Style, perform
from skipw.data.cameras import CAMERAS, IMAGE, observe
from skipw.data.har import ACTIONS, GROUP_LIST, NUM_STEPS
from skipw.data.progress import track_steps
from skipw.data.recordings import OVERLAP
from skipw.data.stick_figure import Array, Body, joint_places

PEOPLE = 12
REPETITIONS = 5
LEFT_OUT = 2  # recordings that the real set lacks
STRIDE = NUM_STEPS - OVERLAP
SEED = 22
# Windows of each class in the real set's splits, in the order of ACTIONS.
WINDOWS = {"train": (2400, 3545, 4724, 4760, 5055, 2141), "test": (676, 783, 1216, 1320, 1313, 443)}

TENTHS = [f"{value / 10:g}" for value in range(10 * max(IMAGE) + 1)]  # every coordinate there is, as text


@dataclass(frozen=True)
class Recording:
    """One repetition of an action by one person, seen by one camera."""

    person: int
    action: int
    repetition: int
    camera: int
    split: str
    windows: int
    spare: int  # frames after the last window, 0 to 5

    @property
    def num_frames(self) -> int:
        return NUM_STEPS + STRIDE * (self.windows - 1) + self.spare

    @property
    def performance(self) -> str:
        """Name of what all cameras saw at the same time."""
        return f"person{self.person + 1}-{ACTIONS[self.action].lower()}-{self.repetition + 1}"


def plan(seed: int = SEED, windows: dict[str, tuple[int, ...]] | None = None) -> list[Recording]:
    """All recordings of the set, with the wanted number of windows of each class in each split.

    Args:
        seed: of the plan.
        windows: windows of each class, by split; the real set's by default.
    """
    rng = np.random.default_rng([seed, 0])
    wanted = WINDOWS if windows is None else windows
    tested = rng.integers(REPETITIONS, size=(PEOPLE, len(ACTIONS)))
    cells = [
        (person, action, repetition, camera, "test" if tested[person, action] == repetition else "train")
        for person in range(PEOPLE)
        for action in range(len(ACTIONS))
        for repetition in range(REPETITIONS)
        for camera in range(len(CAMERAS))
    ]
    trained = [i for i, cell in enumerate(cells) if cell[4] == "train"]
    left_out = set(rng.choice(trained, LEFT_OUT, replace=False).tolist())
    cells = [cell for i, cell in enumerate(cells) if i not in left_out]
    pace = rng.uniform(0.85, 1.15, (PEOPLE, len(ACTIONS), REPETITIONS))
    recordings = []
    for split, per_class in wanted.items():
        for action, total in enumerate(per_class):
            group = [cell for cell in cells if cell[1] == action and cell[4] == split]
            counts = _shared_out(total, np.array([pace[cell[0], cell[1], cell[2]] for cell in group]), rng)
            spare = rng.integers(STRIDE, size=len(group))
            recordings += [
                Recording(*cell, int(n), int(s)) for cell, n, s in zip(group, counts, spare, strict=True)
            ]
    return sorted(recordings, key=lambda r: (r.action, r.person, r.repetition, r.camera))


def _shared_out(total: int, weight: Array, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Whole numbers of at least 1 that add up to ``total``, in proportion to the weights."""
    exact = np.maximum(weight / weight.sum() * total, 1.0)
    counts = np.floor(exact).astype(np.int64)
    while (gap := total - int(counts.sum())) != 0:
        movable = np.arange(len(counts)) if gap > 0 else np.flatnonzero(counts > 1)
        if len(movable) == 0:
            raise ValueError(f"{len(counts)} recordings cannot share {total} windows")
        counts[rng.permutation(movable)[: abs(gap)]] += np.sign(gap)
    return counts


def record(recordings: list[Recording], seed: int = SEED) -> list[npt.NDArray[np.float64]]:
    """Simulate recordings: pixels [T, 36] each, one decimal, missing joints (0, 0).

    Recordings of the same performance from several cameras show the same movement.
    """
    bodies = [Body.draw(np.random.default_rng([seed, 1, person])) for person in range(PEOPLE)]
    performances: dict[tuple[int, int, int], Array] = {}
    longest: dict[tuple[int, int, int], int] = {}
    for r in recordings:
        key = (r.person, r.action, r.repetition)
        longest[key] = max(longest.get(key, 0), r.num_frames)
    poses = []
    with track_steps("Simulating recordings", len(recordings)) as advance:
        for r in recordings:
            key = (r.person, r.action, r.repetition)
            if key not in performances:
                performances = {
                    key: _performance(bodies[r.person], *key, longest[key], seed)
                }  # only the latest
            rng = np.random.default_rng([seed, 3, *key, r.camera])
            seen = observe(CAMERAS[r.camera], performances[key][: r.num_frames], rng)
            poses.append(seen.reshape(r.num_frames, -1))
            advance(1)
    return poses


def _performance(body: Body, person: int, action: int, repetition: int, num_frames: int, seed: int) -> Array:
    """Places [T, 18, 3] of a person who performs an action, standing about the middle of the room."""
    style = Style.draw(body, np.random.default_rng([seed, 2, person, action]))
    rng = np.random.default_rng([seed, 2, person, action, repetition])
    posture = perform(ACTIONS[action], body, style, num_frames, rng)
    time = np.arange(num_frames) / FRAMES_PER_SECOND
    yaw = np.radians(
        rng.normal(0.0, 7.0) + 2.5 * np.sin(2 * np.pi * (time / rng.uniform(3, 7) + rng.random()))
    )
    sway = 0.012 * np.sin(2 * np.pi * (time[:, None] / rng.uniform(2, 5, 2) + rng.random(2)))
    return joint_places(body, posture, yaw, rng.normal(0.0, 0.16, 2) + sway)


def write_data_set(folder: Path, seed: int = SEED, windows: dict[str, tuple[int, ...]] | None = None) -> None:
    """Write X_train.txt.xz, Y_train.txt, X_test.txt.xz, Y_test.txt and the groups in the HAR text format.

    Args:
        folder: exists already.
        seed: another one makes other people and performances.
        windows: see ``plan``.
    """
    recordings = plan(seed, windows)
    poses = record(recordings, seed)
    for split in ("train", "test"):
        chosen = [(r, p) for r, p in zip(recordings, poses, strict=True) if r.split == split]
        with lzma.open(folder / f"X_{split}.txt.xz", "wb", preset=0) as file:
            for recording, frames in chosen:
                file.write(_windows_as_text(frames, recording.windows))
        labels = "".join(f"{recording.action + 1}\n" * recording.windows for recording, _ in chosen)
        (folder / f"Y_{split}.txt").write_text(labels, encoding="ascii", newline="\n")
    names = "".join(f"{r.performance}\n" * r.windows for r in recordings if r.split == "train")
    (folder / GROUP_LIST).write_text(names, encoding="ascii", newline="\n")


def _windows_as_text(frames: npt.NDArray[np.float64], windows: int) -> bytes:
    tenths = np.rint(frames * 10).astype(np.int64).tolist()
    lines = [",".join([TENTHS[value] for value in row]) + "\n" for row in tenths]
    starts = range(0, STRIDE * windows, STRIDE)
    return "".join(["".join(lines[start : start + NUM_STEPS]) for start in starts]).encode("ascii")
