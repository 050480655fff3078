"""Image sequences for training: a prepared data set, or the same packed into bytes to be carried to a GPU."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from skipw.data.prepared import load_meta, load_split
from skipw.errors import DataFormatError

__all__ = ["Images", "load", "pack"]

SPLITS = ("train", "val", "test")
PACKED = "packed.npz"


@dataclass(frozen=True)
class Images:
    """One split on the device: ``inputs`` UInt8[n, T] index into ``levels`` Float[256]; ``targets`` Long[n]."""

    inputs: Tensor
    targets: Tensor
    levels: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Float[B, T, 1] and Long[B]."""
        return self.levels[self.inputs[rows].long()].unsqueeze(-1), self.targets[rows]


def pack(folder: Path, into: Path) -> None:
    """Write ``packed.npz``: all splits as bytes, about 20 MB for MNIST.

    Raises:
        DataFormatError: if the inputs are not of width 1 or take more than 256 values.
    """
    meta = load_meta(folder)
    splits = {name: load_split(folder, name) for name in SPLITS}
    if any(split.inputs.ndim != 3 or split.inputs.shape[2] != 1 for split in splits.values()):
        raise DataFormatError(
            f"{folder}: inputs of width 1 can be packed (pixel by pixel), got {meta['input_size']}"
        )
    levels = np.unique(np.concatenate([np.unique(split.inputs) for split in splits.values()]))
    if len(levels) > 256:
        raise DataFormatError(f"{folder}: at most 256 different values fit a byte, got {len(levels)}")
    arrays = {"levels": levels.astype(np.float32)}
    for name, split in splits.items():
        arrays[f"{name}_inputs"] = np.searchsorted(levels, split.inputs[..., 0]).astype(np.uint8)
        arrays[f"{name}_targets"] = split.targets.astype(np.uint8)
    into.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(into / PACKED, **arrays)  # type: ignore[arg-type]
    kept = {key: meta[key] for key in ("dataset", "data_source", "sizes")}
    (into / "meta.json").write_text(json.dumps(kept), encoding="utf-8")


def load(folder: Path, device: torch.device) -> tuple[dict[str, Images], str]:
    """All splits on the device, and the data source; ``folder`` is a prepared data set or one that ``pack`` wrote.

    Raises:
        DataFormatError: if there is neither.
    """
    if not (folder / PACKED).exists():
        packed = folder / "packed"
        if not (packed / PACKED).exists():
            pack(folder, packed)
        folder = packed
    with np.load(folder / PACKED, allow_pickle=False) as arrays:
        levels = torch.zeros(256)
        levels[: len(arrays["levels"])] = torch.from_numpy(arrays["levels"])
        on_device = {
            name: torch.from_numpy(arrays[name]).to(device) for name in arrays.files if name != "levels"
        }
    source = json.loads((folder / "meta.json").read_text(encoding="utf-8"))["data_source"]
    return {
        name: Images(on_device[f"{name}_inputs"], on_device[f"{name}_targets"].long(), levels.to(device))
        for name in SPLITS
    }, source
