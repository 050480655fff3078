"""The study's page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna import Study

    from skipw.studies.outcome import Outcome

__all__ = ["write_study_page"]


def write_study_page(path: Path, study: Study, outcome: Outcome) -> None:
    path.write_text("")
