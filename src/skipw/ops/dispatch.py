"""From a backend's name to its code."""

from __future__ import annotations

import enum
import logging

from skipw.errors import BackendUnavailableError
from skipw.ops import compact, reference
from skipw.ops.call import Call, Result

__all__ = ["Backend", "available", "run"]

_log = logging.getLogger(__name__)
_announced: set[str] = set()


class Backend(enum.Enum):
    """Who computes."""

    REFERENCE = "reference"
    COMPACT = "compact"
    NATIVE = "native"
    TRITON = "triton"
    AUTO = "auto"


def available() -> dict[str, str]:
    """What each backend says of itself here: "yes", or why not."""
    absent = "not part of this version"
    return {"reference": "yes", "compact": "yes", "native": absent, "triton": absent}


def run(call: Call, backend: str) -> Result:
    """Run ``call`` on the backend of this name.

    Raises:
        BackendUnavailableError: if there is no such backend, or it cannot serve this call.
    """
    try:
        chosen = Backend(backend)
    except ValueError:
        names = ", ".join(member.value for member in Backend)
        raise BackendUnavailableError(f"backend must be one of {names}, got {backend!r}.") from None
    match chosen:
        case Backend.REFERENCE:
            return reference.run(call)
        case Backend.COMPACT:
            return compact.run(call)
        case Backend.AUTO:
            _announce("compact")
            return compact.run(call)
        case _:
            raise BackendUnavailableError(
                f"backend {backend!r} is {available()[chosen.value]}; use 'compact', 'reference' or 'auto'."
            )


def _announce(name: str) -> None:
    if name not in _announced:
        _announced.add(name)
        _log.info("backend auto: %s", name)
