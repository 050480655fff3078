"""A vocabulary and its frozen vectors in one small file that several models of texts share.

``words.safetensors`` holds ``embedding`` Int8[V, E], ``scale`` Float16[V] and ``vocabulary``, the words as UTF-8,
one a line. Row v of the embedding is ``embedding[v] * scale[v]`` in float32, which is exact in every arithmetic:
the same file gives the same vectors everywhere. A quarter of the bytes of float32; what the rounding costs stands
in docs/pretrained.md. Needs no torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from skipw.errors import ChecksumError, DataFormatError

__all__ = ["WORDS_FILE", "pack_words", "read_words"]

WORDS_FILE = "words.safetensors"
LEVELS = 127  # on each side of zero


def pack_words(embedding: npt.NDArray[np.float32], vocabulary: Sequence[str]) -> bytes:
    """The content of words.safetensors.

    Args:
        embedding: Float32[V, E]; each row is rounded to 255 levels of its own.
        vocabulary: the V words by id.
    Raises:
        DataFormatError: if the numbers of words and vectors differ, or a word holds a line break.
    """
    from safetensors.numpy import save

    if len(embedding) != len(vocabulary) or any("\n" in word for word in vocabulary):
        raise DataFormatError(
            f"expected a vector for each word and no word with a line break, got {len(embedding)} vectors for "
            f"{len(vocabulary)} words; prepare the data set again."
        )
    largest = np.abs(embedding).max(axis=1)
    scale = np.where(largest > 0, largest / LEVELS, 1.0).astype(np.float16)
    scale[scale == 0] = 1.0  # numbers too small for float16 become 0
    levels = np.rint(embedding / scale.astype(np.float32)[:, np.newaxis])
    arrays = {
        "embedding": np.clip(levels, -LEVELS, LEVELS).astype(np.int8),
        "scale": scale,
        "vocabulary": np.frombuffer("\n".join(vocabulary).encode(), dtype=np.uint8),
    }
    return bytes(save(arrays))


def read_words(path: Path, sha256: str) -> tuple[npt.NDArray[np.float32], list[str]]:
    """The vectors, Float32[V, E], and the V words.

    Raises:
        DataFormatError: if the file is missing.
        ChecksumError: if its SHA-256 is not ``sha256``.
    """
    from safetensors.numpy import load

    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataFormatError(
            f"{path} cannot be read ({error.strerror}); the model beside it needs these words and vectors."
        ) from error
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise ChecksumError(
            f"{path} has SHA-256 {found}, the model that shares it was written for {sha256}: it was changed or "
            "cut short; fetch it again."
        )
    arrays = load(content)
    vectors = arrays["embedding"].astype(np.float32) * arrays["scale"].astype(np.float32)[:, np.newaxis]
    return vectors, arrays["vocabulary"].tobytes().decode().split("\n")
