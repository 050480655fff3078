"""A human body as a stick figure: its proportions, and the places of OpenPose's 18 joints for a posture.

The figure stands at the origin and faces +z; y points up, x to its own left; lengths in metres, angles in
radians.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

JOINTS = (
    "nose", "neck", "right shoulder", "right elbow", "right wrist",
    "left shoulder", "left elbow", "left wrist",
    "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle",
    "right eye", "left eye", "right ear", "left ear",
)  # fmt: skip
BONES = (
    (0, 1), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10),
    (1, 11), (11, 12), (12, 13), (0, 14), (0, 15), (14, 16), (15, 17),
)  # fmt: skip
RIGHT, LEFT = -1.0, 1.0

# A posture is these numbers. Arms: how far a segment is raised from hanging (0) over level (pi/2) to upright
# (pi), and how far it points from sideways (0) to the front (pi/2) to the other side (pi).
POSTURE = (
    "drop", "lift", "spread", "stagger", "lean", "twist",
    "right_upper_raise", "right_upper_front", "right_fore_raise", "right_fore_front",
    "left_upper_raise", "left_upper_front", "left_fore_raise", "left_fore_front",
)  # fmt: skip
FIRST_ANGLE = POSTURE.index("lean")
RIGHT_ARM = slice(6, 10)
LEFT_ARM = slice(10, 14)


@dataclass(frozen=True)
class Body:
    """A person's proportions (metres), and their habits of moving."""

    height: float
    upper_arm: float
    forearm: float
    thigh: float
    shank: float
    torso: float
    half_shoulders: float
    half_hips: float
    head: float  # neck to nose, upwards
    tempo: float  # 1 is average, 1.2 is fast
    vigour: float  # size of movements, 1 is average
    left_handed: bool

    @property
    def ankle_height(self) -> float:
        return 0.045 * self.height

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Body:
        """A random adult: 1.52 to 1.95 m, each part up to some 6 % off the average share of that height."""

        def part(share: float) -> float:
            return float(height * share * np.clip(rng.normal(1.0, 0.035), 0.92, 1.08))

        height = float(np.clip(rng.normal(1.72, 0.1), 1.52, 1.95))
        return cls(
            height,
            upper_arm=part(0.172),
            forearm=part(0.150),
            thigh=part(0.240),
            shank=part(0.236),
            torso=part(0.295),
            half_shoulders=part(0.108),
            half_hips=part(0.055),
            head=part(0.095),
            tempo=float(np.exp(rng.uniform(-0.24, 0.24))),
            vigour=float(rng.uniform(0.62, 1.15)),
            left_handed=bool(rng.random() < 0.15),
        )


def joint_places(body: Body, posture: Array, yaw: Array, ground: Array) -> Array:
    """Places of the joints.

    Args:
        body: whose.
        posture: [T, 14], columns as in POSTURE.
        yaw: [T], turn of the whole figure to its left.
        ground: [T, 2], x and z of the point it stands on.
    Returns:
        [T, 18, 3] in OpenPose's order.
    """
    drop, lift, spread, stagger, lean, twist = posture[:, :6].T
    places = np.zeros((len(posture), 18, 3))
    hips, feet = _hips_and_feet(body, drop, lift, spread, stagger)
    for side, hip, knee, ankle in ((RIGHT, 8, 9, 10), (LEFT, 11, 12, 13)):
        places[:, hip] = hips + _vector(side * body.half_hips, 0.0, 0.0)
        places[:, ankle] = feet[side]
        places[:, knee] = _knee(body, places[:, hip], places[:, ankle], side)
    spine = _vector(0.0, np.cos(lean), np.sin(lean))
    neck = hips + body.torso * spine
    places[:, 1] = neck
    across = _vector(np.cos(twist), 0.0, -np.sin(twist))
    _place_head(body, places, neck, lean, twist)
    for side, shoulder, columns in ((RIGHT, 2, RIGHT_ARM), (LEFT, 5, LEFT_ARM)):
        upper_raise, upper_front, fore_raise, fore_front = posture[:, columns].T
        places[:, shoulder] = neck + side * body.half_shoulders * across - 0.02 * body.height * spine
        elbow = places[:, shoulder] + body.upper_arm * _arm_direction(upper_raise, upper_front, side, twist)
        places[:, shoulder + 1] = elbow
        places[:, shoulder + 2] = elbow + body.forearm * _arm_direction(fore_raise, fore_front, side, twist)
    return _turned(places, yaw) + _vector(ground[:, 0], 0.0, ground[:, 1])[:, None]


def _vector(x: Array | float, y: Array | float, z: Array | float) -> Array:
    return np.stack(np.broadcast_arrays(np.atleast_1d(x), y, z), axis=-1).astype(np.float64)


def _hips_and_feet(
    body: Body, drop: Array, lift: Array, spread: Array, stagger: Array
) -> tuple[Array, dict[float, Array]]:
    """The middle of the hips, and both ankles: legs as straight as the crouch (drop) allows."""
    feet = {
        side: _vector(
            side * (body.half_hips + 0.02 + spread), body.ankle_height + lift, side * stagger - 0.1 * drop
        )
        for side in (RIGHT, LEFT)
    }
    leg = 0.995 * (body.thigh + body.shank)
    upright = np.sqrt(np.maximum(leg**2 - (spread + 0.02) ** 2 - stagger**2, 0.01))
    hips = _vector(0.0, np.maximum(body.ankle_height + lift + upright - drop, 0.25), -0.45 * drop)
    return hips, feet


def _knee(body: Body, hip: Array, ankle: Array, side: float) -> Array:
    """Where the knee is, given both ends of the leg: it bends to the front and a little outwards."""
    along = ankle - hip
    distance = np.linalg.norm(along, axis=-1, keepdims=True)
    reach = np.clip(distance, 0.3, body.thigh + body.shank - 1e-3)
    along = along / distance
    from_hip = (body.thigh**2 - body.shank**2 + reach**2) / (2 * reach)
    bend = np.sqrt(np.maximum(body.thigh**2 - from_hip**2, 0.0))
    pole = _vector(0.25 * side, 0.0, 1.0) - 0.0 * hip
    pole = pole - along * (pole * along).sum(axis=-1, keepdims=True)
    pole = pole / np.linalg.norm(pole, axis=-1, keepdims=True)
    return hip + from_hip * along + bend * pole


def _place_head(body: Body, places: Array, neck: Array, lean: Array, twist: Array) -> None:
    half = 0.5 * lean  # people keep their head up
    up = _vector(0.0, np.cos(half), np.sin(half))
    turn = 0.3 * twist
    front = _vector(np.sin(turn), -np.sin(half), np.cos(half) * np.cos(turn))
    left = _vector(np.cos(turn), 0.0, -np.sin(turn))
    size = body.head
    places[:, 0] = neck + size * up + 0.70 * size * front
    for side, eye, ear in ((RIGHT, 14, 16), (LEFT, 15, 17)):
        places[:, eye] = neck + 1.22 * size * up + 0.55 * size * front + side * 0.19 * size * left
        places[:, ear] = neck + 1.12 * size * up + 0.02 * size * front + side * 0.44 * size * left


def _arm_direction(raised: Array, front: Array, side: float, twist: Array) -> Array:
    out = side * np.sin(raised) * np.cos(front)
    ahead = np.sin(raised) * np.sin(front)
    return _turned(_vector(out, -np.cos(raised), ahead)[:, None], twist)[:, 0]


def _turned(places: Array, yaw: Array) -> Array:
    """Turn [T, n, 3] about the vertical axis to the left by yaw [T]."""
    cos, sin = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    x, y, z = places[..., 0], places[..., 1], places[..., 2]
    return np.stack([cos * x + sin * z, y, -sin * x + cos * z], axis=-1)
