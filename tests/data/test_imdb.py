"""Reviews, their tokens, the vocabulary and its word vectors."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest

from skipw.data import places
from skipw.data.glove import embed, find_vectors, read_vectors
from skipw.data.imdb import build_vocabulary, encode, prepare_imdb, tokenise
from skipw.data.prepared import load_embedding, load_meta, load_split, load_vocabulary
from skipw.data.reviews import draw_stratified, read_archive, read_snippets
from skipw.data.sources import obtain
from skipw.errors import ChecksumError, DataFormatError, DataUnavailableError, ParamsError
from tests.data.conftest import tar_bytes


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("I don't know; it's GREAT!", "i do n't know ; it 's great !"),
        ("can't won't we'll they've I'd you're I'm", "ca n't wo n't we 'll they 've i 'd you 're i 'm"),
        ("Great.<br /><br />The end", "great . the end"),
        ("a well-known, 12-year-old film-noir", "a well-known , 12-year-old film-noir"),
        ("7.5/10, $1,000 in the 1990s", "7.5/10 , $ 1,000 in the 1990s"),
        ('He said "no" (twice)...', 'he said " no " ( twice ) ...'),
        ("wait.... what -- no", "wait ... what -- no"),
        ("The U.S. and Mr. O'Brien's car.", "the u.s. and mr. o'brien 's car ."),
        ("‘It’s’ “fine” – really…", "' it 's ' \" fine \" -- really ..."),
        ("caf\xe9 &amp; bar", "caf\xe9 & bar"),
        ("it\x92s good\x85", "it 's good ..."),
        ("3 < 5 and <i>this</i>", "3 < 5 and this"),
        ("great!!!", "great ! ! !"),
        ("", ""),
        (" \n\t ", ""),
    ],
)
def test_texts_are_split_like_gloves(text: str, tokens: str) -> None:
    assert tokenise(text) == tokens.split()


def test_encoding_keeps_the_asked_part() -> None:
    index = {"<pad>": 0, "<unk>": 1, "a": 2, "b": 3, "c": 4}
    assert encode(["a", "x", "b", "c"], index, 10) == [2, 1, 3, 4]
    assert encode(["a", "x", "b", "c"], index, 2, "last") == [3, 4]
    assert encode(["a", "x", "b", "c"], index, 2, "first") == [2, 1]
    assert encode([], index, 5) == [1], "a model needs at least one input"
    with pytest.raises(ParamsError, match="max_length >= 1"):
        encode(["a"], index, 0)
    with pytest.raises(ParamsError, match="'middle'"):
        encode(["a"], index, 2, "middle")  # type: ignore[arg-type]


def test_the_vocabulary_is_the_most_frequent_words() -> None:
    vocabulary, counts = build_vocabulary([["b", "a", "c"], ["c", "a"], ["c", "d"]], 4)
    assert vocabulary == ["<pad>", "<unk>", "c", "a"]
    assert counts["b"] == 1


def test_reviews_come_in_an_order_of_their_own(imdb_mirror: Path, tmp_path: Path) -> None:
    import tarfile

    reviews = read_archive(imdb_mirror / "imdb/aclImdb.tar.xz")
    assert len(reviews) == 40
    assert sum(review.label for review in reviews) == 20
    with tarfile.open(imdb_mirror / "imdb/aclImdb.tar.xz") as archive:
        members = [m for m in archive if m.isreg()]
        files = {m.name: archive.extractfile(m).read() for m in reversed(members)}  # type: ignore[union-attr]
    (tmp_path / "other.tar.gz").write_bytes(tar_bytes(files, "w:gz"))
    assert read_archive(tmp_path / "other.tar.gz") == reviews


@pytest.mark.parametrize(
    ("content", "message"), [(b"\xff\xfe\xfa", "is not UTF-8"), (b"", "is empty"), (b" \n", "is empty")]
)
def test_a_spoilt_review_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.tar.xz").write_bytes(tar_bytes({"aclImdb/train/pos/7_9.txt": content}))
    with pytest.raises(DataFormatError, match=rf"train/pos/7_9\.txt {message}"):
        read_archive(tmp_path / "a.tar.xz")


def test_a_truncated_archive_is_found(imdb_mirror: Path) -> None:
    path = imdb_mirror / "imdb/aclImdb.tar.xz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ChecksumError, match="truncated or damaged"):
        read_archive(path)


def test_snippets_are_split_once_and_for_all(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n".join(f"{i}\t{(i % 5) - 2}\tsnippet {i}" for i in range(100)))
    found = read_snippets(path, 100)
    assert len(found) == 80, "a rating of 0 is neither positive nor negative"
    assert [sum(r.split == "test" and r.label == label for r in found) for label in (0, 1)] == [8, 8]
    assert read_snippets(path, 100) == found
    with pytest.raises(DataFormatError, match="expected 10,605 lines, got 100"):
        read_snippets(path)


@pytest.mark.parametrize("line", ["5", "5\tgood", "5\tx\tgood", "5\t9\tgood", "5\t1\t "])
def test_malformed_snippets_name_the_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"1\t2.0\tfine\n2\t-2.0\tbad\n{line}\n3\t1\tfine\n")
    with pytest.raises(DataFormatError, match=r"a\.txt, line 3: expected"):
        read_snippets(path, 4)


def test_stratified_draws_leave_both_sides_every_class() -> None:
    labels = np.array([0] * 90 + [1] * 10 + [2] * 2)
    held = draw_stratified(labels, 0.1, np.random.default_rng(0))
    assert [int(held[labels == k].sum()) for k in range(3)] == [9, 1, 1]


@pytest.mark.parametrize("packed", [False, True])
def test_word_vectors_are_read_from_text(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / ("glove.6B.3d.txt" + ".xz" * packed)
    content = "the 1 2 3\ncaf\u00e9 .5 -1e-3 0\nother 7 8 9\n".encode()
    path.write_bytes(lzma.compress(content) if packed else content)
    vectors, size = read_vectors(find_vectors(tmp_path), ["caf\u00e9", "absent", "the"])
    assert size == 3
    assert sorted(vectors) == ["caf\u00e9", "the"]
    np.testing.assert_allclose(vectors["caf\u00e9"], [0.5, -1e-3, 0.0])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("bad 1 2", "line 2: expected 3 finite numbers as in line 1, got 2"),
        ("bad 1 x 3", "line 2: expected numbers"),
        ("bad 1 nan 3", "line 2: expected 3 finite numbers"),
    ],
)
def test_malformed_word_vectors_name_the_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "glove.6B.3d.txt"
    path.write_text(f"the 1 2 3\n{line}\n")
    with pytest.raises(DataFormatError, match=message):
        read_vectors(path, ["bad"])
    path.write_text("")
    with pytest.raises(DataFormatError, match="the file has none"):
        read_vectors(path, ["bad"])
    path.unlink()
    with pytest.raises(DataFormatError, match="expected one file of word vectors"):
        find_vectors(tmp_path)


def test_unknown_words_get_seeded_vectors_and_the_padding_zeros() -> None:
    known = {"c": np.array([9.0, 9.0], dtype=np.float32)}
    tables = [embed(["<pad>", "<unk>", "a", "c"], known, 2, first_word=2, seed=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(tables[0], tables[1])
    assert not np.array_equal(tables[0], tables[2])
    assert tables[0][0].tolist() == [0.0, 0.0]
    assert tables[0][3].tolist() == [9.0, 9.0]
    assert 0 < np.abs(tables[0][1:3]).max() <= 0.25


def prepared(tmp_path: Path, **changes: object) -> Path:
    raw, out = tmp_path / "raw/imdb", tmp_path / "prepared/imdb"
    obtain("imdb", places.parts_of("imdb", glove_dimension=50), raw, "mirror", print)
    settings = {
        "seed": 0,
        "vocabulary_size": 20,
        "max_length": 8,
        "crop": "last",
        "val_share": 0.2,
        **changes,
    }
    prepare_imdb(raw, out, **settings)  # type: ignore[arg-type]
    return out


def test_prepared_reviews(imdb_mirror: Path, tmp_path: Path) -> None:
    out = prepared(tmp_path)
    meta, vocabulary, embedding = load_meta(out), load_vocabulary(out), load_embedding(out)
    assert meta["sizes"] == {"train": 16, "val": 4, "test": 20}
    assert meta["majority_class_share"] == {"val": 0.5, "test": 0.5}
    assert len(vocabulary) == meta["vocabulary_size"] == len(embedding) == 20
    assert vocabulary[:2] == ["<pad>", "<unk>"]
    assert embedding.shape == (20, meta["embedding_size"])
    assert 0.5 < meta["coverage"]["types"] < 1.0
    assert meta["coverage"]["tokens"] <= meta["coverage"]["vocabulary_tokens"] <= 1.0
    train = load_split(out, "train")
    assert train.inputs.dtype == np.int32
    assert train.inputs.shape == (16, 8)
    assert (train.lengths == 8).all()
    assert vocabulary[train.inputs[0, -1]] == "!"


def test_short_reviews_are_padded_at_the_end(imdb_mirror: Path, tmp_path: Path) -> None:
    out = prepared(tmp_path, max_length=200)
    meta, train = load_meta(out), load_split(out, "train")
    assert meta["num_steps"] == train.lengths.max() < 200, "no longer than the longest review"
    for row, length in zip(train.inputs, train.lengths, strict=True):
        assert (row[:length] > 0).all()
        assert (row[length:] == 0).all()


def test_the_vocabulary_knows_nothing_of_val_and_test(imdb_mirror: Path, tmp_path: Path) -> None:
    import tarfile

    path = imdb_mirror / "imdb/aclImdb.tar.xz"
    with tarfile.open(path) as archive:
        files = {m.name: archive.extractfile(m).read() for m in archive if m.isreg()}  # type: ignore[union-attr]
    files = {n: c + b" zebra" * 50 if "/test/" in n else c for n, c in files.items()}
    path.write_bytes(tar_bytes(files))
    assert "zebra" not in load_vocabulary(prepared(tmp_path, vocabulary_size=1000))


def test_a_sample_of_word_vectors_is_refused(imdb_mirror: Path, tmp_path: Path) -> None:
    path = imdb_mirror / "glove/glove.6B.50d.txt"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(DataUnavailableError, match=r"download\.imdb\.glove_dimension"):
        prepared(tmp_path)
    assert not (tmp_path / "prepared/imdb").exists()


def test_a_vocabulary_without_words_is_refused(imdb_mirror: Path, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="must be above 2; got 2"):
        prepared(tmp_path, vocabulary_size=2)
