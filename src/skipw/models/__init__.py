"""Recurrent models whose cost follows the inputs that they process."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skipw.models.baselines import DenseRNN
    from skipw.models.skip_rnn import SkipRNN, ThrRNN
    from skipw.models.skip_window import SkipW

__all__ = ["DenseRNN", "SkipRNN", "SkipW", "ThrRNN"]

_HOMES = {
    "DenseRNN": "skipw.models.baselines",
    "SkipRNN": "skipw.models.skip_rnn",
    "SkipW": "skipw.models.skip_window",
    "ThrRNN": "skipw.models.skip_rnn",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
