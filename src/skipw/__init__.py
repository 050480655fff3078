"""Recurrent networks with a strict upper limit on the inputs they process (Mayet et al., ICLR 2021).

Everything is loaded when it is first used (PEP 562): ``import skipw`` costs milliseconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skipw.errors import (
        BackendUnavailableError,
        BudgetError,
        ChecksumError,
        DataFormatError,
        DataUnavailableError,
        ParamsError,
        ShapeError,
        SkipWError,
        StreamOrderError,
    )
    from skipw.models.baselines import DenseRNN
    from skipw.models.recurrent import SkipOutput
    from skipw.models.skip_rnn import SkipRNN, ThrRNN
    from skipw.models.skip_window import SkipW
    from skipw.operating_point import OperatingPoint, Schedule
    from skipw.ops.state import SkipState
    from skipw.runtime.governing.governor import Governor
    from skipw.runtime.stream import Stream, StreamModel

__version__ = "0.1.0"

_HOMES = {
    "skipw.errors": (
        "BackendUnavailableError",
        "BudgetError",
        "ChecksumError",
        "DataFormatError",
        "DataUnavailableError",
        "ParamsError",
        "ShapeError",
        "SkipWError",
        "StreamOrderError",
    ),
    "skipw.operating_point": ("OperatingPoint", "Schedule"),
    "skipw.models.recurrent": ("SkipOutput",),
    "skipw.models.skip_rnn": ("SkipRNN", "ThrRNN"),
    "skipw.models.skip_window": ("SkipW",),
    "skipw.models.baselines": ("DenseRNN",),
    "skipw.ops.state": ("SkipState",),
    "skipw.runtime.governing.governor": ("Governor",),
    "skipw.runtime.stream": ("Stream", "StreamModel"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "BackendUnavailableError",
    "BudgetError",
    "ChecksumError",
    "DataFormatError",
    "DataUnavailableError",
    "DenseRNN",
    "Governor",
    "OperatingPoint",
    "ParamsError",
    "Schedule",
    "ShapeError",
    "SkipOutput",
    "SkipRNN",
    "SkipState",
    "SkipW",
    "SkipWError",
    "Stream",
    "StreamModel",
    "StreamOrderError",
    "ThrRNN",
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        value = getattr(importlib.import_module(_HOME_OF[name]), name)
        globals()[name] = value
        return value
    try:
        return importlib.import_module(f"skipw.{name}")  # skipw.params, skipw.errors, ...
    except ModuleNotFoundError as error:
        if error.name != f"skipw.{name}":
            raise
        raise AttributeError(f"module 'skipw' has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
