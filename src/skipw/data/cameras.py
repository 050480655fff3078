"""Four cameras with perspective, and what a pose estimator makes of a person: noise and drop-outs.

A joint that was not found is (0, 0), as OpenPose writes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skipw.data.stick_figure import Array

IMAGE = (640, 480)  # pixels
GRID = 1.3  # pixels between the places where the estimator's maps can peak

# How much each joint is blurred, relative to the trunk: ends of limbs more.
BLUR = np.array([0.8, 0.9, 1.0, 1.2, 1.5, 1.0, 1.2, 1.5, 1.1, 1.1, 1.3, 1.1, 1.1, 1.3, 0.7, 0.7, 0.8, 0.8])
FACE = np.array([0, 14, 15])  # nose and eyes: not seen from behind
EARS = {16: -1.0, 17: 1.0}  # joint: its side
ARMS_AND_LEGS = np.array([3, 4, 6, 7, 9, 10, 12, 13])
HIDDEN_RATE = 0.42  # share of the time that a hidden joint is not found
SEEN_RATE = 0.009  # the same for one in plain view
FAST_RATE = 0.0022  # more for each pixel a frame of speed
MEMORY = 0.78  # drop-outs last some 5 frames


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
        azimuth: degrees around the person from straight ahead to their left.
        distance: metres from the point that it looks at.
        height: metres above the floor.
        focal: pixels.
        aim: height of the point that it looks at.
    """

    azimuth: float
    distance: float
    height: float
    focal: float
    aim: float = 0.95

    def axes(self) -> tuple[Array, Array, Array, Array]:
        """Place, and the directions right, up and forward of the image."""
        turn = np.radians(self.azimuth)
        place = np.array([self.distance * np.sin(turn), self.height, self.distance * np.cos(turn)])
        forward = np.array([0.0, self.aim, 0.0]) - place
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 1.0, 0.0])
        right /= np.linalg.norm(right)
        return place, right, np.cross(right, forward), forward

    def project(self, places: Array) -> tuple[Array, Array]:
        """Pixels [..., 2] (x to the right, y down) and depth in metres [...] of places [..., 3]."""
        place, right, up, forward = self.axes()
        offset = places - place
        depth = np.maximum(offset @ forward, 0.1)
        pixels = self.focal * np.stack([offset @ right, -(offset @ up)], axis=-1) / depth[..., None]
        return pixels + np.array(IMAGE) / 2, depth


CAMERAS = (
    Camera(azimuth=4.0, distance=3.9, height=1.35, focal=560.0),
    Camera(azimuth=52.0, distance=3.6, height=1.10, focal=540.0),
    Camera(azimuth=-74.0, distance=4.1, height=1.80, focal=570.0),
    Camera(azimuth=162.0, distance=4.4, height=1.55, focal=600.0),
)


def observe(camera: Camera, places: Array, rng: np.random.Generator) -> Array:
    """What a pose estimator reports: pixels [T, 18, 2] with one decimal, missing joints (0, 0).

    Args:
        camera: which sees the person.
        places: [T, 18, 3] in metres.
        rng: noise and drop-outs.
    """
    pixels, depth = camera.project(places)
    scale = camera.focal / depth.mean() / 150.0  # a larger person is blurred over more pixels
    hidden = _hidden(camera, places, pixels, depth)
    speed = np.linalg.norm(np.diff(pixels, axis=0, prepend=pixels[:1]), axis=-1)
    blur = scale * BLUR * (1.0 + 1.5 * hidden) + 0.04 * speed
    seen = pixels + blur[..., None] * (0.45 * rng.normal(size=pixels.shape) + 0.9 * _drift(pixels.shape, rng))
    glitches = rng.random(hidden.shape) < 0.002
    seen = seen + glitches[..., None] * rng.normal(0.0, 18.0 * scale, pixels.shape)
    seen = np.round(np.round(seen / GRID) * GRID + rng.normal(0.0, 0.06, pixels.shape), 1)
    rate = np.clip(SEEN_RATE + FAST_RATE * speed + HIDDEN_RATE * hidden, 0.0, 0.9)
    inside = ((seen > 0.0) & (seen < np.array(IMAGE))).all(axis=-1)
    missing = _lasting(rate, rng) | ~inside
    return np.where(missing[..., None], 0.0, seen)


def _hidden(camera: Camera, places: Array, pixels: Array, depth: Array) -> Array:
    """[T, 18] in [0, 1]: how far a joint is covered by the trunk, or turned away with the head."""
    hidden = np.zeros(depth.shape)
    trunk = pixels[:, [2, 5, 8, 11]]
    half_width = 0.5 * (trunk[..., 0].max(axis=1) - trunk[..., 0].min(axis=1)) + 7.0
    middle = trunk.mean(axis=1)
    half_height = 0.5 * np.abs(trunk[:, 2:, 1].mean(axis=1) - trunk[:, :2, 1].mean(axis=1)) + 5.0
    across = (pixels[..., 0] - middle[:, None, 0]) / half_width[:, None]
    along = (pixels[..., 1] - middle[:, None, 1]) / half_height[:, None]
    behind = depth - depth[:, [2, 5, 8, 11]].mean(axis=1, keepdims=True)
    covered = (across**2 + along**2 < 1.0) & (behind > 0.07)
    hidden[:, ARMS_AND_LEGS] = covered[:, ARMS_AND_LEGS]
    facing = _facing(camera, places)
    hidden[:, FACE] = np.clip((0.05 - facing[:, :1]) / 0.25, 0.0, 1.0)
    for joint, side in EARS.items():
        hidden[:, joint] = np.clip((-0.25 - side * facing[:, 1]) / 0.2, 0.0, 1.0)
    return hidden


def _facing(camera: Camera, places: Array) -> Array:
    """[T, 2]: cosine of the face's direction, and of the left ear's, to the direction of the camera."""
    place = camera.axes()[0]
    to_camera = place - places[:, 1]
    to_camera /= np.linalg.norm(to_camera, axis=-1, keepdims=True)
    left = places[:, 17] - places[:, 16]
    left /= np.linalg.norm(left, axis=-1, keepdims=True)
    ahead = places[:, 0] - 0.5 * (places[:, 16] + places[:, 17])
    ahead[:, 1] = 0.0
    ahead /= np.linalg.norm(ahead, axis=-1, keepdims=True)
    return np.stack([(ahead * to_camera).sum(axis=-1), (left * to_camera).sum(axis=-1)], axis=-1)


def _drift(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Noise of unit variance that changes slowly: half of it is left after some 3 frames."""
    keep = 0.8
    noise = rng.normal(size=shape)
    noise[1:] *= np.sqrt(1.0 - keep**2)
    for t in range(1, shape[0]):
        noise[t] += keep * noise[t - 1]
    return noise


def _lasting(rate: Array, rng: np.random.Generator) -> Array:
    """Bool[T, 18]: missing with the given probabilities, in runs (drawn again with 1 - MEMORY)."""
    draws = rng.random((2, *rate.shape))
    missing = draws[0] < rate
    again = draws[1] >= MEMORY
    for t in range(1, len(rate)):
        missing[t] = np.where(again[t], missing[t], missing[t - 1])
    return missing
