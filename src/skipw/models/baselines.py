"""The models that SkipW is measured against: dense, and dense on a random or periodic share of the inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from skipw.errors import ShapeError
from skipw.models.recurrent import Recurrent
from skipw.ops.call import Gate

__all__ = ["DenseRNN", "periodic_updates", "random_updates"]


class DenseRNN(Recurrent):
    """A GRU, LSTM or any other cell on every input; with ``updates=`` on exactly those.

    Args:
        cell, input_size, hidden_size, num_layers, initial_state: see ``SkipW``.
    """

    def _gate(self) -> Gate | None:
        return None


def random_updates(
    lengths: Tensor, num_steps: int, rate: float | Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Each input with probability ``rate``, independently (section 4.1, "random subsampling").

    Args:
        lengths: Long[B].
        num_steps: T.
        rate: in [0, 1], or Float[B], one a sequence.
        generator: what is drawn from, on its own device: the same draws wherever the lengths are.
    Returns:
        Bool[B, T], false beyond the lengths.
    Raises:
        ShapeError: if a rate is outside [0, 1].
    """
    limit = _checked_rate(rate, lengths)
    source = lengths.device if generator is None else generator.device
    draws = torch.rand(lengths.shape[0], num_steps, generator=generator, device=source).to(lengths.device)
    return (draws < limit.to(draws.dtype).unsqueeze(-1)) & _inside(lengths, num_steps)


def periodic_updates(lengths: Tensor, num_steps: int, rate: float | Tensor) -> Tensor:
    """A share ``rate`` of the inputs at regular intervals, from input 0 on (section 4.1, "periodic subsampling").

    Input t is processed where a whole number lies in [t · rate, (t + 1) · rate), so a prefix of t inputs holds
    ceil(t · rate) of them.

    Args:
        lengths: Long[B].
        num_steps: T.
        rate: in [0, 1], or Float[B].
    Returns:
        Bool[B, T], false beyond the lengths.
    Raises:
        ShapeError: if a rate is outside [0, 1].
    """
    limit = _checked_rate(rate, lengths).unsqueeze(-1)
    steps = torch.arange(num_steps, device=lengths.device, dtype=torch.float64)
    rounding = 1e-6  # 0.1 in float32 is a little more than a tenth
    taken = torch.ceil((steps + 1) * limit - rounding) - torch.ceil(steps * limit - rounding)
    return (taken > 0) & _inside(lengths, num_steps)


def _inside(lengths: Tensor, num_steps: int) -> Tensor:
    return torch.arange(num_steps, device=lengths.device) < lengths.unsqueeze(-1)


def _checked_rate(rate: float | Tensor, lengths: Tensor) -> Tensor:
    value = torch.as_tensor(rate, dtype=torch.float64, device=lengths.device).expand(lengths.shape[0])
    if not bool(((value >= 0) & (value <= 1)).all()):
        raise ShapeError(f"a sampling rate lies in [0, 1], got {rate!r}.")
    return value
