"""The kernels run in Triton's interpreter on the CPU; that is decided when triton is first imported."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import pytest

os.environ.setdefault("TRITON_INTERPRET", "1")


def _obstacle() -> str | None:
    from skipw.ops import triton

    if importlib.util.find_spec("triton") is None:
        return "triton is not installed: install the extra 'gpu'"
    if not triton.interpreting():
        return (
            "triton was imported before TRITON_INTERPRET=1 was set: run tests/triton in a process of its own"
        )
    return None


@pytest.fixture(autouse=True)
def interpreter() -> None:
    """Skip, and say why, where the interpreter cannot be had."""
    obstacle = _obstacle()
    if obstacle is not None:
        pytest.skip(obstacle)


@pytest.fixture(autouse=True)
def served(monkeypatch: pytest.MonkeyPatch) -> None:
    """backend="triton" reaches the backend, also where ``dispatch`` does not list it."""
    from skipw.ops import dispatch, triton
    from skipw.ops.call import Call

    listed = dispatch.run

    def run(call: Call, backend: str) -> Any:
        return triton.run(call) if backend == "triton" else listed(call, backend)

    monkeypatch.setattr(dispatch, "run", run)
