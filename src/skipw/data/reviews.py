"""Movie reviews as they come: the 50,000 of aclImdb_v1, or the rated snippets that stand in for them.

A. Maas et al., "Learning Word Vectors for Sentiment Analysis", ACL 2011. The snippets are those of C. Hutto
and E. Gilbert, "VADER", ICWSM 2014: one sentence each, rated from -4 to 4 by people.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skipw.data.archives import read_members, read_packed
from skipw.errors import DataFormatError

ARCHIVES = ("aclImdb.tar.xz", "aclImdb_v1.tar.gz")
SNIPPETS = "movieReviewSnippets_GroundTruth.txt"
PER_FOLDER = 12_500
SNIPPETS_COUNT = 10_605
MEMBER = re.compile(r"(?:\./)?aclImdb/(train|test)/(neg|pos)/(\d+)_(\d+)\.txt")
MAX_BYTES = 2 * 1024**3  # all members of the official archive, bags of words included, have less
SNIPPETS_TEST_SHARE = 0.2
SNIPPETS_SEED = 2014  # their split never changes
REMEDY = "delete it and run `python pipelines/download.py imdb` again"


@dataclass(frozen=True)
class Review:
    """One labelled text; ``label`` is 0 (negative) or 1 (positive)."""

    split: str
    label: int
    text: str


def read_reviews(folder: Path) -> list[Review]:
    """All labelled reviews in a folder, whichever form they have; their order does not depend on it.

    Raises:
        DataFormatError: if there are none, or not as many as there must be.
        ChecksumError: if the archive is damaged or hostile.
    """
    for name in ARCHIVES:
        if (folder / name).is_file():
            return read_archive(folder / name)
    if (folder / SNIPPETS).is_file():
        return read_snippets(folder / SNIPPETS)
    raise DataFormatError(f"{folder}: expected {' or '.join((*ARCHIVES, SNIPPETS))}; {REMEDY}")


def read_archive(path: Path, per_folder: int | None = None) -> list[Review]:
    """The labelled reviews inside aclImdb's archive; nothing is unpacked to disk.

    Args:
        path: a tar, packed or not, with ``aclImdb/{train,test}/{neg,pos}/<id>_<rating>.txt``.
        per_folder: reviews that each of the four folders must have; None: the original's 12,500.
    Raises:
        ChecksumError: if the archive is damaged or hostile.
        DataFormatError: if a folder has another number of reviews, or a review is empty or not UTF-8.
    """
    expected = PER_FOLDER if per_folder is None else per_folder
    found: dict[tuple[str, str, int], Review] = {}
    for name, content in read_members(path, lambda n: MEMBER.fullmatch(n) is not None, max_bytes=MAX_BYTES):
        split, kind, number, _ = MEMBER.fullmatch(name).groups()  # type: ignore[union-attr]
        found[split, kind, int(number)] = Review(split, int(kind == "pos"), _text(path, name, content))
    for split in ("train", "test"):
        for kind in ("neg", "pos"):
            count = sum(1 for key in found if key[:2] == (split, kind))
            if count != expected:
                raise DataFormatError(
                    f"{path}: {split}/{kind} has {count:,} reviews, expected {expected:,}; {REMEDY}"
                )
    return [found[key] for key in sorted(found)]


def _text(path: Path, name: str, content: bytes) -> str:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataFormatError(f"{path}: {name} is not UTF-8 ({error.reason}); {REMEDY}") from error
    if not text.strip():
        raise DataFormatError(f"{path}: {name} is empty; {REMEDY}")
    return text


def read_snippets(path: Path, count: int | None = None) -> list[Review]:
    """The rated snippets, one a line: ``id <tab> mean rating <tab> text``; positive if the rating is above 0.

    Their own split is fixed: a fifth of each class is the test split. A rating of exactly 0 is left out.

    Args:
        path: the text file.
        count: lines that it must have; None: the original's 10,605.
    Raises:
        DataFormatError: if there are more or fewer lines, a line has another form or a rating is outside [-4,
            4].
    """
    rated: list[tuple[int, str]] = []
    lines = read_packed(path, max_bytes=MAX_BYTES).decode("utf-8", errors="replace").rstrip().split("\n")
    for number, line in enumerate(lines, start=1):
        fields = line.split("\t", 2)
        try:
            rating, text = float(fields[1]), fields[2].strip()
        except (IndexError, ValueError) as error:
            raise DataFormatError(
                f"{path}, line {number}: expected `id <tab> rating <tab> text`; {REMEDY}"
            ) from error
        if not -4 <= rating <= 4 or not text:
            raise DataFormatError(f"{path}, line {number}: expected a rating in [-4, 4] and a text; {REMEDY}")
        if rating:
            rated.append((int(rating > 0), text))
    expected = SNIPPETS_COUNT if count is None else count
    if len(lines) != expected:
        raise DataFormatError(f"{path}: expected {expected:,} lines, got {len(lines):,}; {REMEDY}")
    labels = np.array([label for label, _ in rated])
    if not 0 < labels.sum() < len(labels):
        raise DataFormatError(f"{path}: expected snippets of both signs, got {len(labels)} of one; {REMEDY}")
    test = draw_stratified(labels, SNIPPETS_TEST_SHARE, np.random.default_rng(SNIPPETS_SEED))
    return [Review("test" if held else "train", *pair) for held, pair in zip(test, rated, strict=True)]


def draw_stratified(labels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Bool[n]: a random share of each class, at least one of it and never all (if it has two or more)."""
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        chosen[rng.permutation(rows)[:count]] = True
    return chosen
