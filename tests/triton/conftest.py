"""The kernels run in Triton's interpreter on the CPU; that is decided when triton is first imported."""

from __future__ import annotations

import importlib.util
import os

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
