"""SHA256SUMS: what is listed, and what is none of its business."""

from __future__ import annotations

from pathlib import Path

import pytest

from skipw.errors import ChecksumError
from skipw.runtime.checksums import CHECKSUMS_FILE, unlisted_files, verify_checksums, write_checksums


def test_what_a_killed_process_left_is_not_listed(tmp_path: Path) -> None:
    """Nor is it missed once it is gone, or taken for a file that was added."""
    for name in (
        "imdb/model.json",
        ".imdb-a1b2.tmp/model.json",
        ".imdb-c3.old/imdb/x",
        "imdb/__pycache__/a.pyc",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    write_checksums(tmp_path)
    assert (tmp_path / CHECKSUMS_FILE).read_text().splitlines()[0].endswith("  imdb/model.json")
    assert len((tmp_path / CHECKSUMS_FILE).read_text().splitlines()) == 1
    verify_checksums(tmp_path)
    (tmp_path / "imdb/.hidden").write_text("added")
    assert unlisted_files(tmp_path) == ["imdb/.hidden"]
    with pytest.raises(ChecksumError, match="added later"):
        verify_checksums(tmp_path)
