"""What can go wrong with a study."""

from __future__ import annotations

from skipw.errors import SkipWError

__all__ = ["StudyError"]


class StudyError(SkipWError, RuntimeError):
    """A study can't be opened, is another one than was asked for, or can't go on."""
