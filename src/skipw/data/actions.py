"""How the six actions are performed: postures at key moments of a cycle, blended with standing still.

A performance starts and ends standing; in between, cycles follow one another with varying length and size,
from a random phase. Every person has their own way of doing each action.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skipw.data.stick_figure import FIRST_ANGLE, LEFT_ARM, POSTURE, RIGHT_ARM, Array, Body

FRAMES_PER_SECOND = 22.0

HANGING = (8.0, 20.0, 16.0, 60.0)  # an arm at rest, degrees
STANDING = (0.01, 0.0, 0.03, 0.0, 2.0, 0.0, *HANGING, *HANGING)

Keyframe = tuple[float, tuple[float, ...]]  # phase in [0, 1), posture in metres and degrees


def _posture(
    body: tuple[float, ...], right: tuple[float, ...], left: tuple[float, ...] | None = None
) -> tuple[float, ...]:
    return (*body, *right, *(right if left is None else left))


GUARD = (38.0, 55.0, 148.0, 100.0)
PUNCH = (84.0, 88.0, 90.0, 98.0)
# Each cycle: (seconds at average tempo, key moments). Body: drop, lift, spread, stagger in m; lean, twist in
# degrees.
CYCLES: dict[str, tuple[float, tuple[Keyframe, ...]]] = {
    "JUMPING": (
        1.40,
        (
            (0.00, STANDING),
            (0.24, _posture((0.26, 0.0, 0.05, 0.0, 34, 0), (-38, 90, -10, 90))),
            (0.40, _posture((0.00, 0.03, 0.05, 0.0, 6, 0), (120, 80, 135, 90))),
            (0.50, _posture((0.03, 0.33, 0.05, 0.0, 2, 0), (140, 75, 150, 85))),
            (0.60, _posture((0.02, 0.04, 0.05, 0.0, 4, 0), (95, 75, 105, 85))),
            (0.70, _posture((0.20, 0.0, 0.06, 0.0, 24, 0), (35, 70, 55, 85))),
            (0.86, STANDING),
        ),
    ),
    "JUMPING_JACKS": (
        1.05,
        (
            (0.00, _posture((0.05, 0.0, 0.03, 0.0, 3, 0), (10, 10, 12, 20))),
            (0.25, _posture((0.00, 0.09, 0.16, 0.0, 2, 0), (88, 8, 92, 10))),
            (0.50, _posture((0.04, 0.0, 0.30, 0.0, 2, 0), (158, 10, 184, 12))),
            (0.75, _posture((0.00, 0.08, 0.16, 0.0, 2, 0), (90, 8, 95, 10))),
        ),
    ),
    "BOXING": (
        1.10,
        (
            (0.00, _posture((0.06, 0.0, 0.08, 0.10, 5, 0), GUARD)),
            (0.20, _posture((0.07, 0.0, 0.08, 0.10, 8, 26), PUNCH, GUARD)),
            (0.40, _posture((0.06, 0.0, 0.08, 0.10, 5, 0), GUARD)),
            (0.50, _posture((0.06, 0.0, 0.08, 0.10, 5, 0), GUARD)),
            (0.70, _posture((0.07, 0.0, 0.08, 0.10, 8, -26), GUARD, PUNCH)),
            (0.90, _posture((0.06, 0.0, 0.08, 0.10, 5, 0), GUARD)),
        ),
    ),
    "WAVING_2HANDS": (
        0.80,
        (
            (0.00, _posture((0.01, 0.0, 0.04, 0.0, 1, 0), (118, 20, 146, 30))),
            (0.50, _posture((0.01, 0.0, 0.04, 0.0, 1, 0), (126, 20, 202, 30))),
        ),
    ),
    "WAVING_1HAND": (
        0.76,
        (
            (0.00, _posture((0.01, 0.0, 0.04, 0.0, 1, 0), (112, 20, 146, 30), HANGING)),
            (0.50, _posture((0.01, 0.0, 0.04, 0.0, 1, 0), (120, 20, 202, 30), HANGING)),
        ),
    ),
    "CLAPPING_HANDS": (
        0.62,
        (
            (0.00, _posture((0.01, 0.0, 0.03, 0.0, 2, 0), (42, 42, 84, 74))),
            (0.50, _posture((0.01, 0.0, 0.03, 0.0, 2, 0), (32, 74, 82, 134))),
        ),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Style:
    """One person's way of performing one action: an offset of the posture and factors on size and tempo."""

    offset: Array
    size: float
    tempo: float

    @classmethod
    def draw(cls, body: Body, rng: np.random.Generator) -> Style:
        offset = np.zeros(len(POSTURE))
        both = rng.normal(0.0, 9.0, 4)  # arms are much alike, not quite
        offset[RIGHT_ARM] = both + rng.normal(0.0, 3.0, 4)
        offset[LEFT_ARM] = both + rng.normal(0.0, 3.0, 4)
        offset[FIRST_ANGLE] = rng.normal(0.0, 2.0)
        return cls(
            offset, body.vigour * float(rng.uniform(0.9, 1.1)), body.tempo * float(rng.uniform(0.93, 1.07))
        )


def perform(action: str, body: Body, style: Style, num_frames: int, rng: np.random.Generator) -> Array:
    """One repetition of an action.

    Args:
        action: a key of CYCLES.
        body: who performs it; left-handed people wave with the left hand.
        style: how this person does it.
        num_frames: T at 22 frames a second.
        rng: varies each repetition.
    Returns:
        Postures [T, 14] in metres and radians.
    """
    seconds, keyframes = CYCLES[action]
    phase = _phases(num_frames, seconds / style.tempo, rng)
    moving = _between_keyframes(keyframes, phase % 1.0)
    centre = np.mean([posture for _, posture in keyframes], axis=0)
    size = style.size * (1.0 + _wander(num_frames, 0.06, rng))[:, None]
    moving = centre + size * (moving - centre) + style.offset + rng.normal(0.0, 3.0, len(POSTURE)) * _angles()
    moving[:, 1] = np.maximum(moving[:, 1], 0.0)  # feet don't sink into the floor
    standing = np.array(STANDING) + 0.4 * style.offset * _angles()
    share = _activity(num_frames, rng)[:, None]
    posture = share * moving + (1.0 - share) * standing
    posture += _angles() * np.stack([_wander(num_frames, 2.0, rng) for _ in POSTURE], axis=1)
    if body.left_handed and action in ("WAVING_1HAND", "BOXING"):
        posture = _mirrored(posture)
    posture[:, FIRST_ANGLE:] = np.radians(posture[:, FIRST_ANGLE:])
    posture[:, :FIRST_ANGLE] *= body.height / 1.72
    return posture


def _angles() -> Array:
    """1 for the columns of a posture that are angles, 0 for lengths."""
    return (np.arange(len(POSTURE)) >= FIRST_ANGLE).astype(np.float64)


def _phases(num_frames: int, seconds: float, rng: np.random.Generator) -> Array:
    """Cycles done at each frame: from a random start, each cycle up to some 15 % longer or shorter."""
    count = int(num_frames / (seconds * FRAMES_PER_SECOND) * 2) + 3
    lengths = seconds * FRAMES_PER_SECOND * np.clip(rng.normal(1.0, 0.07, count), 0.8, 1.25)
    starts = np.concatenate([[0.0], np.cumsum(lengths)])
    return np.interp(np.arange(num_frames) + rng.uniform(0.0, lengths[0]), starts, np.arange(count + 1.0))


def _between_keyframes(keyframes: tuple[Keyframe, ...], phase: Array) -> Array:
    """Postures [T, 14] in degrees: the key moments joined by half cosine waves."""
    moments = np.array([moment for moment, _ in keyframes] + [1.0])
    postures = np.array([posture for _, posture in keyframes] + [keyframes[0][1]], dtype=np.float64)
    before = np.clip(np.searchsorted(moments, phase, side="right") - 1, 0, len(moments) - 2)
    part = (phase - moments[before]) / (moments[before + 1] - moments[before])
    weight = (0.5 - 0.5 * np.cos(np.pi * part))[:, None]
    return (1.0 - weight) * postures[before] + weight * postures[before + 1]


def _activity(num_frames: int, rng: np.random.Generator) -> Array:
    """[T] in [0, 1]: 0 while standing at both ends, 1 in between, smooth steps of a third of a second."""
    ramp = FRAMES_PER_SECOND * rng.uniform(0.25, 0.45, 2)
    rest = np.minimum(FRAMES_PER_SECOND * rng.uniform(0.0, 1.3, 2), 0.2 * num_frames)
    frames = np.arange(num_frames)
    up = np.clip((frames - rest[0]) / ramp[0], 0.0, 1.0)
    down = np.clip((num_frames - 1 - frames - rest[1]) / ramp[1], 0.0, 1.0)
    share = np.minimum(up, down)
    return share * share * (3.0 - 2.0 * share)


def _wander(num_frames: int, scale: float, rng: np.random.Generator) -> Array:
    """[T]: a slow random drift, three waves of 1 to 6 seconds."""
    seconds = rng.uniform(1.0, 6.0, 3)
    turns = np.arange(num_frames)[:, None] / (seconds * FRAMES_PER_SECOND) + rng.uniform(0.0, 1.0, 3)
    return scale * np.sin(2 * np.pi * turns).mean(axis=1)


def _mirrored(posture: Array) -> Array:
    flipped = posture.copy()
    flipped[:, RIGHT_ARM], flipped[:, LEFT_ARM] = posture[:, LEFT_ARM], posture[:, RIGHT_ARM]
    for name in ("twist", "stagger"):
        flipped[:, POSTURE.index(name)] *= -1.0
    return flipped
