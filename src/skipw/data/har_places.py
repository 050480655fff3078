"""Where poses can be had: the paper's set, a folder of one's own, mall poses, or the simulator."""

from __future__ import annotations

import shutil
import sys
from functools import partial as bind
from pathlib import Path
from typing import Any

from skipw.data import har, simulator
from skipw.data.archives import read_packed, sha256_of, unpack
from skipw.data.mirror import check_mirror, fetch_from_mirror
from skipw.data.recordings import find_recordings
from skipw.data.sources import Candidate
from skipw.data.transfer import TransferError, check_reachable
from skipw.errors import ChecksumError, DataFormatError

DRIVE = "https://drive.google.com/"
DRIVE_ID = "1IuZlyNjg6DMQE3iaO1Px6h1yLKgatynt"
ARCHIVE = "RNN-HAR-2D-Pose-database.zip"
LABELS_SHA256 = {
    "Y_train.txt": "32ea3e071c535073ee82b708a7e13e9d4ef569bb2f357ac1e0926c51ecde4780",
    "Y_test.txt": "30479c1dddafed717abeb8c5c4bee86554d3fbd4c6b829698ba7ee217c18fb8a",
}
WIDTH = 36  # 18 joints
FILES = ("X_train", "Y_train", "X_test", "Y_test")
MALL_CLASSES = 11
MALL_TITLE = "Mall poses (real, not HAR-2D-POSE)"
SIMULATED_TITLE = "Simulated stick figures"


def pose_candidates(folder: str | None) -> tuple[Candidate, ...]:
    """The mirror, its mall poses, the official archive, the simulator; or only a folder of one's own."""
    if folder is not None:
        path = Path(folder).expanduser()
        name = path.resolve().name
        facts = {"copied": _hashes(path)} if path.is_dir() else {}
        return (
            Candidate("folder", f"folder:{name}", str(path), bind(_folder, path), title=name, facts=facts),
        )
    real, mall = (tuple(f"{top}/X_train.txt{pack}" for pack in ("", ".xz")) for top in ("har", "har_mall"))
    return (
        Candidate("mirror", "mirror", "SKIPW_MIRROR", _mirror, bind(check_mirror, real)),
        Candidate(
            "mirror", "har-mall", "SKIPW_MIRROR, har_mall", _mall, bind(check_mirror, mall),
            title=MALL_TITLE, substitute=True,
        ),
        Candidate("official", "official", f"Google Drive, {DRIVE_ID}", _official, _check_drive),
        Candidate(
            "substitute", "har-simulator", "the simulator", _simulator, title=SIMULATED_TITLE, substitute=True,
            facts={"groups": True},
        ),
    )  # fmt: skip


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each file that is taken from a folder; when one has changed, all are copied again."""
    names = [f"{name}{pack}" for name in FILES for pack in (".txt", ".txt.xz")]
    paths = [folder / name for name in (*names, har.CLASS_LIST, har.GROUP_LIST)]
    return {path.name: sha256_of(path) for path in paths if path.is_file()}


def _folder(source: Path, into: Path, partial: Path) -> dict[str, Any]:
    if not source.is_dir():
        raise TransferError(f"download.har.folder is not a folder: {source}")
    classes = _class_list(source / har.CLASS_LIST)
    poses = har.read_folder(
        source, None if classes is None else len(classes)
    )  # errors name the user's own files
    for name in FILES:
        path = har.find_file(source, name)
        shutil.copyfile(path, into / path.name)
    if (source / har.GROUP_LIST).is_file():
        har.read_groups(source / har.GROUP_LIST, find_recordings(poses["train"].inputs))
        shutil.copyfile(source / har.GROUP_LIST, into / har.GROUP_LIST)
    count = 1 + int(max(poses[name].labels.max() for name in poses))
    return {"classes": classes or _numbered(count)}


def _class_list(path: Path) -> list[str] | None:
    if not path.is_file():
        return None
    names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    if not names or not all(names) or len(set(names)) != len(names):
        raise DataFormatError(f"{path}: expected one name a line, all different; correct the file")
    return names


def _numbered(count: int) -> list[str]:
    return [f"class {i + 1}" for i in range(count)]


def _mirror(into: Path, partial: Path) -> dict[str, Any]:
    for name in FILES:
        fetch_from_mirror((f"har/{name}.txt", f"har/{name}.txt.xz"), into, partial)
    return _check_real(into)


def _mall(into: Path, partial: Path) -> dict[str, Any]:
    for name in FILES:
        fetch_from_mirror((f"har_mall/{name}.txt.xz", f"har_mall/{name}.txt"), into, partial)
    har.read_folder(into, MALL_CLASSES)
    return {"classes": _numbered(MALL_CLASSES)}


def _check_drive() -> None:
    check_reachable(DRIVE)
    try:
        import gdown  # noqa: F401
    except ImportError as error:
        raise TransferError("needs the package gdown (pip install gdown)") from error


def _official(into: Path, partial: Path) -> dict[str, Any]:
    _check_drive()
    import gdown

    partial.mkdir(parents=True, exist_ok=True)
    archive = partial / ARCHIVE
    try:
        done = gdown.download(id=DRIVE_ID, output=str(archive), quiet=not sys.stderr.isatty(), resume=True)
    except Exception as error:  # gdown raises what requests, the system and its own parser raise
        raise TransferError(f"gdown: {error}") from error
    if done is None:
        raise TransferError("gdown brought nothing (the file's quota may be used up; try again tomorrow)")
    try:
        unpack(archive, into, {f"{name}.txt": f"{name}.txt" for name in FILES})
        return _check_real(into)
    except (ChecksumError, DataFormatError):
        archive.unlink(missing_ok=True)
        raise


def _check_real(folder: Path) -> dict[str, Any]:
    """The paper's set is told by its labels; its X files have no known hash, so their shape is checked."""
    for name, expected in LABELS_SHA256.items():
        path = har.find_file(folder, name.removesuffix(".txt"))
        if path.suffix == ".xz":  # the hash is of the labels as they are in the original archive
            (folder / name).write_bytes(read_packed(path))
            path.unlink()
        if sha256_of(folder / name) != expected:
            raise ChecksumError(f"{name}: SHA-256 should be {expected}; it is another data set")
    width = har.read_folder(folder, len(har.ACTIONS))["train"].inputs.shape[2]
    if width != WIDTH:
        raise DataFormatError(
            f"{folder}: expected {WIDTH} columns (18 joints), got {width}; it is another data set"
        )
    return {"classes": list(har.ACTIONS)}


def _simulator(into: Path, partial: Path) -> dict[str, Any]:
    simulator.write_data_set(into)
    return {"classes": list(har.ACTIONS), "groups": True}
