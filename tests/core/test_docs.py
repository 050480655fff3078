"""docs/equations.md and docs/paper_readings.md name code and tests that exist; what pages write, git ignores."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("equations.md", "paper_readings.md")


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_is_named_exists(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:\w+/)?test_\w+\.py)::(\w+)`", text)
    assert len(named) > 20
    for file, name in named:
        path = ROOT / "tests" / (file if "/" in file else f"core/{file}")
        assert f"def {name}(" in path.read_text(encoding="utf-8"), f"{page}: {file}::{name}"


def resolved(name: str) -> Any:
    """What a dotted name within the package stands for."""
    found, path = importlib.import_module("skipw"), "skipw"
    for part in name.split("."):
        path = f"{path}.{part}"
        try:
            found = importlib.import_module(path)
        except ModuleNotFoundError:
            found = getattr(found, part)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_piece_of_code_that_is_named_exists(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for name in set(re.findall(r"`((?:equations|ops|models|runtime)\.[\w.]+)`", text)):
        assert resolved(name) is not None
    for path in set(re.findall(r"`((?:src|tests|docs)/[\w./]+)`", text)):
        assert (ROOT / path).exists(), f"{page}: {path}"
    for link in re.findall(r"\]\((\w+\.md)\)", text):
        assert (ROOT / "docs" / link).exists()


def test_what_the_pages_write_into_is_no_part_of_the_repository() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    written = set(re.findall(r"skipw pull \S+ (\w+)/", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert written and {f"/{folder}/" for folder in written} <= set(ignored)


def test_every_equation_and_selector_has_its_row() -> None:
    text = (ROOT / "docs" / "equations.md").read_text(encoding="utf-8")
    equations = importlib.import_module("skipw.equations")
    for name in equations.__all__:
        assert f"equations.{name}" in text, name
    numbers = {int(n) for row in re.findall(r"^\| ([\d, ]+) \|", text, re.M) for n in row.split(",")}
    assert numbers == set(range(1, 12))
