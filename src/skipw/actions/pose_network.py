"""BlazePose's two networks on the CPU: a person in an image, and the joints of the person in a region.

What the numbers that they give mean: Bazarevsky et al., BlazePose (2020), and MediaPipe's public graphs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skipw.actions.extra import import_extra
from skipw.actions.region import Image, Region, crop, region_around, to_image, whole
from skipw.errors import DataFormatError

__all__ = ["Body", "Detector", "LandmarkNetwork"]

Array = npt.NDArray[np.float64]
DETECTOR_SIDE = 224
STRIDES = ((8, 2), (16, 2), (32, 6))  # pixels a cell, boxes a cell: 2254 in all
OVERLAP = 0.3  # boxes that share so much (intersection over union) with the best are the same person
LANDMARK_SIDE = 256
NUM_LANDMARKS = 33
CENTRE, END = 33, 34  # two further points, which tell where to look next


class _Network:
    """A .tflite file with one image as its input; its outputs by their shape."""

    def __init__(self, path: Path, threads: int) -> None:
        litert: Any = import_extra("ai_edge_litert.interpreter")
        try:
            self._interpreter = litert.Interpreter(model_path=str(path), num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError, OSError) as error:
            raise DataFormatError(
                f"{path} is no .tflite network ({error}); delete it to have it fetched"
            ) from error
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = {
            tuple(int(n) for n in output["shape"]): output["index"]
            for output in self._interpreter.get_output_details()
        }

    def run(self, image: npt.NDArray[np.float32], *shapes: tuple[int, ...]) -> list[Array]:
        """The outputs of these shapes for an image Float[side, side, 3]."""
        self._interpreter.set_tensor(self._input, image[np.newaxis])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(self._outputs[shape])[0].astype(np.float64) for shape in shapes]


class Detector:
    """Finds a person in a whole image.

    Args:
        path: pose_detection.tflite.
        threads: of the network.
        least: score, in [0, 1], that a person must reach.
    """

    def __init__(self, path: Path, *, threads: int = 1, least: float = 0.5) -> None:
        self._network, self._least = _Network(path, threads), least

    def find(self, image: Image) -> Region | None:
        """The region of the clearest person in an RGB image UInt8[H, W, 3]; None if there is none."""
        square = whole(image)
        pixels = crop(image, square, DETECTOR_SIDE).astype(np.float32) / 127.5 - 1.0
        boxes, logits = self._network.run(pixels, (1, 2254, 12), (1, 2254, 1))
        scores = _sigmoid(logits[:, 0])
        likely = np.flatnonzero(scores >= self._least)
        if not likely.size:
            return None
        points = boxes[likely].reshape(-1, 6, 2) / DETECTOR_SIDE
        points[:, [0, 2, 3, 4, 5]] += _anchors()[likely, np.newaxis]  # point 1 is width and height
        found, scores = points, scores[likely]
        same = _shared(found[:, 0], found[:, 1], int(scores.argmax())) >= OVERLAP
        mean = np.average(found[same], axis=0, weights=scores[same])
        centre, end = to_image(mean[2:4], square)
        return region_around(centre, end)


@dataclass(frozen=True)
class Body:
    """The joints of a person.

    Attributes:
        points: Float[33, 2], pixels of the image, in BlazePose's order; guessed where they are hidden or outside.
        visibility: Float[33] in [0, 1], that a point is in the image and not hidden.
        presence: in [0, 1], that the region holds a person.
        region: of the person, from these points.
    """

    points: Array
    visibility: Array
    presence: float
    region: Region


class LandmarkNetwork:
    """Finds the joints of the person in a region.

    Args:
        path: pose_landmark_lite.tflite, _full or _heavy.
        threads: of the network.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        self._network = _Network(path, threads)

    def find(self, image: Image, region: Region) -> Body:
        """The joints in this region of an RGB image UInt8[H, W, 3]."""
        pixels = crop(image, region, LANDMARK_SIDE).astype(np.float32) / 255.0
        values, presence = self._network.run(pixels, (1, 195), (1, 1))
        landmarks = values.reshape(39, 5)  # x, y, z, visibility, presence
        points = to_image(landmarks[:, :2] / LANDMARK_SIDE, region)
        return Body(
            points[:NUM_LANDMARKS],
            _sigmoid(landmarks[:NUM_LANDMARKS, 3:]).min(axis=1),
            float(presence[0]),
            region_around(points[CENTRE], points[END]),
        )


@lru_cache(maxsize=1)
def _anchors() -> Array:
    """Float[2254, 2]: the centre of each box's cell, in [0, 1]."""
    layers = []
    for stride, boxes in STRIDES:
        centres = (np.arange(DETECTOR_SIDE // stride) + 0.5) * stride / DETECTOR_SIDE
        y, x = np.meshgrid(centres, centres, indexing="ij")
        layers.append(np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), boxes, axis=0))
    return np.concatenate(layers)


def _shared(centres: Array, sizes: Array, best: int) -> Array:
    """Intersection over union of each box with the best one."""
    low, high = centres - sizes / 2, centres + sizes / 2
    edges = np.minimum(high, high[best]) - np.maximum(low, low[best])
    common = np.prod(np.maximum(edges, 0.0), axis=1)
    areas = np.prod(sizes, axis=1)
    return common / (areas + areas[best] - common)


def _sigmoid(logits: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -100.0, 100.0)))
