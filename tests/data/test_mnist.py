"""The idx format, read strictly, and images as sequences."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from skipw.data import mnist, places
from skipw.data.mnist import prepare_mnist, read_idx, read_images_and_labels, to_sequences
from skipw.data.prepared import load_meta, load_split
from skipw.data.sources import obtain
from skipw.errors import ChecksumError, DataFormatError, ParamsError
from tests.data.conftest import idx_bytes


@pytest.mark.parametrize("packed", [True, False])
def test_idx_files_are_read_packed_or_not(tmp_path: Path, packed: bool) -> None:
    images = np.random.default_rng(0).integers(256, size=(3, 28, 28))
    path = tmp_path / ("a.gz" if packed else "a")
    path.write_bytes(gzip.compress(idx_bytes(images)) if packed else idx_bytes(images))
    np.testing.assert_array_equal(read_idx(path), images)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with nothing"),
        (b"\x00\x00", "starts with 00 00"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00", "starts with 00 00 0d 01"),
        (b"\x89PNG....", "starts with 89 50 4e 47"),
        (b"\x00\x00\x08\x03\x00\x00", "ends inside the header"),
        (idx_bytes(np.zeros((2, 28, 28)))[:-1], "the header says 1,568 bytes of data, 1,567 follow"),
        (idx_bytes(np.zeros(5)) + b"x", "the header says 5 bytes of data, 6 follow"),
        (idx_bytes(np.zeros(0)), "the header says 0 bytes"),
    ],
)
def test_malformed_idx_files_name_file_and_remedy(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataFormatError) as caught:
        read_idx(path)
    assert message in str(caught.value)
    assert "train-images-idx3-ubyte" in str(caught.value)
    assert "download.py mnist" in str(caught.value)


def test_a_truncated_gz_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(
        gzip.compress(idx_bytes(np.random.default_rng(0).integers(256, size=(9, 28, 28))))[:-500]
    )
    with pytest.raises(ChecksumError, match="truncated or damaged"):
        read_idx(path)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ((4, 28, 28), [1, 2, 3], "expected 4 labels"),
        ((4, 27, 28), [1, 2, 3, 4], "expected images of 28x28"),
        ((4, 28, 28), [1, 2, 10, 4], "label 3 is 10, expected 0..9"),
    ],
)
def test_images_and_labels_must_fit(
    tmp_path: Path, images: tuple[int, ...], labels: list[int], message: str
) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros(images)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.array(labels)))
    with pytest.raises(DataFormatError, match=message):
        read_images_and_labels(tmp_path, "train")
    with pytest.raises(DataFormatError, match="t10k-images-idx3-ubyte"):
        read_images_and_labels(tmp_path, "t10k")


def test_pixels_go_row_by_row() -> None:
    image = np.arange(28 * 28).reshape(1, 28, 28) % 251
    sequence = to_sequences(image.astype(np.uint8), 28)
    assert sequence.shape == (1, 784, 1)
    np.testing.assert_array_equal(sequence[0, :, 0], image.reshape(-1))


@pytest.mark.parametrize("size", [1, 2, 4, 7, 14])
def test_smaller_images_are_means_of_blocks(size: int) -> None:
    image = np.random.default_rng(0).integers(256, size=(2, 28, 28)).astype(np.uint8)
    small = to_sequences(image, size).reshape(2, size, size)
    block = 28 // size
    np.testing.assert_allclose(small[1, -1, 0], image[1, 28 - block :, :block].mean(), rtol=1e-6)
    np.testing.assert_allclose(small.mean(), image.mean(), rtol=1e-5)


def test_sizes_that_do_not_divide_28_are_refused() -> None:
    with pytest.raises(ParamsError, match="must divide 28"):
        to_sequences(np.zeros((1, 28, 28), np.uint8), 10)


def test_prepared_images_are_those_of_the_files(mnist_mirror: Path, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw/mnist", tmp_path / "prepared/mnist"
    obtain("mnist", places.parts_of("mnist"), raw, "auto", print)
    prepare_mnist(raw, out, seed=0, image_size=14, val=10)
    meta = load_meta(out)
    assert meta["sizes"] == {"train": 50, "val": 10, "test": 20}
    assert (meta["num_steps"], meta["input_size"], meta["data_source"]) == (196, 1, "mirror")
    splits = [load_split(out, name) for name in ("train", "val")]
    images, labels = read_images_and_labels(raw, "train")
    expected = {
        (x / np.float32(255)).tobytes(): y for x, y in zip(to_sequences(images, 14), labels, strict=True)
    }
    got = {x.tobytes(): y for s in splits for x, y in zip(s.inputs, s.targets, strict=True)}
    assert got.keys() == expected.keys()
    assert all(got[key] == expected[key] for key in got)
    assert splits[0].inputs.max() <= 1.0
    assert sorted(load_split(out, "test").targets.tolist()) == sorted([*range(10)] * 2)


def test_limits_and_impossible_val_sizes(mnist_mirror: Path, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw/mnist", tmp_path / "prepared/mnist"
    obtain("mnist", places.parts_of("mnist"), raw, "auto", print)
    prepare_mnist(raw, out, seed=0, image_size=7, val=10, train_limit=12, test_limit=5)
    assert load_meta(out)["sizes"] == {"train": 12, "val": 10, "test": 5}
    with pytest.raises(ParamsError, match=r"0 < val < 60; got 60"):
        prepare_mnist(raw, out, seed=0, image_size=7, val=60)


@pytest.mark.skipif(
    "SKIPW_MIRROR" not in os.environ, reason="SKIPW_MIRROR is not set: the real files are not at hand"
)
def test_the_real_files_have_the_known_hashes(tmp_path: Path) -> None:
    record = obtain("mnist", places.parts_of("mnist"), tmp_path / "raw/mnist", "mirror", print)
    assert record["data_source"] == "mirror"
    images, labels = read_images_and_labels(tmp_path / "raw/mnist", "t10k")
    assert len(images) == 10_000
    assert labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert set(mnist.FILES) == {
        path.name.removesuffix(".gz") for path in (tmp_path / "raw/mnist").glob("*.gz")
    }
