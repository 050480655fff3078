"""``SKIPW_MIRROR``: a folder or an http(s) address with the data sets laid out as docs/data.md shows."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from skipw.data.archives import sha256_of
from skipw.data.transfer import TransferError, download, open_url, without_secrets
from skipw.errors import ChecksumError

VARIABLE = "SKIPW_MIRROR"
LIST = "SHA256SUMS"  # optional, at the mirror's top: hash and path a line, as sha256sum writes them


def mirror_location() -> str:
    """What SKIPW_MIRROR says.

    Raises:
        TransferError: if it is not set.
    """
    location = os.environ.get(VARIABLE, "").strip()
    if not location:
        raise TransferError(f"{VARIABLE} is not set")
    return location


def fetch_from_mirror(names: tuple[str, ...], into: Path, partial: Path) -> Path:
    """Copy or download the first of several equivalent files that the mirror has.

    Args:
        names: paths below the mirror's top, best first.
        into: folder for the file, which keeps the last part of its name.
        partial: see ``transfer.download``.
    Raises:
        TransferError: if the mirror is not set, does not answer, or has none of the names.
        ChecksumError: if the file is not what the mirror's own SHA256SUMS says.
    """
    location = mirror_location()
    if location.startswith(("http://", "https://")):
        return _from_address(location, names, into, partial)
    return _from_folder(Path(location).expanduser(), names, into)


def check_mirror(names: tuple[str, ...]) -> None:
    """Raise TransferError unless the mirror has one of the files."""
    location = mirror_location()
    if not location.startswith(("http://", "https://")):
        top = Path(location).expanduser()
        if not any((top / name).is_file() for name in names):
            raise TransferError(f"{top} has no {' or '.join(names)}")
        return
    for name in names:
        try:
            open_url(f"{location.rstrip('/')}/{name}", {"Range": "bytes=0-0"}).close()
            return
        except TransferError as error:
            if error.status is None:
                raise
    raise TransferError(f"{without_secrets(location)} has no {' or '.join(names)}")


def _from_folder(top: Path, names: tuple[str, ...], into: Path) -> Path:
    if not top.is_dir():
        raise TransferError(f"{VARIABLE}={top} is not a folder")
    for name in names:
        if (top / name).is_file():
            target = into / Path(name).name
            shutil.copyfile(top / name, target)
            listing = (top / LIST).read_text(encoding="utf-8") if (top / LIST).is_file() else ""
            expected = _listed(listing, name)
            if expected and sha256_of(target) != expected:
                target.unlink()
                raise ChecksumError(
                    f"{top / name}: is not what the mirror's {LIST} says; replace the mirror's copy"
                )
            return target
    raise TransferError(f"{top} has no {' or '.join(names)}")


def _from_address(location: str, names: tuple[str, ...], into: Path, partial: Path) -> Path:
    top = location.rstrip("/")
    listing = _listing_at(f"{top}/{LIST}")
    for name in names:
        target = into / Path(name).name
        try:
            download(f"{top}/{name}", target, partial, sha256=_listed(listing, name))
            return target
        except TransferError as error:
            if error.status not in (403, 404, 410):
                raise
    raise TransferError(f"{without_secrets(top)} has no {' or '.join(names)}")


def _listing_at(url: str) -> str:
    try:
        with open_url(url) as response:
            return str(response.read(10_000_000).decode("utf-8", errors="replace"))
    except TransferError as error:
        if error.status is None:
            raise
        return ""


def _listed(listing: str, name: str) -> str | None:
    for line in listing.splitlines():
        digest, _, path = line.strip().partition(" ")
        if path.strip().lstrip("*").removeprefix("./") == name and len(digest) == 64:
            return digest.lower()
    return None
