"""Small data sets in their real formats, and a web server on the loopback address."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from skipw.data import mnist, reviews, simulator

RESOURCES = dict[str, bytes]


def idx_bytes(array: np.ndarray) -> bytes:
    """An array of unsigned bytes in the idx format."""
    return (
        struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
        + array.astype(np.uint8).tobytes()
    )


def tar_bytes(files: dict[str, bytes], mode: str = "w:xz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def mnist_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror with 60 + 20 images instead of MNIST's, and their hashes expected."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "mirror/mnist"
    folder.mkdir(parents=True)
    hashes = {}
    for split, n in (("train", 60), ("t10k", 20)):
        for kind, array in (
            ("images-idx3", rng.integers(256, size=(n, 28, 28))),
            ("labels-idx1", np.arange(n) % 10),
        ):
            content = idx_bytes(array)
            hashes[f"{split}-{kind}-ubyte"] = hashlib.sha256(content).hexdigest()
            (folder / f"{split}-{kind}-ubyte.gz").write_bytes(gzip.compress(content))
    monkeypatch.setattr(mnist, "FILES", hashes)
    monkeypatch.setenv("SKIPW_MIRROR", str(folder.parent))
    return folder.parent


@pytest.fixture
def imdb_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror with 4 x 10 reviews in aclImdb's layout and word vectors of 50 numbers."""
    words = {"pos": "great wonderful moving", "neg": "dull awful boring"}
    files = {"aclImdb/README": b"about", "aclImdb/imdb.vocab": b"great\n"}
    for split in ("train", "test"):
        for kind, praise in words.items():
            for i in range(10):
                text = f"I didn't think it's {praise.split()[i % 3]}.<br /><br />Number {i} is {praise}!"
                files[f"aclImdb/{split}/{kind}/{i}_{8 if kind == 'pos' else 2}.txt"] = text.encode()
    top = tmp_path / "mirror"
    (top / "imdb").mkdir(parents=True)
    (top / "imdb/aclImdb.tar.xz").write_bytes(tar_bytes(files))
    (top / "glove").mkdir()
    known = [
        "i",
        "did",
        "n't",
        "think",
        "it",
        "'s",
        "great",
        "wonderful",
        "moving",
        "dull",
        "awful",
        "boring",
        ".",
        "!",
        "is",
    ]
    rng = np.random.default_rng(1)
    lines = [" ".join([word, *(f"{v:.5f}" for v in rng.normal(size=50))]) for word in known]
    (top / "glove/glove.6B.50d.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.setattr(reviews, "PER_FOLDER", 10)
    monkeypatch.setenv("SKIPW_MIRROR", str(top))
    return top


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest whole simulated set: every recording has one or two windows."""
    folder = tmp_path_factory.mktemp("simulated")
    windows = {"train": (240,) * 6, "test": (60,) * 6}
    simulator.write_data_set(folder, windows=windows)
    return folder


@pytest.fixture
def har_folder(tmp_path: Path) -> Path:
    """A set of one's own in the HAR format: 3 joints, 2 classes, 8 recordings of 3 windows, as plain text."""
    folder = tmp_path / "mine"
    folder.mkdir()
    rng = np.random.default_rng(2)
    for split, recordings in (("train", 8), ("test", 4)):
        rows, labels = [], []
        for recording in range(recordings):
            frames = rng.integers(1, 640, size=(44, 6))
            frames[rng.random(44) < 0.2, 2:4] = 0
            for window in range(3):
                rows += [",".join(map(str, row)) for row in frames[6 * window : 6 * window + 32]]
                labels.append(str(1 + recording % 2))
        (folder / f"X_{split}.txt").write_text("\n".join(rows) + "\n")
        (folder / f"Y_{split}.txt").write_text("\n".join(labels) + "\n")
    return folder


@dataclass
class Site:
    """What the server serves, how it misbehaves, and what it was asked."""

    files: RESOURCES = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    break_after: int | None = None  # bytes of the next answer, then the connection breaks
    etag: str | None = '"v1"'
    ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # path and Range
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        site = self.site
        wanted = self.headers.get("Range")
        site.asked.append((self.path, wanted))
        if self.path not in site.files:
            self.send_error(404)
            return
        content, start = site.files[self.path], 0
        fresh = self.headers.get("If-Range") in (None, site.etag)
        if wanted and site.ranges and fresh:
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
            if start >= len(content):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if site.etag:
            self.send_header("ETag", site.etag)
        self.send_header("Content-Type", site.types.get(self.path, "application/octet-stream"))
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = len(content) if site.break_after is None else start + site.break_after
        site.break_after = None
        self.wfile.write(content[start:end])


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A web server on the loopback address, with Range and ETag."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = Site()
    handler = type("Handler", (_Handler,), {"site": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
