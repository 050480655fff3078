"""``skipw study`` as text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_study"]


def print_study(
    dataset: str, storage: str | None, name: str | None, page: Path | None, console: Console
) -> None:
    """Print a study."""
    from skipw.studies.outcome import read_outcome
    from skipw.studies.storage import default_storage, open_storage
    from skipw.studies.study import find_study

    study = find_study(open_storage(storage or default_storage(dataset), create=False), dataset, name)
    console.print(read_outcome(study).front.to_string())
