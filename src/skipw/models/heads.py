"""From the last output of the recurrent layers to scores."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Head"]


class Head(nn.Module):
    """Dropout, an optional Linear + ReLU, and the last Linear.

    Args:
        input_size: N, width of the readout.
        num_outputs: classes, or 1 for regression.
        hidden: width of the Linear + ReLU in between, 0 for none (HAR uses 60).
        dropout: share of the readout dropped while training.
    """

    def __init__(self, input_size: int, num_outputs: int, *, hidden: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.hidden = nn.Linear(input_size, hidden) if hidden else None
        self.output = nn.Linear(hidden or input_size, num_outputs)

    def forward(self, readout: Tensor) -> Tensor:
        """Scores, Float[B, num_outputs], of the readout, Float[B, N]."""
        readout = nn.functional.dropout(readout, self.dropout, self.training)
        if self.hidden is not None:
            readout = torch.relu(self.hidden(readout))
        return self.output(readout)
