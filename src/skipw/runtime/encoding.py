"""From one raw input to what the cells read: normalised numbers, or a word's vector."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from skipw.data.normaliser import Normaliser
from skipw.data.tokeniser import tokenise
from skipw.errors import DataFormatError, ShapeError
from skipw.runtime.weights import Weights

__all__ = ["Encoder", "encoder_of"]

Array = npt.NDArray[Any]
Encoder = Callable[[Any], Array]
UNKNOWN = 1  # the id of words outside the vocabulary (skipw.data.imdb)


def encoder_of(weights: Weights, *, normalise: bool = True) -> Encoder:
    """How this model reads one input.

    Args:
        weights: of the model.
        normalise: if not, numbers are checked and stay as they were measured, in Float64: a graph normalises them.
    Raises:
        DataFormatError: if the description's normaliser or vocabulary does not fit the architecture.
    """
    a, description = weights.architecture, weights.description
    if a.vocabulary_size:
        vocabulary = description.get("vocabulary")
        if vocabulary and len(vocabulary) != a.vocabulary_size:
            raise DataFormatError(
                f"the vocabulary has {len(vocabulary)} words, the embedding {a.vocabulary_size} rows."
            )
        index = {word: position for position, word in enumerate(vocabulary)} if vocabulary else None
        return _WordEncoder(weights.arrays["embedding.weight"], index)
    values = description.get("normaliser")
    normaliser = None if values is None else Normaliser.from_json(values)
    if normaliser is not None and normaliser.input_size != a.input_size:
        raise DataFormatError(
            f"the normaliser takes {normaliser.input_size} values, the model {a.input_size}."
        )
    if normaliser is not None and normaliser.kind == "none" and normaliser.clip is None:
        normaliser = None
    if not normalise and normaliser is not None:
        return _NumberEncoder(a.input_size, None, np.dtype(np.float64))
    return _NumberEncoder(a.input_size, normaliser, weights.dtype)


class _NumberEncoder:
    """Raw Float[D], for D = 1 also a plain number."""

    __slots__ = ("_dtype", "_normaliser", "_width")

    def __init__(self, width: int, normaliser: Normaliser | None, dtype: np.dtype[Any]) -> None:
        self._width, self._normaliser, self._dtype = width, normaliser, dtype

    def __call__(self, raw: Any) -> Array:
        try:
            x = _array(raw)
        except ValueError as error:
            raise ShapeError(f"an input is Float[{self._width}], got a ragged sequence ({error}).") from error
        except (TypeError, RuntimeError) as error:
            raise ShapeError(
                f"an input is Float[{self._width}], got a {type(raw).__name__} that is no array ({error})."
            ) from error
        if x.dtype.kind not in "fiub":
            raise ShapeError(f"an input is Float[{self._width}], got values of type {x.dtype}.")
        if x.shape != (self._width,):
            if x.ndim or self._width != 1:
                raise ShapeError(
                    f"an input is Float[{self._width}], one frame without batch axis; got {list(x.shape)}."
                )
            x = x[np.newaxis]
        if self._normaliser is not None:
            x = self._normaliser(x)
        with np.errstate(over="ignore"):
            x = x.astype(self._dtype)  # a copy, so that a caller's buffer can be used again
        if not np.isfinite(x).all():
            raise ShapeError(
                f"an input must be finite in {self._dtype}; {int((~np.isfinite(x)).sum())} of {x.size} "
                "values are NaN or infinite: mend the input first. Nothing has changed."
            )
        return x


def _array(raw: Any) -> Array:
    """``raw`` as an array; a tensor also if it has a gradient or lies on another device."""
    try:
        return np.asarray(raw)
    except (TypeError, RuntimeError):
        if not hasattr(raw, "detach"):
            raise
        return np.asarray(raw.detach().cpu())


class _WordEncoder:
    """A token id, or one word of the vocabulary (unknown words have an id of their own)."""

    __slots__ = ("_embedding", "_index")

    def __init__(self, embedding: Array, index: Mapping[str, int] | None) -> None:
        self._embedding, self._index = embedding, index

    def __call__(self, raw: Any) -> Array:
        token = self._id_of(raw) if isinstance(raw, str) else self._checked(raw)
        row: Array = self._embedding[token]
        return row

    def _id_of(self, word: str) -> int:
        if self._index is None:
            raise ShapeError("this model came without a vocabulary: pass token ids instead of words.")
        if word in self._index:
            return self._index[word]
        tokens = tokenise(word)
        if len(tokens) != 1:
            raise ShapeError(
                f"expected one token, got {len(tokens)} in {word[:40]!r}; pass the tokens of "
                "skipw.data.tokeniser.tokenise(text) one by one."
            )
        return self._index.get(tokens[0], UNKNOWN)

    def _checked(self, raw: Any) -> int:
        size = len(self._embedding)
        try:
            token = operator.index(raw)
        except TypeError:
            raise ShapeError(f"an input is a token id or a word, got {type(raw).__name__} {raw!r}.") from None
        if isinstance(raw, bool) or not 0 <= token < size:
            raise ShapeError(f"a token id lies in [0, {size}), got {raw!r}.")
        return token
