"""A price of indecision: what keeps a gate that has decided from wavering at the threshold.

Once the task is solved an open gate that is needed gets no gradient from the task loss, and λ closes it until the
error opens it again: it ends right at the threshold, and so does the error. The margin pushes each importance away
from the threshold, to the side where it is, with a force that can be set above λ and below the task's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from skipw.params import TrainSettings

__all__ = ["THRESHOLD", "gate_margin_at", "indecision"]

THRESHOLD = 0.5  # that models are trained at


def gate_margin_at(step: int, settings: TrainSettings) -> float:
    """The price of indecision at a step: ``gate_margin`` from ``gate_margin_from`` of the training on, 0 before."""
    return settings.gate_margin if step >= settings.gate_margin_from * settings.steps else 0.0


def indecision(importance: Tensor, width: float) -> Tensor:
    """Σ_t max(0, width - \\|ũ_t - 0.5\\|), each sequence's.

    Its gradient to an importance within ``width`` of the threshold is -1 above (and at) it, 1 below it, 0 beyond: with
    the price λ of an input beside it, an open gate rises while the price of indecision is above λ.

    Args:
        importance: Float[B, T], the value that each gate compared, in [0, 1].
        width: in (0, 0.5].
    Returns:
        Float[B], at least 0.
    """
    decided = importance.detach() >= THRESHOLD
    distance = (importance - THRESHOLD) * (2.0 * decided.to(importance.dtype) - 1.0)
    return (width - distance).clamp(min=0.0).sum(dim=-1)
