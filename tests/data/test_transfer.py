"""Downloads resume, give up in time and leave nothing half written."""

from __future__ import annotations

import hashlib
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from skipw.data import transfer
from skipw.data.transfer import TransferError, check_reachable, download, without_secrets
from skipw.errors import ChecksumError

CONTENT = bytes(range(256)) * 4000  # 1 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def test_a_whole_file_arrives(site: Any, tmp_path: Path) -> None:
    site.files["/a.bin"] = CONTENT
    download(f"{site.url}/a.bin", tmp_path / "a.bin", tmp_path / "partial", sha256=SHA256)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert list((tmp_path / "partial").iterdir()) == []


def test_a_broken_download_goes_on_from_its_part(site: Any, tmp_path: Path) -> None:
    site.files["/a.bin"] = CONTENT
    site.break_after = 300_000
    target, partial = tmp_path / "a.bin", tmp_path / "partial"
    with pytest.raises(TransferError, match="broke after 300,000 of 1,024,000"):
        download(f"{site.url}/a.bin", target, partial)
    assert not target.exists()
    assert (partial / "a.bin.part").read_bytes() == CONTENT[:300_000]
    download(f"{site.url}/a.bin", target, partial)
    assert target.read_bytes() == CONTENT
    assert site.asked[-1] == ("/a.bin", "bytes=300000-")


def test_a_file_that_changed_meanwhile_is_fetched_anew(site: Any, tmp_path: Path) -> None:
    site.files["/a.bin"] = CONTENT
    site.break_after = 1000
    with pytest.raises(TransferError):
        download(f"{site.url}/a.bin", tmp_path / "a.bin", tmp_path / "partial")
    site.files["/a.bin"], site.etag = b"new" * 1000, '"v2"'
    download(f"{site.url}/a.bin", tmp_path / "a.bin", tmp_path / "partial")
    assert (tmp_path / "a.bin").read_bytes() == b"new" * 1000


@pytest.mark.parametrize(("etag", "ranges"), [(None, True), ('"v1"', False), ('W/"weak"', True)])
def test_servers_that_cannot_resume_are_asked_from_the_start(
    site: Any, tmp_path: Path, etag: str | None, ranges: bool
) -> None:
    site.files["/a.bin"], site.etag, site.ranges = CONTENT, etag, ranges
    site.break_after = 1000
    with pytest.raises(TransferError):
        download(f"{site.url}/a.bin", tmp_path / "a.bin", tmp_path / "partial")
    download(f"{site.url}/a.bin", tmp_path / "a.bin", tmp_path / "partial")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_spoilt_part_is_found_by_the_hash_and_fetched_anew(site: Any, tmp_path: Path) -> None:
    site.files["/a.bin"] = CONTENT
    site.break_after = 5000
    with pytest.raises(TransferError):
        download(f"{site.url}/a.bin", tmp_path / "a.bin", tmp_path / "partial", sha256=SHA256)
    (tmp_path / "partial/a.bin.part").write_bytes(b"x" * 5000)
    download(f"{site.url}/a.bin", tmp_path / "a.bin", tmp_path / "partial", sha256=SHA256)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_thrown_away(site: Any, tmp_path: Path) -> None:
    site.files["/a.bin"] = CONTENT
    site.break_after = 5000
    with pytest.raises(TransferError):
        download(f"{site.url}/a.bin", tmp_path / "a.bin", tmp_path / "partial")
    (tmp_path / "partial/a.bin.part").write_bytes(CONTENT + b"more")
    download(f"{site.url}/a.bin", tmp_path / "a.bin", tmp_path / "partial")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_wrong_hash_is_an_error_and_nothing_stays(site: Any, tmp_path: Path) -> None:
    site.files["/a.bin"] = CONTENT
    with pytest.raises(ChecksumError, match="expected SHA-256 0000"):
        download(f"{site.url}/a.bin", tmp_path / "a.bin", tmp_path / "partial", sha256="0" * 64)
    assert not (tmp_path / "a.bin").exists()
    assert list((tmp_path / "partial").iterdir()) == []


def test_a_missing_file_says_its_status(site: Any, tmp_path: Path) -> None:
    with pytest.raises(TransferError, match="404") as caught:
        download(f"{site.url}/none", tmp_path / "none", tmp_path / "partial")
    assert caught.value.status == 404


def test_a_host_that_refuses_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(TransferError, match="cannot be reached"):
        check_reachable(f"http://127.0.0.1:{port}/")
    assert time.monotonic() - start < 2


def test_a_name_lookup_that_hangs_costs_no_more_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **__: object) -> socket.socket:
        time.sleep(2)
        raise OSError("at last")

    monkeypatch.setattr(transfer.socket, "create_connection", hang)
    start = time.monotonic()
    with pytest.raises(TransferError, match=r"did not answer within 0.2 s"):
        check_reachable("http://slow.invalid/", seconds=0.2)
    assert time.monotonic() - start < 1.5
    assert transfer.CONNECT_SECONDS == 5.0


def test_only_web_addresses_are_opened(tmp_path: Path) -> None:
    with pytest.raises(TransferError, match="http"):
        download(f"file://{tmp_path}/a", tmp_path / "b", tmp_path / "partial")


def test_passwords_are_not_repeated_in_messages() -> None:
    assert without_secrets("https://me:secret@host.invalid:8080/a?b=c") == "https://host.invalid:8080/a?b=c"
