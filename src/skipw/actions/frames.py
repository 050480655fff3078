"""Where frames come from: a video file, a folder of images, a webcam. A frame that is not read is not decoded.

What passing a frame over saves depends on the source: an image's file is not opened; of a video whose frames stand
alone (Motion JPEG) nothing is decoded; other videos need each frame for the next, so only its conversion to RGB is
saved.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from skipw.actions.extra import import_extra
from skipw.actions.region import Image
from skipw.errors import DataFormatError, ParamsError

__all__ = ["Frames", "ImageFolder", "Paced", "Thinned", "Video", "open_frames"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
WEBCAM = re.compile(r"webcam:(\d+)")


class Frames(Protocol):
    """Frames one after the other; ``fps`` is None where the source does not say."""

    @property
    def fps(self) -> float | None: ...

    def advance(self) -> bool:
        """Go to the next frame without decoding it; False at the end."""

    def read(self) -> Image:
        """The present frame, RGB UInt8[H, W, 3]; raises DataFormatError if it cannot be decoded."""

    def close(self) -> None: ...


class Video:
    """A video file, or a webcam, through OpenCV."""

    def __init__(self, source: str | int, fps: float | None = None) -> None:
        self._cv2: Any = import_extra("cv2")
        self._name = f"webcam {source}" if isinstance(source, int) else source
        if isinstance(source, str) and not Path(source).is_file():
            raise DataFormatError(f"{source}: no such video file, folder of images, or webcam:NUMBER")
        self._capture = self._open(source)
        if not self._capture.isOpened():
            remedy = (
                "is it plugged in and free?" if isinstance(source, int) else "OpenCV knows no such format"
            )
            raise DataFormatError(f"{self._name} cannot be opened; {remedy}")
        said = float(self._capture.get(self._cv2.CAP_PROP_FPS))
        self.fps = fps or (said if np.isfinite(said) and said > 0 else None)
        self._index = -1

    def _open(self, source: str | int) -> Any:
        """OpenCV's own Motion JPEG reader first: alone among its readers it can pass a frame over undecoded."""
        if isinstance(source, str) and source.lower().endswith(".avi"):
            capture = self._cv2.VideoCapture(source, self._cv2.CAP_OPENCV_MJPEG)
            if capture.isOpened():
                return capture
        return self._cv2.VideoCapture(source)

    def advance(self) -> bool:
        self._index += 1
        return bool(self._capture.grab())

    def read(self) -> Image:
        good, frame = self._capture.retrieve()
        if not good:
            raise DataFormatError(f"{self._name}: frame {self._index} cannot be decoded")
        rgb: Image = self._cv2.cvtColor(frame, self._cv2.COLOR_BGR2RGB)
        return rgb

    def close(self) -> None:
        self._capture.release()


class ImageFolder:
    """The images of a folder in the order of their names, numbers in them by their value."""

    def __init__(self, folder: Path, fps: float | None = None) -> None:
        self._cv2: Any = import_extra("cv2")
        self._paths = sorted(
            (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES), key=_natural
        )
        if not self._paths:
            raise DataFormatError(f"{folder} holds no images ({', '.join(SUFFIXES)})")
        self.fps, self._index = fps, -1

    def advance(self) -> bool:
        self._index += 1
        return self._index < len(self._paths)

    def read(self) -> Image:
        path = self._paths[self._index]
        content = np.fromfile(path, dtype=np.uint8)
        frame = self._cv2.imdecode(content, self._cv2.IMREAD_COLOR) if content.size else None
        if frame is None:
            raise DataFormatError(f"{path} is not an image that OpenCV can decode; replace or remove it")
        rgb: Image = self._cv2.cvtColor(frame, self._cv2.COLOR_BGR2RGB)
        return rgb

    def close(self) -> None:
        """Nothing is open."""


class Thinned:
    """Every so many frames of a source: a model trained at 22 frames a second knows no others."""

    def __init__(self, frames: Frames, fps: float) -> None:
        if frames.fps is None:
            raise ParamsError("the source does not say its frames a second; give them (--source-fps)")
        if not 0 < fps <= frames.fps:
            raise ParamsError(
                f"frames a second must be above 0 and at most the source's {frames.fps:g}; got {fps:g}"
            )
        self.fps: float | None = fps
        self._frames, self._ratio = frames, fps / frames.fps
        self._seen, self._kept = 0, 0

    def advance(self) -> bool:
        while self._frames.advance():
            self._seen += 1
            if (self._seen - 1) * self._ratio >= self._kept - 1e-9:
                self._kept += 1
                return True
        return False

    def read(self) -> Image:
        return self._frames.read()

    def close(self) -> None:
        self._frames.close()


class Paced:
    """Frames that come no sooner than a camera would give them."""

    def __init__(
        self,
        frames: Frames,
        fps: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._frames, self.fps, self._clock, self._sleep = frames, fps, clock, sleep
        self._start: float | None = None
        self._count = 0

    def advance(self) -> bool:
        if self._start is None:
            self._start = self._clock()
        wait = self._start + self._count / self.fps - self._clock()
        if wait > 0:
            self._sleep(wait)
        self._count += 1
        return self._frames.advance()

    def read(self) -> Image:
        return self._frames.read()

    def close(self) -> None:
        self._frames.close()


def open_frames(source: str, *, source_fps: float | None = None, fps: float | None = None) -> Frames:
    """The frames of a source.

    Args:
        source: a video file, a folder of images, or ``webcam:NUMBER``.
        source_fps: frames a second of a source that does not say, or says it wrong.
        fps: frames a second that are wanted; more are passed over. None: all.
    Raises:
        DataFormatError: if there is no such source or it cannot be opened.
        ParamsError: if ``fps`` is not below the source's.
        BackendUnavailableError: without the extra ``pose``.
    """
    webcam = WEBCAM.fullmatch(source)
    frames: Frames
    if webcam is not None:
        frames = Video(int(webcam[1]), source_fps)
    elif Path(source).is_dir():
        frames = ImageFolder(Path(source), source_fps)
    else:
        frames = Video(source, source_fps)
    return frames if fps is None else Thinned(frames, fps)


def _natural(path: Path) -> list[tuple[int, str]]:
    """frame-10 after frame-9."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
