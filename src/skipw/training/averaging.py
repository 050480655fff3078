"""A running mean of the weights, which is what is validated and kept (Polyak and Juditsky, 1992).

A gate decides by a threshold, so the last steps of a training move not only scores but decisions. The mean over the
last steps moves less: w̄ ← d w̄ + (1 - d) w after every step, d = ``average`` (docs/anytime.md).
"""

from __future__ import annotations

from collections.abc import Iterable

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

__all__ = ["Averaging", "restart_averages"]


class Averaging(WeightAveraging):
    """An exponential moving average by Lightning, which can begin anew.

    Validations, checkpoints and the trained model have the mean; training goes on with the weights themselves, and so
    does a training that is resumed. Weights that are not trained stay what they are to the last bit.

    Args:
        decay: d, in [0, 1): the mean is over about the last 1 / (1 - d) steps.
    """

    def __init__(self, decay: float) -> None:

        def mean(before: Tensor, weight: Tensor, _: Tensor | int) -> Tensor:
            # d w + (1 - d) w is not w in floating point: weights that stay would drift off.
            return torch.where(before == weight, weight, decay * before + (1 - decay) * weight)

        super().__init__(avg_fn=mean)

    def restart(self) -> None:
        """Let the next step's weights be the mean, as at the first step."""
        if self._average_model is not None:
            self._average_model.n_averaged.zero_()


def restart_averages(callbacks: Iterable[pl.Callback]) -> None:
    """What a training does whose weights were taken back."""
    for callback in callbacks:
        if isinstance(callback, Averaging):
            callback.restart()
