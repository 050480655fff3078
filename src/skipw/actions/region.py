"""A turned square of an image: what a pose network looks at."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from skipw.actions.extra import import_extra

__all__ = ["Image", "Region", "crop", "region_around", "to_image", "whole"]

Image = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Region:
    """A square, in pixels of the image.

    Attributes:
        x, y: its centre; pixel i covers [i, i + 1).
        size: length of a side.
        angle: radians clockwise on the screen, from the image's upright to the square's.
    """

    x: float
    y: float
    size: float
    angle: float = 0.0

    def enlarged(self, factor: float) -> Region:
        """The same place, ``factor`` times as large."""
        return replace(self, size=self.size * factor)

    def matrix(self) -> Array:
        """Float[2, 3]: from the square's own coordinates, (0, 0) to (1, 1), to pixels of the image."""
        along, across = self.size * math.cos(self.angle), self.size * math.sin(self.angle)
        return np.array(
            [
                [along, -across, self.x - 0.5 * (along - across)],
                [across, along, self.y - 0.5 * (across + along)],
            ]
        )


def whole(image: Image) -> Region:
    """The upright square that holds the whole image, with empty strips along its shorter side."""
    height, width = image.shape[:2]
    return Region(width / 2, height / 2, float(max(height, width)))


def region_around(centre: Array, end: Array) -> Region:
    """The square of a body: its centre, half its size and its upright are the vector from centre to end.

    Both are pixels Float[2]; BlazePose learnt these two points: between the hips, and on a circle around the body.
    """
    x, y = end - centre
    return Region(float(centre[0]), float(centre[1]), 2 * float(np.hypot(x, y)), math.atan2(x, -y))


def crop(image: Image, region: Region, side: int) -> Image:
    """The square as UInt8[side, side, 3], bilinear; black where it leaves the image."""
    cv2: Any = import_extra("cv2")
    matrix = region.matrix()
    matrix[:, 2] += 0.5 * (matrix[:, 0] + matrix[:, 1]) / side - 0.5  # centres of pixels onto centres
    matrix[:, :2] /= side
    cut: Image = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return cut


def to_image(points: Array, region: Region) -> Array:
    """Points of the square, Float[..., 2] with its corners at 0 and 1, as pixels of the image."""
    matrix = region.matrix()
    return points @ matrix[:, :2].T + matrix[:, 2]
