"""How the kernels compute: the precision of products, and how the work is cut. Nothing here imports triton."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from skipw.errors import BackendUnavailableError

__all__ = ["PRECISIONS", "Tiles", "precision", "set_precision", "tiles_for", "using"]

PRECISIONS = ("ieee", "tf32x3", "tf32", "bf16")
HOPPER_SHARED = 232448
BESIDE_WEIGHTS = 32768
"""Bytes of shared memory a program may have on an H100 or H200, and what it needs beside resident weights."""
_VARIABLE = "SKIPW_TRITON_PRECISION"


@dataclass(frozen=True)
class Tiles:
    """How a batch is cut into programs.

    Attributes:
        rows: rows of the batch a program walks, BM; a power of two, at least 16 on a GPU.
        chunk: columns of a product's inner dimension at a time, BK; a power of two. At least the padded hidden size
            means the whole product at once, from registers.
        resident: keep the recurrent weights in shared memory for the whole walk (one layer and whole products only).
        warps: warps of a program.
    """

    rows: int = 16
    chunk: int = 32
    resident: bool = False
    warps: int = 8


@dataclass
class _Chosen:
    """What was set in this process."""

    name: str | None = None
    tiles: Tiles | None = None


_chosen = _Chosen()


def set_precision(name: str | None) -> None:
    """Precision of the products with weights, for all calls from now on; states, gates and sums stay in x's dtype.

    Args:
        name: "ieee" (float32 exactly, the default), "tf32x3" (three tf32 products, errors near float32's), "tf32",
            "bf16", or None for the environment variable SKIPW_TRITON_PRECISION.
    Raises:
        BackendUnavailableError: for another name.
    """
    _chosen.name = None if name is None else _checked(name, "set_precision")


def precision() -> str:
    """The precision in force.

    Raises:
        BackendUnavailableError: if the environment variable holds an unknown name.
    """
    return _chosen.name or _checked(
        os.environ.get(_VARIABLE, "ieee"), f"the environment variable {_VARIABLE}"
    )


def _checked(name: str, where: str) -> str:
    if name not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise BackendUnavailableError(f"{where} takes one of {known}, got {name!r}.")
    return name


@contextmanager
def using(name: str | None = None, tiles: Tiles | None = None) -> Iterator[None]:
    """Another precision or other tiles for a while (tests, tuning)."""
    before = _chosen.name, _chosen.tiles
    try:
        if name is not None:
            set_precision(name)
        if tiles is not None:
            _chosen.tiles = tiles
        yield
    finally:
        _chosen.name, _chosen.tiles = before


def tiles_for(
    hidden_padded: int,
    layers: int,
    gates: int,
    name: str,
    dtype: torch.dtype,
    shared_bytes: int = HOPPER_SHARED,
) -> Tiles:
    """The tiles for a padded hidden size, a number of layers and a precision (docs/gpu.md says why).

    Args:
        gates: 3 for a GRU, 4 for an LSTM.
        shared_bytes: shared memory that a program may have.
    """
    if _chosen.tiles is not None:
        return _chosen.tiles
    warps = 4 if hidden_padded <= 64 else 8 if hidden_padded <= 256 else 16
    if name in ("bf16", "tf32") and dtype == torch.float32 and hidden_padded <= 128:
        weights = gates * hidden_padded**2 * (2 if name == "bf16" else 4)
        resident = layers == 1 and weights + BESIDE_WEIGHTS <= shared_bytes
        return Tiles(chunk=hidden_padded, resident=resident, warps=warps)
    return Tiles(chunk=min(32, hidden_padded), warps=warps)
