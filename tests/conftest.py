"""What every test stands on: fixed seeds, one thread, fresh memory that is visibly uninitialised."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports triton: its kernels run on the CPU
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.pop("MLFLOW_TRACKING_URI", None)  # never write into somebody's server

import pytest
from hypothesis import settings

from tests.postgres import postgres

__all__ = ["postgres"]

settings.register_profile("project", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("project")


@pytest.fixture(autouse=True)
def same_start() -> None:
    """The same random numbers, threads and arithmetic for every test, in whatever order they come."""
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
        torch.set_num_threads(1)
        torch.set_flush_denormal(False)  # a training in the same process switches it on


@pytest.fixture(autouse=True)
def poisoned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """``torch.empty`` and its kin give NaN, so that a value that nobody wrote is found.

    A test that does not import torch does not pay for it.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return

    def poisoned(allocate: Callable[..., Any]) -> Callable[..., Any]:
        def allocate_nan(*args: Any, **keywords: Any) -> Any:
            fresh = allocate(*args, **keywords)
            if (fresh.is_floating_point() or fresh.is_complex()) and fresh.device.type != "meta":
                with torch.no_grad():
                    fresh.fill_(float("nan"))
            return fresh

        return allocate_nan

    for name in ("empty", "empty_like", "empty_strided"):
        monkeypatch.setattr(torch, name, poisoned(getattr(torch, name)))
    monkeypatch.setattr(torch.Tensor, "new_empty", poisoned(torch.Tensor.new_empty))
