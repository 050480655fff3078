"""Outputs appear complete or not at all: written into a temporary sibling, then renamed into place."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from skipw.errors import DataFormatError


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of ``folder`` when the block ends well.

    If the block raises, the new folder is removed and the old one is untouched. Both lie on the same file
    system, so each step is one rename; the old folder is deleted last.

    Raises:
        DataFormatError: if no folder can be made there.
    """
    folder = Path(os.path.abspath(folder))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", suffix=".tmp", dir=folder.parent))
    except OSError as error:
        raise DataFormatError(
            f"{folder} cannot be made ({error.strerror or error}); name a place below a folder that can be written to."
        ) from error
    try:
        yield fresh
        os.chmod(fresh, 0o755)  # mkdtemp made it private
        _take_place(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _take_place(fresh: Path, folder: Path) -> None:
    if not folder.exists() and not folder.is_symlink():
        fresh.rename(folder)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", suffix=".old", dir=folder.parent))
    try:
        folder.rename(aside / folder.name)
        try:
            fresh.rename(folder)
        except OSError:
            (aside / folder.name).rename(folder)
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_json(path: Path, values: Any) -> None:
    """Write readable JSON with one rename, so a reader never sees half of it."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(values, file, indent=2, ensure_ascii=False, allow_nan=False)
            file.write("\n")
        os.chmod(name, 0o644)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
