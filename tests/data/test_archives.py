"""Damaged and hostile archives are refused, and nothing of them is written."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest

from skipw.data.archives import read_members, read_packed, unpack
from skipw.errors import ChecksumError

WANTED = {"a.txt": "a.txt"}
CONTENT = b"some text\n" * 1000


def zip_of(path: Path, name: str, content: bytes = CONTENT, mode: int = 0o100644) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        info.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(info, content)
    return path


def tar_of(
    path: Path, name: str, mode: str = "w:gz", content: bytes = CONTENT, kind: bytes = tarfile.REGTYPE
) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        info = tarfile.TarInfo(name)
        info.type = kind
        info.linkname = "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
        info.size = len(content) if kind == tarfile.REGTYPE else 0
        archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:xz", "w:bz2"])
def test_chosen_members_are_unpacked_whatever_the_packing(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "archive"
    path = zip_of(path, "top/a.txt") if mode == "zip" else tar_of(path, "top/a.txt", mode)
    out = tmp_path / "out"
    out.mkdir()
    unpack(path, out, {"a.txt": "b.txt"})
    assert [p.name for p in out.iterdir()] == ["b.txt"]
    assert (out / "b.txt").read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["../a.txt", "/a.txt", "x/../../a.txt", "C:\\a.txt", "..\\a.txt"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_leave_the_folder_are_hostile(tmp_path: Path, name: str, kind: str) -> None:
    path = (zip_of if kind == "zip" else tar_of)(tmp_path / "archive", name)
    (tmp_path / "out").mkdir()
    with pytest.raises(ChecksumError, match="hostile"):
        unpack(path, tmp_path / "out", WANTED)
    assert list((tmp_path / "out").iterdir()) == []
    assert not (tmp_path / "a.txt").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_hostile(tmp_path: Path, kind: bytes) -> None:
    path = tar_of(tmp_path / "archive", "a.txt", kind=kind)
    with pytest.raises(ChecksumError, match="link or a device"):
        unpack(path, tmp_path, WANTED)
    assert not (tmp_path / "a.txt").exists()


def test_links_in_a_zip_are_hostile(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "archive", "a.txt", b"/etc/passwd", mode=0o120777)
    with pytest.raises(ChecksumError, match="link or a device"):
        unpack(path, tmp_path, WANTED)
    assert not (tmp_path / "a.txt").exists()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_bombs_stop_at_the_size_limit(tmp_path: Path, kind: str) -> None:
    path = (zip_of if kind == "zip" else tar_of)(tmp_path / "archive", "a.txt", content=bytes(5_000_000))
    assert path.stat().st_size < 50_000
    with pytest.raises(ChecksumError, match="bomb"):
        unpack(path, tmp_path, WANTED, max_bytes=1_000_000)
    assert not (tmp_path / "a.txt").exists()


def test_bombs_hidden_behind_the_end_of_a_tar_stop_too(tmp_path: Path) -> None:
    plain = tar_of(tmp_path / "plain", "a.txt", "w")
    path = tmp_path / "archive"
    path.write_bytes(gzip.compress(plain.read_bytes() + bytes(5_000_000)))
    with pytest.raises(ChecksumError, match="bomb"):
        unpack(path, tmp_path, WANTED, max_bytes=1_000_000)
    assert not (tmp_path / "a.txt").exists()


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(50):
            archive.writestr(f"{i}.txt", b"")
    with pytest.raises(ChecksumError, match="more members"):
        list(read_members(path, lambda name: True, max_members=20))


def test_a_zip_that_lies_about_a_size_gives_no_more_than_it_said(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "archive", "a.txt", bytes(3_000_000))
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(mark) + offset
        data[at : at + 4] = (1000).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(ChecksumError, match="truncated or damaged"):
        unpack(path, tmp_path, WANTED)
    assert not (tmp_path / "a.txt").exists()


@pytest.mark.parametrize(
    ("offsets", "value", "reason"),
    [((6, 8), 1, "encrypted"), ((8, 10), 99, "compression"), ((4, 6), 99, "version")],
)
def test_a_zip_that_python_can_not_read_is_an_error(
    tmp_path: Path, offsets: tuple[int, int], value: int, reason: str
) -> None:
    path = zip_of(tmp_path / "archive", "a.txt")
    data = bytearray(path.read_bytes())
    for mark, offset in zip((b"PK\x03\x04", b"PK\x01\x02"), offsets, strict=True):
        at = data.index(mark) + offset
        data[at : at + 2] = value.to_bytes(2, "little")
    path.write_bytes(data)
    with pytest.raises(ChecksumError, match=reason):
        unpack(path, tmp_path, WANTED)
    assert not (tmp_path / "a.txt").exists()


@pytest.mark.parametrize("mode", ["zip", "w:gz", "w:xz", "w:bz2"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_truncated_archives_are_an_error_and_leave_nothing(tmp_path: Path, mode: str, share: float) -> None:
    noise = bytes((i * 7919 >> 3) & 255 for i in range(20_000))
    path = tmp_path / "archive"
    path = zip_of(path, "a.txt", noise) if mode == "zip" else tar_of(path, "a.txt", mode, noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    (tmp_path / "out").mkdir()
    with pytest.raises(ChecksumError, match="archive"):
        unpack(path, tmp_path / "out", WANTED)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "archive", "a.txt", "w:xz", bytes(range(256)) * 40)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ChecksumError, match="damaged"):
        unpack(path, tmp_path, WANTED)
    assert not (tmp_path / "a.txt").exists()


def test_a_missing_member_is_named(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "archive", "other.txt")
    with pytest.raises(ChecksumError, match=r"expected a\.txt inside"):
        unpack(path, tmp_path, WANTED)
    assert [p.name for p in tmp_path.iterdir()] == ["archive"]


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".xz", lzma.compress), ("", bytes)])
def test_packed_files_are_read_and_limited(tmp_path: Path, suffix: str, pack: type[bytes]) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(pack(CONTENT))
    assert read_packed(path) == CONTENT
    with pytest.raises(ChecksumError, match="bomb"):
        read_packed(path, max_bytes=100)
    with pytest.raises(ChecksumError, match="no such file"):
        read_packed(tmp_path / "none")
