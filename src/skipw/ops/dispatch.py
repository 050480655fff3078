"""From a backend's name to its code."""

from __future__ import annotations

import enum
import logging

from skipw.errors import BackendUnavailableError
from skipw.ops import by_budget, compact, native, reference, triton
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
    from skipw.ops.native import library

    return {
        "reference": "yes",
        "compact": "yes",
        "native": library.why_not() or "yes",
        "triton": triton.why_not() or "yes",
    }


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
    if call.budget_gates:
        return by_budget.run(call, lambda part: run(part, backend))
    match chosen:
        case Backend.REFERENCE:
            return reference.run(call)
        case Backend.COMPACT:
            return compact.run(call)
        case Backend.NATIVE:
            return native.run(call)
        case Backend.TRITON:
            return triton.run(call)
        case Backend.AUTO:
            return _best(call)


def _best(call: Call) -> Result:
    """The fastest backend that serves the call; each choice is announced once, with its reason."""
    if call.x.is_cuda and triton.why_not(call) is None:
        _announce("triton", "")
        return triton.run(call)
    reason = native.why_not(call)
    if reason is None:
        _announce("native", "")
        return native.serve(call)
    _announce("compact", f": {reason}")
    return compact.run(call)


def _announce(name: str, reason: str) -> None:
    if name + reason not in _announced:
        _announced.add(name + reason)
        _log.info("backend auto: %s%s", name, reason)
