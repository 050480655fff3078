"""The noise of the selectors that draw, made by torch and handed to the backend, so that backends agree."""

from __future__ import annotations

import torch
from torch import Tensor

from skipw.ops.call import windows_opened
from skipw.ops.state import SkipState

__all__ = ["draw_noise"]


def draw_noise(
    state: SkipState,
    lengths: Tensor,
    x: Tensor,
    window: int,
    select: str,
    generator: torch.Generator | None,
) -> Tensor:
    """Noise for each window that opens in this call, for each row its own windows in order.

    One draw of Float[B, L] for each input at which any row opens a window, so that chunks draw what the whole would.
    A generator draws on its own device: one on the CPU gives the same noise to a model on a GPU.

    Returns:
        Float[W, B, L]: uniform for "random", Gumbel for "sample".
    """
    num_steps = x.shape[1]
    shape = (x.shape[0], window)
    uniform = x.new_zeros(windows_opened(state.offset, num_steps, window), *shape)
    first = (window - state.offset) % window
    source = x.device if generator is None else generator.device
    starts = {t for start in first.unique().tolist() for t in range(start, num_steps, window)}
    for t in sorted(starts):
        rows = (((t - first) % window == 0) & (t >= first) & (t < lengths)).nonzero().squeeze(1)
        if len(rows):
            drawn = torch.rand(shape, generator=generator, device=source, dtype=x.dtype)
            uniform[(t - first[rows]) // window, rows] = drawn.to(x.device)[rows]
    if select == "random":
        return uniform
    tiny = torch.finfo(x.dtype).tiny
    exponential = -torch.log(uniform.clamp(min=tiny))
    return -torch.log(exponential.clamp(min=tiny))
