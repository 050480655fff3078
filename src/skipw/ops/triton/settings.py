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
_VARIABLE = "SKIPW_TRITON_PRECISION"
_chosen: str | None = None
_tiles: Tiles | None = None


@dataclass(frozen=True)
class Tiles:
    """How a batch is cut into programs.

    Attributes:
        rows: rows of the batch a program walks, BM; a power of two, at least 16 on a GPU.
        chunk: columns of a product's inner dimension at a time, BK; a power of two. At least the padded hidden size
            means the whole product at once, from registers.
        resident: keep the recurrent weights in registers for the whole walk (one layer and whole products only).
        warps: warps of a program.
    """

    rows: int = 16
    chunk: int = 32
    resident: bool = False
    warps: int = 8


def set_precision(name: str | None) -> None:
    """Precision of the products with weights, for all calls from now on; states, gates and sums stay in x's dtype.

    Args:
        name: "ieee" (float32 exactly, the default), "tf32x3" (three tf32 products, errors near float32's), "tf32",
            "bf16", or None for the environment variable SKIPW_TRITON_PRECISION.
    Raises:
        BackendUnavailableError: for another name.
    """
    global _chosen
    _chosen = None if name is None else _checked(name, "set_precision")


def precision() -> str:
    """The precision in force.

    Raises:
        BackendUnavailableError: if the environment variable holds an unknown name.
    """
    return _chosen or _checked(os.environ.get(_VARIABLE, "ieee"), f"the environment variable {_VARIABLE}")


def _checked(name: str, where: str) -> str:
    if name not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise BackendUnavailableError(f"{where} takes one of {known}, got {name!r}.")
    return name


@contextmanager
def using(name: str | None = None, tiles: Tiles | None = None) -> Iterator[None]:
    """Another precision or other tiles for a while (tests, tuning)."""
    global _chosen, _tiles
    before = _chosen, _tiles
    try:
        if name is not None:
            set_precision(name)
        if tiles is not None:
            _tiles = tiles
        yield
    finally:
        _chosen, _tiles = before


def tiles_for(hidden_padded: int, layers: int, name: str, dtype: torch.dtype, backward: bool) -> Tiles:
    """The tiles for a padded hidden size, a number of layers and a precision (docs/gpu.md says why)."""
    if _tiles is not None:
        return _tiles
    if name == "bf16" and layers == 1 and hidden_padded <= 128:
        return Tiles(chunk=hidden_padded, resident=True, warps=4 if hidden_padded <= 64 else 8)
    if name == "ieee" or dtype == torch.float64 or hidden_padded > 128:
        return Tiles(chunk=min(32, hidden_padded), warps=8 if hidden_padded <= 256 else 16)
    return Tiles(chunk=hidden_padded, warps=4 if hidden_padded <= 64 else 8)
