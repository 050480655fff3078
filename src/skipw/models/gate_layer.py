"""A gate's linear layer: how it starts, and how it gets further columns and rows."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["new_gate", "repeated", "widened"]


def new_gate(features: int, outputs: int, bias: float) -> nn.Linear:
    """Xavier weight, constant bias (SkipRNN's code)."""
    gate = nn.Linear(features, outputs)
    nn.init.xavier_uniform_(gate.weight)
    nn.init.constant_(gate.bias, bias)
    return gate


def widened(gate: nn.Linear, more: int) -> nn.Linear:
    """``gate`` with so many columns more, at 0: it starts as it was, and draws no other random numbers."""
    if more:
        gate.weight = nn.Parameter(
            torch.cat([gate.weight.detach(), gate.weight.new_zeros(len(gate.bias), more)], 1)
        )
        gate.in_features += more
    return gate


def repeated(gate: nn.Linear, times: int) -> nn.Linear:
    """``gate`` with its rows so many times, one gate below the other."""
    if times > 1:
        gate.weight = nn.Parameter(gate.weight.detach().repeat(times, 1))
        gate.bias = nn.Parameter(gate.bias.detach().repeat(times))
        gate.out_features *= times
    return gate
