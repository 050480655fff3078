"""What a result was measured on: processor, caches, versions. No names of hosts or people, no paths."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import skipw
from skipw.benchmark.scaling import cores
from skipw.ops.dispatch import available
from skipw.ops.native import library

__all__ = ["describe_machine", "describe_versions", "slug"]

ALLOCATOR_SETTINGS = ("GLIBC_TUNABLES", "LD_PRELOAD")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def describe_machine() -> dict[str, Any]:
    """Processor, cores, caches of one core in KiB, vector units that torch found, system, the memory allocator and its
    settings, load before the run."""
    return {
        "cpu": _cpu_model(),
        "architecture": platform.machine(),
        "cores": cores(),
        "caches_kib": _caches(),
        "vector_units": torch.backends.cpu.get_cpu_capability(),
        "system": platform.system(),
        "allocator": _allocator(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def describe_versions() -> dict[str, str]:
    """Python, torch, skipw, and what the native backend says of itself."""
    return {
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
        "skipw": skipw.__version__,
        "native": _native(),
    }


def _native() -> str:
    """The variant of the library that is loaded here, or why there is none."""
    answer = available().get("native", "no")
    return f"yes, {library.variant()}" if answer.startswith("yes") else answer


def slug(cpu: str) -> str:
    """A processor's name for a file name: "Intel(R) Xeon(R) Processor" gives "intel-xeon-processor"."""
    plain = re.sub(r"\((?:r|tm|c)\)|@.*$", " ", cpu.lower())
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "cpu"


def _allocator() -> str:
    """The C library and what the environment sets of its allocator: whether freed blocks go back to the system at once
    decides what a dense step costs (docs/speed.md). Of libraries loaded beforehand only the files' names."""
    told = [" ".join(platform.libc_ver()).strip() or "unknown"]
    for name in sorted(
        name for name in os.environ if name.startswith("MALLOC_") or name in ALLOCATOR_SETTINGS
    ):
        files = [word.rpartition("/")[2] for word in re.split(r"[\s:]+", os.environ[name]) if word]
        told.append(f"{name}={':'.join(files)}")
    return ", ".join(told)


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return " ".join(line.split(":", 1)[1].split())
    return platform.processor() or platform.machine()


def _caches() -> dict[str, int]:
    """KiB by name, L1d, L1i, L2, L3; empty where the system does not say."""
    found = {}
    for folder in sorted(CACHES.glob("index*")):
        try:
            level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        letter = {"Data": "d", "Instruction": "i"}.get(kind, "")
        number = re.match(r"(\d+)([KM]?)", size)
        if number:
            found[f"L{level}{letter}"] = int(number[1]) * (1024 if number[2] == "M" else 1)
    return found
