"""Where the benchmark runs, and how its results are written."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import torch

from skipw.errors import BackendUnavailableError
from skipw.ops import triton

__all__ = ["describe", "find", "say", "write_json"]


def find(tiny: bool) -> torch.device:
    """The GPU; with ``tiny`` the CPU will do, in Triton's interpreter.

    Raises:
        BackendUnavailableError: if the kernels cannot run here.
    """
    if tiny and not torch.cuda.is_available():
        os.environ.setdefault("TRITON_INTERPRET", "1")
    reason = triton.why_not()
    if reason is not None:
        raise BackendUnavailableError(
            f"the Triton backend is needed here: {reason}; --tiny tries the script."
        )
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def say(text: str) -> None:
    """A line on standard output, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def describe(device: torch.device) -> dict[str, Any]:
    """Machine and versions, for every result file."""
    import triton as package

    cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device)
        if cuda
        else f"cpu ({platform.processor() or 'unknown'})",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "triton": package.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file that is whole or absent."""
    fresh = path.with_suffix(".part")
    fresh.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    fresh.replace(path)
