"""How the gradient that the state asks of u_t comes back through the selection of eq. 9.

The paper passes it straight through to all L values. Where more inputs are wanted than K allows, that asks for more
inputs, which the budget does not give, and gates that never open at K = L are pushed open: harmful once K varies in
training. Two alternatives; both leave the forward pass, the gradient of λ (eq. 11) and windows at K = L as they are:

- ``zero_sum``: where more than K inputs reach the threshold, the mean over these is taken off. What is left only moves
  the ranks among them, as the number that is processed cannot change.
- ``soft``: the derivative of SOFT, the differentiable top-K by entropic optimal transport (Xie et al., 2020), at
  softness ε. With two places to transport to it is A_i = σ((s_i - τ) / ε) with Σ A_i = K, so
  dA_i/ds_j = w_i (δ_ij - w_j / Σ w) / ε with w = A (1 - A).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["SELECTION_GRADIENTS", "ranked", "shaped_gradient", "soft_membership"]

SELECTION_GRADIENTS = ("identity", "zero_sum", "soft")
BISECTIONS = 60


def ranked(importance: Tensor, budget: int, threshold: float, how: str, softness: float) -> Tensor:
    """``importance`` itself, Float[B, L]; its gradient is ``shaped_gradient``."""
    if how == "identity" or budget >= importance.shape[-1]:
        return importance
    return _Ranked.apply(importance, budget, threshold, how, softness)


def shaped_gradient(
    grad: Tensor, importance: Tensor, budget: int, threshold: float, how: str, softness: float
) -> Tensor:
    """The gradient of the importance from that of u, in one window of each row.

    Args:
        grad: Float[B, L], du of each slot.
        importance: Float[B, L], in [0, 1].
        budget: K.
        threshold: thr.
        how: one of ``SELECTION_GRADIENTS``.
        softness: ε of "soft", in units of importance.
    Returns:
        Float[B, L].
    """
    if how == "identity" or budget >= importance.shape[-1]:
        return grad
    if how == "zero_sum":
        wanted = importance >= threshold
        count = wanted.sum(-1, keepdim=True)
        mean = torch.where(wanted, grad, 0).sum(-1, keepdim=True) / count.clamp(min=1)
        return torch.where(wanted & (count > budget), grad - mean, grad)
    member = soft_membership(importance, budget, softness)
    weight = member * (1 - member)
    mean = (weight * grad).sum(-1, keepdim=True) / weight.sum(-1, keepdim=True).clamp(min=1e-12)
    return weight * (grad - mean) / softness


def soft_membership(importance: Tensor, budget: int, softness: float) -> Tensor:
    """A of SOFT: Float[B, L] in [0, 1] whose rows sum to K, 0 < K < L; zeros for K = 0. A NaN counts as 0."""
    if budget == 0:
        return torch.zeros_like(importance)
    scores = importance.nan_to_num(nan=0.0).double() / softness
    low, high = scores.amin(-1, keepdim=True) - 40.0, scores.amax(-1, keepdim=True) + 40.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        many = torch.sigmoid(scores - middle).sum(-1, keepdim=True) > budget
        low, high = torch.where(many, middle, low), torch.where(many, high, middle)
    return torch.sigmoid(scores - (low + high) / 2).to(importance.dtype)


class _Ranked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, importance: Tensor, budget: int, threshold: float, how: str, softness: float
    ) -> Tensor:
        ctx.save_for_backward(importance)
        ctx.settings = (budget, threshold, how, softness)
        return importance.view_as(importance)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (importance,) = ctx.saved_tensors
        return shaped_gradient(grad, importance, *ctx.settings), None, None, None, None
