"""The structs of csrc/skipw_engine.h as ctypes sees them, and the numbers that stand for names."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from ctypes import POINTER, Structure, c_double, c_int32, c_int64, c_void_p

import torch
from torch import Tensor

from skipw.errors import BackendUnavailableError, ShapeError
from skipw.ops.native import library

__all__ = [
    "CELLS",
    "SEEN",
    "SELECT",
    "TIME",
    "Call",
    "Gradients",
    "address",
    "addresses",
    "check",
    "functions",
]

CELLS = {"gru": 0, "lstm": 1, "fastgrnn": 2}
SELECT = {"topk": 0, "sample": 1, "random": 2, "first": 3, "last": 4, "first_above": 5}
TIME = {"none": 0, "steps": 1, "window": 2, "since_update": 3}
SEEN = {"since_update": 1, "importance": 2, "input": 4, "budget": 8}


class Call(Structure):
    """``skipw_call``."""

    _fields_ = [
        *((name, c_int32) for name in ("float_bytes", "cell", "gate", "select", "time_feature", "training")),
        *((name, c_int32) for name in ("num_threads", "distinct", "zero_sum", "seen", "bound")),
        *((name, c_int64) for name in ("batch", "steps", "input_size", "hidden", "layers", "window")),
        *((name, c_int64) for name in ("noise_windows", "num_switches", "gate_windows")),
        *((name, c_double) for name in ("time_scale", "state_gradient")),
        *((name, c_void_p) for name in ("x", "lengths", "forced")),
        ("weights", POINTER(c_void_p)),
        *(
            (name, c_void_p)
            for name in ("gate_weight", "gate_bias", "importance_before", "last_input", "recent", "noise")
        ),
        *((name, c_void_p) for name in ("switch_start", "switch_budget", "switch_threshold")),
        ("layers_before", POINTER(c_void_p)),
        ("layers_after", POINTER(c_void_p)),
        *((name, c_void_p) for name in ("step", "offset", "used", "last_update", "importance", "selected")),
        *((name, c_void_p) for name in ("draw", "accumulated", "increment", "budget", "threshold")),
        *((name, c_void_p) for name in ("output", "updates", "values", "tape")),
    ]


class Gradients(Structure):
    """``skipw_gradients``."""

    _fields_ = [
        *((name, c_void_p) for name in ("output", "updates", "values")),
        *((name, c_void_p) for name in ("importance", "accumulated", "increment")),
        ("last", POINTER(c_void_p)),
        *((name, c_void_p) for name in ("x", "gate_weight", "gate_bias")),
        *((name, c_void_p) for name in ("first_importance", "first_accumulated", "first_increment")),
        ("first_last_input", c_void_p),
        ("first", POINTER(c_void_p)),
        ("weights", POINTER(c_void_p)),
    ]


def address(tensor: Tensor | None) -> int | None:
    """Where a dense tensor's values stand; None for None."""
    return None if tensor is None else tensor.data_ptr()


def addresses(tensors: Sequence[Tensor | None]) -> ctypes.Array[c_void_p]:
    """An array of addresses; it has to outlive the call."""
    return (c_void_p * len(tensors))(*(address(tensor) for tensor in tensors))


def functions() -> ctypes.CDLL:
    """The library with its functions' types declared.

    Raises:
        BackendUnavailableError: if there is no library for this machine.
    """
    engine = library.load()
    if engine.skipw_forward.argtypes is None:
        engine.skipw_forward.argtypes = [POINTER(Call)]
        engine.skipw_backward.argtypes = [POINTER(Call), POINTER(Gradients)]
        engine.skipw_release.argtypes = [c_void_p]
        engine.skipw_release.restype = None
        engine.skipw_trim.argtypes = []
        engine.skipw_trim.restype = None
        engine.skipw_tape_bytes.argtypes = [c_void_p]
        engine.skipw_tape_bytes.restype = c_int64
        engine.skipw_use_openmp.argtypes = [c_void_p]
        engine.skipw_use_openmp.restype = None
    _lend_threads(engine, os.environ.get("SKIPW_NATIVE_THREADS", "").strip())
    return engine


_lent: list[tuple[ctypes.CDLL, str]] = []  # the library that was told last, and what


def _lend_threads(engine: ctypes.CDLL, whose: str) -> None:
    """Have the library work on PyTorch's own threads, unless ``whose`` is "own": they spin for a while after each of
    PyTorch's operations, and others would have to share the cores with them.
    """
    if _lent != [(engine, whose)]:
        engine.skipw_use_openmp(None if whose == "own" else _openmp())
        _lent[:] = [(engine, whose)]


def _openmp() -> c_void_p | None:
    """GOMP_parallel of the OpenMP that PyTorch computes with; None where it uses other threads."""
    if "ATen parallel backend: OpenMP" not in torch.__config__.parallel_info():
        return None
    try:
        return ctypes.cast(ctypes.CDLL(None).GOMP_parallel, c_void_p)
    except (AttributeError, OSError, TypeError):  # TypeError: Windows opens no library without a name
        return None


def check(code: int) -> None:
    """Turn a function's answer into an exception.

    Raises:
        MemoryError, ShapeError, BackendUnavailableError: by the code.
    """
    match code:
        case 0:
            return
        case 1:
            raise MemoryError("the native backend ran out of memory; a smaller batch needs less.")
        case 2:
            raise ShapeError("the native backend was called with sizes that it cannot serve.")
        case _:
            raise BackendUnavailableError(
                f"the native backend failed (code {code}); use backend='compact' and report it, please."
            )
