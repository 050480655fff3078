"""SHA256SUMS: the checksums of all files of a folder, in the format of ``sha256sum -c``."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePosixPath

from skipw.errors import ChecksumError

__all__ = ["CHECKSUMS_FILE", "unlisted_files", "verify_checksums", "verify_where_listed", "write_checksums"]

CHECKSUMS_FILE = "SHA256SUMS"
REMEDY = "pull the model again (`skipw pull MODEL_URI DIR`)."
BUILT = "c/"  # `make -C c` leaves objects and programs there; nothing of this package reads them
LEFT = re.compile(r"__pycache__|\..+\.(tmp|old)")
LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


def write_checksums(folder: Path) -> None:
    """List every file below ``folder``; to be called when all others are written."""
    lines = [f"{_digest(path)}  {name}\n" for name, path in _files(folder).items()]
    (folder / CHECKSUMS_FILE).write_text("".join(lines), encoding="utf-8")


def verify_where_listed(folder: Path) -> None:
    """:func:`verify_checksums` where there is a SHA256SUMS; a plain model folder has none."""
    if (folder / CHECKSUMS_FILE).exists():
        verify_checksums(folder)


def verify_checksums(folder: Path) -> None:
    """Every listed file is there and unchanged, and there is no other.

    Raises:
        ChecksumError: naming the first file for which this does not hold.
    """
    listed = _listed(folder / CHECKSUMS_FILE)
    there = _files(folder)
    for name, digest in listed.items():
        if name not in there:
            raise ChecksumError(f"{folder / name} is missing, {CHECKSUMS_FILE} lists it; {REMEDY}")
        if there[name].is_symlink():
            raise ChecksumError(f"{there[name]} is a link, a bundle holds plain files only; {REMEDY}")
        found = _digest(there[name])
        if found != digest:
            raise ChecksumError(
                f"{there[name]} has SHA-256 {found}, {CHECKSUMS_FILE} says {digest}: it was changed or cut "
                f"short; {REMEDY}"
            )
    if extra := unlisted_files(folder):
        raise ChecksumError(
            f"{folder / extra[0]} is not in {CHECKSUMS_FILE}: it was added later. Keep own files outside of the "
            "folder, or pull the model again."
        )


def unlisted_files(folder: Path) -> list[str]:
    """Names of files that were added after SHA256SUMS was written, but for what a compiler leaves in c/."""
    listed = _listed(folder / CHECKSUMS_FILE)
    return [name for name in _files(folder) if name not in listed and not name.startswith(BUILT)]


def _listed(path: Path) -> dict[str, str]:
    """SHA-256 by the file's name."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ChecksumError(f"{path} cannot be read ({error}); {REMEDY}") from error
    listed: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        found = LINE.fullmatch(line)
        if found is None:
            raise ChecksumError(f"{path}, line {number}: expected a SHA-256 and a name; {REMEDY}")
        name = PurePosixPath(found[2])
        if name.is_absolute() or ".." in name.parts or str(name) != found[2]:
            raise ChecksumError(f"{path}, line {number}: {found[2]!r} leads out of the folder; {REMEDY}")
        listed[found[2]] = found[1]
    if not listed:
        raise ChecksumError(f"{path} is empty; {REMEDY}")
    return listed


def _files(folder: Path) -> dict[str, Path]:
    """Every file and link below the folder by its name there, without SHA256SUMS and what running leaves.

    That is __pycache__ and the unfinished folders of a process that was killed while it wrote (``skipw.data.atomic``).
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        own = any(LEFT.fullmatch(part) for part in name.parts) or name == Path(CHECKSUMS_FILE)
        if not own and (path.is_file() or path.is_symlink()):
            found[name.as_posix()] = path
    return found


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
