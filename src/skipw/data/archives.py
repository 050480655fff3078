"""Reading archives that nobody vouches for: nothing is run, leaves the folder or grows without end.

Refused with a ChecksumError before a byte of the member is written: absolute names and names with ``..``,
    links,
devices, and members beyond the size or count limit. Both formats state a member's size ahead and their
readers stop there, so counting the stated sizes bounds what is unpacked. A truncated or damaged archive is
refused too.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from skipw.errors import ChecksumError

MAX_BYTES = 4 * 1024**3  # of all members taken; the largest real one, GloVe 6B 300d, has 1.04e9
MAX_MEMBERS = 200_000  # the official IMDB archive has about 100,000
CHUNK = 1 << 20
DAMAGED = (
    tarfile.TarError, zipfile.BadZipFile, zipfile.LargeZipFile, lzma.LZMAError, gzip.BadGzipFile, zlib.error,
    EOFError, OSError,
)  # fmt: skip
REMEDY = "delete it and download again; if it comes from a mirror, replace the mirror's copy"


@dataclass
class Limits:
    """What an archive may still give: ``take`` subtracts and raises when there is too much."""

    path: Path
    max_bytes: int = MAX_BYTES
    max_members: int = MAX_MEMBERS

    def take(self, num_bytes: int) -> None:
        self.max_bytes -= num_bytes
        if self.max_bytes < 0:
            raise ChecksumError(f"{self.path}: unpacks to more than is allowed (a bomb?); {REMEDY}")

    def count(self) -> None:
        self.max_members -= 1
        if self.max_members < 0:
            raise ChecksumError(f"{self.path}: has more members than are allowed (a bomb?); {REMEDY}")


@contextmanager
def damage_is_reported(path: Path) -> Iterator[None]:
    """Turn what the decompressors raise on a damaged file into a ChecksumError that names it."""
    if not path.is_file():
        raise ChecksumError(f"{path}: no such file")
    try:
        yield
    except ChecksumError:
        raise
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's trouble, not the archive's
        raise ChecksumError(
            f"{path}: truncated or damaged ({error or type(error).__name__}); {REMEDY}"
        ) from error


def read_members(
    path: Path, wanted: Callable[[str], bool], *, max_bytes: int = MAX_BYTES, max_members: int = MAX_MEMBERS
) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the wanted members of a zip or tar (plain, gz, xz, bz2), in its order.

    Args:
        path: the archive.
        wanted: gets a member's name, with ``/`` between folders.
        max_bytes: most bytes of all members together (of a zip only the wanted ones are unpacked and
            counted).
        max_members: most members of any kind.
    Raises:
        ChecksumError: if the archive is damaged or hostile.
    """
    limits = Limits(path, max_bytes, max_members)
    with damage_is_reported(path):
        for name, source in _members(path, wanted, limits):
            yield name, source.read()


def unpack(
    path: Path,
    folder: Path,
    names: Mapping[str, str],
    *,
    max_bytes: int = MAX_BYTES,
    max_members: int = MAX_MEMBERS,
) -> None:
    """Write chosen members of an archive into ``folder``.

    Args:
        path: a zip or tar.
        folder: exists already.
        names: last part of a member's name -> file name in ``folder``; the first member of that name is
            taken.
        max_bytes: see ``read_members``.
        max_members: see ``read_members``.
    Raises:
        ChecksumError: if the archive is damaged or hostile or lacks one of the names.
    """
    limits = Limits(path, max_bytes, max_members)
    missing = dict(names)
    written: list[Path] = []
    try:
        with damage_is_reported(path):
            for name, source in _members(path, lambda n: PurePosixPath(n).name in missing, limits):
                target = folder / missing.pop(PurePosixPath(name).name)
                written.append(target)
                with target.open("wb") as file:
                    shutil.copyfileobj(source, file, CHUNK)
        if missing:
            raise ChecksumError(f"{path}: expected {', '.join(sorted(missing))} inside, not found; {REMEDY}")
    except BaseException:
        for target in written:
            target.unlink(missing_ok=True)
        raise


def _members(path: Path, wanted: Callable[[str], bool], limits: Limits) -> Iterator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(path):
        yield from _zip_members(path, wanted, limits)
    else:
        yield from _tar_members(path, wanted, limits)


def _zip_members(
    path: Path, wanted: Callable[[str], bool], limits: Limits
) -> Iterator[tuple[str, IO[bytes]]]:
    with _refusals(path):
        opened = zipfile.ZipFile(path)
    with opened as archive:
        for info in archive.infolist():
            limits.count()
            mode = info.external_attr >> 16
            _check_name(path, info.filename, is_link=(mode & 0o170000) == 0o120000)
            if info.is_dir() or not wanted(info.filename):
                continue
            limits.take(info.file_size)
            with _refusals(path):
                member = archive.open(info)
            with member as source:
                yield info.filename, source


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """What zipfile says of a member that is encrypted, or packed in a way that it does not know, as a ChecksumError."""
    try:
        yield
    except RuntimeError as error:  # NotImplementedError among them
        raise ChecksumError(f"{path}: can't be unpacked ({error}); {REMEDY}") from error


def _tar_members(
    path: Path, wanted: Callable[[str], bool], limits: Limits
) -> Iterator[tuple[str, IO[bytes]]]:
    with _open_by_content(path) as stream:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for info in archive:
                limits.count()
                _check_name(path, info.name, is_link=not (info.isreg() or info.isdir()))
                limits.take(info.size)  # unwanted members too: they are unpacked to be passed over
                if info.isreg() and wanted(info.name):
                    source = archive.extractfile(info)
                    assert source is not None  # a regular file
                    yield info.name, source
        while rest := stream.read(CHUNK):  # up to the packer's own end mark and checksum
            limits.take(len(rest))


def _open_by_content(path: Path) -> BinaryIO:
    """The unpacked bytes of a tar, whatever packed it: told by its first bytes, not by its name."""
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"\x1f\x8b"):
        return cast(BinaryIO, gzip.open(path, "rb"))
    if start == b"\xfd7zXZ\x00":
        return cast(BinaryIO, lzma.open(path, "rb"))
    if start.startswith(b"BZh"):
        return cast(BinaryIO, bz2.open(path, "rb"))
    return path.open("rb")


def _check_name(path: Path, name: str, *, is_link: bool) -> None:
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or (len(name) > 1 and name[1] == ":") or "\0" in name:
        raise ChecksumError(
            f"{path}: member {name!r} points outside the archive; it is hostile, do not use it"
        )
    if is_link:
        raise ChecksumError(f"{path}: member {name!r} is a link or a device; it is hostile, do not use it")


def open_text_bytes(path: Path) -> BinaryIO:
    """Open a file that may be packed with xz or gzip, by its suffix, for reading its bytes unpacked."""
    match path.suffix:
        case ".xz":
            return cast(BinaryIO, lzma.open(path, "rb"))
        case ".gz":
            return cast(BinaryIO, gzip.open(path, "rb"))
        case _:
            return path.open("rb")


def read_packed(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The whole content of a file, unpacked if it ends in .xz or .gz.

    Raises:
        ChecksumError: if the file is missing, damaged or unpacks to more than ``max_bytes``.
    """
    with damage_is_reported(path), open_text_bytes(path) as file:
        content = file.read(max_bytes + 1)
        Limits(path, max_bytes).take(len(content))
        return content


def sha256_of(path: Path) -> str:
    """SHA-256 of a file as it lies there, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
