"""The packages of the extra ``pose``, imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any

from skipw.errors import BackendUnavailableError

__all__ = ["import_extra"]


def import_extra(module: str) -> Any:
    """A module of the extra ``pose``: ``cv2``, ``ai_edge_litert.interpreter`` or ``codecarbon``.

    Raises:
        BackendUnavailableError: if it is not installed; names the command that helps.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BackendUnavailableError(
            f"camera frames need the package of {module.partition('.')[0]}, which cannot be imported ({error}): "
            "pip install 'skipw[pose]'"
        ) from error
