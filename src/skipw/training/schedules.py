"""How the learning rate and λ move over a training, as functions of the step alone.

A resumed training therefore continues exactly where it stopped.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from skipw.errors import ParamsError

if TYPE_CHECKING:
    from skipw.params import TrainSettings

__all__ = ["cost_multiplier", "learning_rate_factor", "seed_for_step"]


def learning_rate_factor(step: int, settings: TrainSettings) -> float:
    """The learning rate of step ``step`` (from 0) as a share of ``settings.learning_rate``.

    A linear warm-up over the first ``warmup`` of the steps; then "constant", "cosine" down to
    ``final_learning_rate``, or "exponential": ``decay_rate`` per ``decay_samples`` sequences seen.
    """
    warmup_steps = round(settings.warmup * settings.steps)
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    match settings.schedule:
        case "constant":
            return 1.0
        case "exponential":
            return settings.decay_rate ** (step * settings.batch_size / settings.decay_samples)
        case "cosine":
            progress = min(1.0, (step - warmup_steps) / max(1, settings.steps - warmup_steps))
            low = settings.final_learning_rate
            return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * progress))
    raise ParamsError(f"schedule must be cosine, constant or exponential, got {settings.schedule!r}.")


def cost_multiplier(fraction: float, breakpoints: Sequence[tuple[float, float]]) -> float:
    """What λ is multiplied by at ``fraction`` in [0, 1] of the training.

    Args:
        fraction: steps done / steps in all.
        breakpoints: pairs (fraction, multiplier), ascending; linear in between, constant outside.
    Raises:
        ParamsError: if there is no breakpoint.
    """
    if not breakpoints:
        raise ParamsError("cost_schedule needs at least one pair [fraction, multiplier], such as [[0, 1]].")
    if fraction <= breakpoints[0][0]:
        return float(breakpoints[0][1])
    for (left, low), (right, high) in itertools.pairwise(breakpoints):
        if fraction <= right:
            share = (fraction - left) / (right - left) if right > left else 1.0
            return low + share * (high - low)
    return float(breakpoints[-1][1])


def seed_for_step(seed: int, step: int, rank: int = 0) -> int:
    """A seed for all that is drawn in one step, by the process of this rank if there are several."""
    return (seed * 1_000_003 + step * 7_919 + rank * 15_485_863 + 17) % 2**31
