"""MNIST as sequences of pixels: the idx format, image sizes that divide 28, scaled to [0, 1].

Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits". One pixel is one input; a full
image is a sequence of 784 (paper, appendix E). Smaller images are means over blocks of pixels.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from skipw.data.archives import read_packed
from skipw.data.normaliser import Normaliser
from skipw.data.prepared import Split, full_lengths, save_prepared
from skipw.data.sources import require_record
from skipw.errors import ChecksumError, DataFormatError, ParamsError

# SHA-256 of the files unpacked, so that it does not matter who packed them, or whether.
FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
SIDE = 28
CLASSES = 10
UBYTE = 8  # idx's code for unsigned bytes
MAX_BYTES = 100_000_000
REMEDY = "delete it and run `python pipelines/download.py mnist` again"


def find_file(folder: Path, name: str) -> Path:
    """The idx file, packed or not; raises DataFormatError if it is not in the folder."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataFormatError(f"{folder}: expected {name} or {name}.gz, found neither; {REMEDY}")


def check_files(folder: Path) -> None:
    """Check that the folder holds the four original files.

    Raises:
        ChecksumError: if one is damaged or another than the original.
        DataFormatError: if one is missing.
    """
    for name, expected in FILES.items():
        path = find_file(folder, name)
        got = hashlib.sha256(read_packed(path, max_bytes=MAX_BYTES)).hexdigest()
        if got != expected:
            raise ChecksumError(f"{path}: unpacked SHA-256 should be {expected}, is {got}; {REMEDY}")


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Read an idx file of unsigned bytes: images UInt8[n, 28, 28] or labels UInt8[n].

    Raises:
        DataFormatError: if the magic number, the sizes or the length are wrong.
        ChecksumError: if it is packed and damaged.
    """
    content = read_packed(path, max_bytes=MAX_BYTES)
    if len(content) < 4 or content[:3] != bytes([0, 0, UBYTE]) or content[3] not in (1, 3):
        raise DataFormatError(
            f"{path}: expected an idx file of bytes (magic 00 00 08 01 or 03), starts with "
            f"{content[:4].hex(' ') or 'nothing'}; {REMEDY}"
        )
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise DataFormatError(f"{path}: ends inside the header; {REMEDY}")
    shape = tuple(int(v) for v in np.frombuffer(content, ">u4", dimensions, 4))
    size = int(np.prod(shape, dtype=np.int64))
    if len(content) - start != size or size == 0:
        raise DataFormatError(
            f"{path}: the header says {size:,} bytes of data, {len(content) - start:,} follow; {REMEDY}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read_images_and_labels(folder: Path, split: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """UInt8[n, 28, 28] and Int64[n] of ``train`` or ``t10k``; DataFormatError if they don't fit together."""
    images_path, labels_path = (
        find_file(folder, f"{split}-{kind}") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
        raise DataFormatError(
            f"{images_path}: expected images of {SIDE}x{SIDE}, got shape {images.shape}; {REMEDY}"
        )
    if labels.ndim != 1 or len(labels) != len(images):
        raise DataFormatError(
            f"{labels_path}: expected {len(images)} labels, got shape {labels.shape}; {REMEDY}"
        )
    if labels.max() >= CLASSES:
        row = int(np.argmax(labels >= CLASSES))
        raise DataFormatError(
            f"{labels_path}: label {row + 1} is {labels[row]}, expected 0..{CLASSES - 1}; {REMEDY}"
        )
    return images, labels.astype(np.int64)


def to_sequences(images: npt.NDArray[np.uint8], image_size: int) -> npt.NDArray[np.float32]:
    """Flatten images row by row: UInt8[n, 28, 28] -> Float32[n, image_size², 1] in [0, 255].

    Args:
        images: as read.
        image_size: a divisor of 28; each pixel of a smaller image is the mean of a block.
    Raises:
        ParamsError: if image_size does not divide 28.
    """
    if image_size < 1 or SIDE % image_size:
        raise ParamsError(f"prepare.mnist.image_size must divide 28 (1, 2, 4, 7, 14 or 28); got {image_size}")
    n, block = len(images), SIDE // image_size
    blocks = images.reshape(n, image_size, block, image_size, block)
    small = blocks.sum(axis=(2, 4), dtype=np.uint32).astype(np.float32) / np.float32(block * block)
    return small.reshape(n, image_size * image_size, 1)


def prepare_mnist(
    raw: Path, out: Path, *, seed: int, image_size: int, val: int,
    train_limit: int | None = None, test_limit: int | None = None,
) -> None:  # fmt: skip
    """Write MNIST's three splits; val is drawn at random from the training images (the standard 5,000).

    Every split is in a random order that the seed fixes: the first half of the test images is the easier one.

    Raises:
        ParamsError: if image_size does not divide 28 or val leaves no training images.
        DataFormatError, ChecksumError: if the files are not MNIST's.
    """
    record = require_record(raw)
    images, labels = read_images_and_labels(raw, "train")
    test_images, test_labels = read_images_and_labels(raw, "t10k")
    if not 0 < val < len(images):
        raise ParamsError(f"prepare.mnist.val must leave training images: 0 < val < {len(images)}; got {val}")
    rng = np.random.default_rng(seed)
    order, test_order = rng.permutation(len(images)), rng.permutation(len(test_images))[:test_limit]
    normaliser = Normaliser("scale", 1, mean=(0.0,), scale=(255.0,))

    def split(x: npt.NDArray[np.uint8], y: npt.NDArray[np.int64]) -> Split:
        inputs = normaliser(to_sequences(x, image_size))
        return Split(inputs, y, full_lengths(inputs))

    kept, held = order[val:][:train_limit], order[:val]
    splits = {
        "train": split(images[kept], labels[kept]),
        "val": split(images[held], labels[held]),
        "test": split(test_images[test_order], test_labels[test_order]),
    }
    size = "" if image_size == SIDE else f" {image_size}×{image_size}"
    meta = {
        "dataset": "mnist",
        "title": f"Sequential {record['title']}{size}",
        "data_source": record["data_source"],
        "task": "classification",
        "metric": "accuracy",
        "classes": [str(digit) for digit in range(CLASSES)],
        "input_size": 1,
        "num_steps": image_size * image_size,
        "normaliser": normaliser.to_json(),
        "vocabulary_size": 0,
        "embedding_size": 0,
        "preprocessing": {"seed": seed, "image_size": image_size},
    }
    save_prepared(out, splits, meta, {})
