"""Training: one Lightning module, one data module over prepared folders, and ``fit``.

Lightning is imported only when one of these names is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skipw.training.fitting import fit, scratch_folder
    from skipw.training.lineage import warm_start

__all__ = ["fit", "scratch_folder", "warm_start"]

_HOMES = {
    "fit": "skipw.training.fitting",
    "scratch_folder": "skipw.training.fitting",
    "warm_start": "skipw.training.lineage",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
