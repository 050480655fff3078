"""IMDB: sentiment of movie reviews as sequences of word ids (paper, appendix A).

Ids: 0 padding, 1 unknown word, then the most frequent words of the training split. Longer reviews keep their
    last
(or first) ``max_length`` tokens; padding stands at the end.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from skipw.data.glove import embed, find_vectors, read_vectors, require_coverage
from skipw.data.normaliser import Normaliser
from skipw.data.prepared import Split, save_prepared
from skipw.data.reviews import Review, draw_stratified, read_reviews
from skipw.data.sources import require_record
from skipw.data.tokeniser import tokenise
from skipw.errors import ParamsError

__all__ = ["build_vocabulary", "encode", "prepare_imdb", "tokenise"]

log = logging.getLogger(__name__)

PADDING, UNKNOWN = 0, 1
SPECIAL = ("<pad>", "<unk>")  # no token of a text looks so: markup is dropped, signs stand alone
Crop = Literal["last", "first"]


def encode(
    tokens: Sequence[str], index: Mapping[str, int], max_length: int, crop: Crop = "last"
) -> list[int]:
    """Word ids of a tokenised text, cropped, not padded; at least one id.

    Args:
        tokens: from ``tokenise``.
        index: word -> id, as ``{word: i for i, word in enumerate(vocabulary)}``.
        max_length: most ids kept.
        crop: which part of a longer text stays.
    Raises:
        ParamsError: if max_length is below 1 or crop is neither "last" nor "first".
    """
    if max_length < 1 or crop not in ("last", "first"):
        raise ParamsError(f"expected max_length >= 1 and crop last or first; got {max_length} and {crop!r}")
    kept = tokens[-max_length:] if crop == "last" else tokens[:max_length]
    return [index.get(token, UNKNOWN) for token in kept] or [UNKNOWN]


def build_vocabulary(texts: Sequence[Sequence[str]], size: int) -> tuple[list[str], Counter[str]]:
    """The special tokens and most frequent words, ``size`` in all (ties by alphabet), and all counts."""
    counts: Counter[str] = Counter()
    for tokens in texts:
        counts.update(tokens)
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return [*SPECIAL, *(word for word, _ in ranked[: size - len(SPECIAL)])], counts


def prepare_imdb(
    raw: Path, out: Path, *, seed: int, vocabulary_size: int, max_length: int, crop: Crop, val_share: float,
    train_limit: int | None = None, test_limit: int | None = None,
) -> None:  # fmt: skip
    """Write the three splits, the vocabulary and its embedding.

    The vocabulary is counted on the training split alone, after val was drawn from it (stratified). Every
    split is in a random order that the seed fixes, so its first n are a sample.

    Raises:
        ParamsError: if a setting is out of range.
        DataFormatError, ChecksumError: if the files are not what they should be.
        DataUnavailableError: if the word vectors cover too little of the vocabulary.
    """
    if vocabulary_size <= len(SPECIAL):
        raise ParamsError(f"prepare.imdb.vocabulary_size must be above {len(SPECIAL)}; got {vocabulary_size}")
    record = require_record(raw)
    texts, labels = _split_texts(read_reviews(raw), seed, val_share, train_limit, test_limit)
    tokens = {name: [tokenise(text) for text in split] for name, split in texts.items()}
    vocabulary, counts = build_vocabulary(tokens["train"], vocabulary_size)
    path = find_vectors(raw)
    vectors, size = read_vectors(path, vocabulary)
    coverage = _coverage(vocabulary, counts, vectors)
    log.info(
        "GloVe %dd: vectors for %.1f %% of the vocabulary, %.1f %% of the training tokens",
        size, 100 * coverage["types"], 100 * coverage["tokens"],
    )  # fmt: skip
    require_coverage(path, coverage["types"], size)
    index = {word: i for i, word in enumerate(vocabulary)}
    longest = max(len(text) for split in tokens.values() for text in split)
    num_steps = max(1, min(max_length, longest))
    splits = {name: _encode_split(tokens[name], labels[name], index, num_steps, crop) for name in tokens}
    meta = {
        "dataset": "imdb",
        "title": record["title"],
        "data_source": record["data_source"],
        "task": "classification",
        "metric": "accuracy",
        "classes": ["negative", "positive"],
        "input_size": size,
        "num_steps": num_steps,
        "normaliser": Normaliser("none", size).to_json(),
        "vocabulary_size": len(vocabulary),
        "embedding_size": size,
        "coverage": coverage,
        "preprocessing": {
            "seed": seed,
            "max_length": max_length,
            "crop": crop,
            "val_share": val_share,
            "glove_source": record["parts"]["glove"]["data_source"],
            "mean_length": {name: float(splits[name].lengths.mean()) for name in splits},
        },
    }
    embedding = embed(vocabulary, vectors, size, first_word=len(SPECIAL), seed=seed)
    save_prepared(out, splits, meta, {"vocabulary.json": vocabulary, "embedding.npy": embedding})


def _split_texts(
    reviews: list[Review], seed: int, val_share: float, train_limit: int | None, test_limit: int | None
) -> tuple[dict[str, list[str]], dict[str, list[int]]]:
    rng = np.random.default_rng(seed)
    pools = {name: [review for review in reviews if review.split == name] for name in ("train", "test")}
    pools = {name: [pool[i] for i in rng.permutation(len(pool))] for name, pool in pools.items()}
    train = pools["train"][:train_limit]
    held = draw_stratified(np.array([review.label for review in train]), val_share, rng)
    chosen = {
        "train": [review for review, val in zip(train, held, strict=True) if not val],
        "val": [review for review, val in zip(train, held, strict=True) if val],
        "test": pools["test"][:test_limit],
    }
    texts = {name: [review.text for review in split] for name, split in chosen.items()}
    return texts, {name: [review.label for review in split] for name, split in chosen.items()}


def _encode_split(
    texts: list[list[str]], labels: list[int], index: dict[str, int], max_length: int, crop: Crop
) -> Split:
    inputs = np.full((len(texts), max_length), PADDING, dtype=np.int32)
    lengths = np.empty(len(texts), dtype=np.int64)
    for row, tokens in enumerate(texts):
        ids = encode(tokens, index, max_length, crop)
        inputs[row, : len(ids)] = ids
        lengths[row] = len(ids)
    return Split(inputs, np.array(labels, dtype=np.int64), lengths)


def _coverage(vocabulary: list[str], counts: Counter[str], vectors: Mapping[str, Any]) -> dict[str, float]:
    """Shares in [0, 1]: of the vocabulary's words with a vector, of all training tokens with one or in it."""
    words = vocabulary[len(SPECIAL) :]
    total = max(counts.total(), 1)
    return {
        "types": sum(word in vectors for word in words) / max(len(words), 1),
        "tokens": sum(counts[word] for word in words if word in vectors) / total,
        "vocabulary_tokens": sum(counts[word] for word in words) / total,
    }
