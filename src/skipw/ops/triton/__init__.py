"""The GPU backend: persistent Triton kernels for GRU and LSTM under SkipW's, ThrRNN's and SkipRNN's gates.

A program holds a tile of the batch and walks through time with the state in registers, the gate inside the loop;
a second one walks back; weight gradients are matrix products at the end. Several models of one form run side by
side in one launch. docs/gpu.md tells how it is built, what it needs and how to measure it.

Triton itself is imported at the first call. With TRITON_INTERPRET=1 in the environment before that, the kernels run
on the CPU, slowly, for tests.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence

import torch

from skipw.errors import BackendUnavailableError
from skipw.ops.call import Call, Result
from skipw.ops.triton.settings import precision, set_precision

__all__ = ["interpreting", "precision", "run", "run_many", "set_precision", "why_not"]


def why_not(call: Call | None = None) -> str | None:
    """Why the backend cannot be used here, or cannot serve this call; None if it can."""
    if importlib.util.find_spec("triton") is None:
        return "the package triton is not installed (pip install 'skipw[gpu]')"
    if not (interpreting() or torch.cuda.is_available()):
        return "there is no CUDA GPU here (for tests on the CPU set TRITON_INTERPRET=1 before triton is imported)"
    if call is None:
        return None
    from skipw.ops.triton.answers import refusal

    return refusal(call)


def run(call: Call) -> Result:
    """Run a batch of sequences; same arguments and answer as ``reference.run``.

    Raises:
        BackendUnavailableError: if triton or a GPU is missing, or the kernels cannot serve this call.
    """
    return run_many([call])[0]


def run_many(calls: Sequence[Call]) -> list[Result]:
    """Run several models of one form in one launch, with gradients: a sweep over λ trains at once.

    Args:
        calls: of equal shapes, cells and gate settings; weights, states, lengths, noise and schedules may differ, and
            so may x (calls that hold the very same tensor x share it in memory).
    Returns:
        One result a call, in order.
    Raises:
        BackendUnavailableError: as ``run``.
        ShapeError: if the calls differ in form.
    """
    reason = why_not()
    if reason is not None:
        raise BackendUnavailableError(
            f"backend 'triton' is not available: {reason}; use 'compact' or 'auto'."
        )
    from skipw.ops.triton.answers import run_calls

    return run_calls(calls)


def interpreting() -> bool:
    """Whether kernels are interpreted: decided when triton is imported, by the environment at that moment."""
    loaded = sys.modules.get("triton.language")
    if loaded is None:
        return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes", "y")
    return type(loaded.cdiv).__name__ == "InterpretedFunction"
