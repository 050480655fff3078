"""The product peak of this machine: what PyTorch's large float32 matrix products reach."""

from __future__ import annotations

import time
from typing import Any

import torch

from skipw.benchmark.timing import Clock

__all__ = ["measure_peak"]

SHAPES = ((1024, 1024, 1024), (2048, 512, 512), (512, 512, 2048), (256, 384, 512))


def measure_peak(repetitions: int = 40, *, clock: Clock = time.perf_counter) -> dict[str, Any]:
    """The fastest product of several shapes with torch's present number of threads.

    Returns:
        ``gflops`` and ``shape``, "rows x columns x summed".
    """
    best = 0.0
    shape = ""
    for m, n, k in SHAPES:
        a, b, out = torch.randn(m, k), torch.randn(k, n), torch.empty(m, n)
        torch.mm(a, b, out=out)
        for _ in range(repetitions):
            start = clock()
            torch.mm(a, b, out=out)
            reached = 2e-9 * m * n * k / max(clock() - start, 1e-12)
            if reached > best:
                best, shape = reached, f"{m}x{n}x{k}"
    return {"gflops": best, "shape": shape}
