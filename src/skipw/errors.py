"""Every error that this package raises on purpose.

A message says what was expected, what came, and the remedy. Errors about values are also ``ValueError``, so code
that knows nothing of this package still catches them.
"""

from __future__ import annotations

__all__ = [
    "BackendUnavailableError",
    "BudgetError",
    "ChecksumError",
    "DataFormatError",
    "DataUnavailableError",
    "ParamsError",
    "ShapeError",
    "SkipWError",
    "StreamOrderError",
]


class SkipWError(Exception):
    """Base of all errors of this package."""


class ParamsError(SkipWError, ValueError):
    """A setting is unknown, of the wrong type or outside its range."""


class BudgetError(SkipWError, ValueError):
    """An operating point is invalid, or invalid for the model that it was given to."""


class ShapeError(SkipWError, ValueError):
    """An array has the wrong shape, dtype or content."""


class DataFormatError(ShapeError):
    """A data file does not follow its format; the message names the file, the line and the remedy."""


class BackendUnavailableError(SkipWError, RuntimeError):
    """A backend was asked for by name and cannot serve this call."""


class StreamOrderError(SkipWError, RuntimeError):
    """``process`` was called where ``skip`` was due, or the other way round."""


class ChecksumError(SkipWError, ValueError):
    """A file's or an archive's content is not what it should be."""


class DataUnavailableError(SkipWError, OSError):
    """No source of a data set could be reached."""
