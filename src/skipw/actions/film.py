"""A picture as a video: a camera that moves over it. For tests, measurements and trials without a camera."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from skipw.actions.extra import import_extra
from skipw.actions.region import Image
from skipw.errors import DataFormatError

__all__ = ["film", "write_video"]


def film(
    picture: Image, num_frames: int, *, size: tuple[int, int] = (640, 480), reach: float = 0.12, seed: int = 0
) -> Iterator[Image]:
    """Frames of a camera that pans, zooms and sways smoothly over a picture.

    Args:
        picture: RGB, UInt8[H, W, 3].
        num_frames: how many.
        size: (width, height) of a frame in pixels; what lies beyond the picture is black.
        reach: how far the camera moves, as a share of the picture.
        seed: of its path.
    Yields:
        RGB, UInt8[height, width, 3].
    """
    cv2: Any = import_extra("cv2")
    rng = np.random.default_rng(seed)
    height, width = picture.shape[:2]
    phases, speeds = (
        rng.uniform(0, 2 * np.pi, 4),
        rng.uniform(0.5, 1.5, 4) * 2 * np.pi / 66,
    )  # 3 s a turn at 22 Hz
    for number in range(num_frames):
        x, y, zoom, turn = np.sin(phases + speeds * number)
        scale = min(size[0] / width, size[1] / height) * (1.0 + reach * zoom)
        centre = (width * (0.5 + reach * x), height * (0.5 + 0.5 * reach * y))
        matrix = cv2.getRotationMatrix2D(centre, 30.0 * reach * turn, scale)
        matrix[:, 2] += np.array(size) / 2 - centre
        yield cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_AREA)


def write_video(path: Path, frames: Iterator[Image], *, fps: float = 22.0) -> None:
    """Write RGB frames of equal size: .avi as Motion JPEG, where a skipped frame is not decoded; .mp4 as MPEG-4.

    Raises:
        DataFormatError: if OpenCV cannot write such a file.
    """
    cv2: Any = import_extra("cv2")
    code = {".avi": "MJPG", ".mp4": "mp4v"}.get(path.suffix.lower())
    if code is None:
        raise DataFormatError(f"{path}: videos are written as .avi or .mp4")
    writer: Any = None
    try:
        for frame in frames:
            if writer is None:
                size = (frame.shape[1], frame.shape[0])
                writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), fps, size)
                if not writer.isOpened():
                    raise DataFormatError(f"{path} cannot be written; is its folder there?")
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    finally:
        if writer is not None:
            writer.release()
