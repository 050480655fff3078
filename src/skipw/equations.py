"""The paper's equations, each once: pure functions on one step of a batch.

Mayet et al., "SkipW: Resource Adaptable RNN with Strict Upper Computational Limit", ICLR 2021. The numbers are the
paper's; ``docs/equations.md`` maps each to its test, ``docs/paper_readings.md`` lists what the paper leaves open.

Axes: B batch, L window, N hidden units. ``update`` u_t is a Float[B] of zeros and ones that carries the
straight-through gradient; ``mask`` is the same as Bool[B], without gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from skipw.errors import BudgetError

__all__ = [
    "accumulate",
    "binarise",
    "copy_or_update",
    "gate_probability",
    "input_cost",
    "scale_gradient",
    "select_k",
    "selection_rank",
    "straight_through",
    "window_importance",
    "window_offset",
]

SELECTORS = ("topk", "sample", "random", "first", "last", "first_above")


def binarise(importance: Tensor, threshold: float | Tensor) -> Tensor:
    """Which inputs reach the threshold (eq. 1, and the comparison of eq. 10). NaN never does.

    Args:
        importance: Float[...], in [0, 1].
        threshold: thr in [0, 1].
    Returns:
        Bool[...].
    """
    return importance >= threshold


def straight_through(mask: Tensor, importance: Tensor) -> Tensor:
    """``mask`` as u_t, whose gradient passes unchanged to ``importance`` (section 3, "Error gradients").

    Args:
        mask: Bool[B].
        importance: Float[B], the value that the gate compared.
    Returns:
        Float[B] of zeros and ones.
    """
    return _StraightThrough.apply(mask, importance)


def gate_probability(state: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """σ(W s + b), the increment Δũ of ThrRNN and SkipRNN (eq. 2).

    Args:
        state: Float[B, N].
        weight: Float[1, N].
        bias: Float[1].
    Returns:
        Float[B], in [0, 1].
    """
    return torch.sigmoid(torch.nn.functional.linear(state, weight, bias)).squeeze(-1)


def accumulate(
    update: Tensor, probability: Tensor, accumulated: Tensor, increment: Tensor
) -> tuple[Tensor, Tensor]:
    """The next ũ and Δũ of ThrRNN and SkipRNN (eq. 3).

    ``min(ũ + Δũ, 1)`` equals the paper's ``ũ + min(Δũ, 1 - ũ)`` and is exactly 1 in floating point.

    Args:
        update: u_t, Float[B].
        probability: σ(W c̃ + b) of the candidate, Float[B].
        accumulated: ũ_t, Float[B].
        increment: Δũ_{t-1}, Float[B].
    Returns:
        ũ_{t+1} and Δũ_t, Float[B] each.
    """
    waited = torch.clamp(accumulated + increment, max=1.0)
    candidate = torch.stack([probability, probability], dim=-1)
    kept = torch.stack([waited, increment], dim=-1)
    accumulated, increment = copy_or_update(update, candidate, kept).unbind(-1)
    return accumulated, increment


def copy_or_update(update: Tensor, candidate: Tensor, state: Tensor) -> Tensor:
    """s_t = u_t c̃ + (1 - u_t) s_{t-1} (eqs. 4 and 5), selected rather than multiplied: a skipped NaN changes nothing.

    The gradient is that of the formula: <ds, c̃ - s> to ``update``, u ds to ``candidate``, (1 - u) ds to ``state``.

    Args:
        update: u_t, Float[B].
        candidate: S(s_{t-1}, x_t), Float[B, N].
        state: s_{t-1}, Float[B, N].
    Returns:
        Float[B, N].
    """
    return _CopyOrUpdate.apply(update, candidate, state)


def window_importance(
    state: Tensor, time: Tensor | None, weight: Tensor, bias: Tensor, extras: Tensor | None = None
) -> Tensor:
    """ũ_W = σ(W_W [s_{t-1}; t] + b_W), computed at a window's first input (eqs. 6 and 7).

    Args:
        state: s_{t-1} of the top layer, Float[B, N].
        time: the time feature, Float[B], or None where the model has none.
        weight: Float[L, N + 1] (Float[L, N] without time feature), and E more columns where there are extras.
        bias: Float[L].
        extras: Float[B, E], what else the gate sees (docs/gates.md, not in the paper), or None.
    Returns:
        Float[B, L], in [0, 1].
    """
    features = state if time is None else torch.cat([state, time.to(state.dtype).unsqueeze(-1)], dim=-1)
    if extras is not None:
        features = torch.cat([features, extras], dim=-1)
    return torch.sigmoid(torch.nn.functional.linear(features, weight, bias))


def window_offset(step: Tensor, window: int) -> Tensor:
    """i = t mod L (eq. 8). ``step`` Long[B]; returns Long[B]."""
    return step % window


def select_k(
    importance: Tensor,
    k: int | Tensor,
    *,
    select: str = "topk",
    noise: Tensor | None = None,
    threshold: float = 0.0,
    offset: Tensor | None = None,
) -> Tensor:
    """Select the ``k`` most important inputs of a window (eq. 9) by index, never by value.

    Mayet et al., section 3; the alternatives to top-K are those of Appendix H. Ties go to the earliest input and a
    NaN ranks last, so at most ``k`` inputs are selected. Whether a selected input is processed is for eq. 10 to say.

    Args:
        importance: Float[B, L], in [0, 1].
        k: inputs to keep, an int or Long[B], 0 <= k <= L.
        select: "topk"; "sample" (without replacement, probability proportional to importance: Gumbel top-k on
            log importance); "random"; "first"; "last"; "first_above" (the first of those >= threshold).
        noise: Float[B, L], Gumbel for "sample", uniform for "random"; else unused.
        threshold: thr, read by "first_above" only.
        offset: Long[B]; slots before it have passed and are not selected. Default 0.
    Returns:
        Bool[B, L], exactly ``k`` true values a row while enough slots are still to come.
    Raises:
        BudgetError: if an int ``k`` is outside [0, L] or ``select`` is unknown.
    """
    window = importance.shape[-1]
    if isinstance(k, int) and not 0 <= k <= window:
        raise BudgetError(f"k must lie in [0, {window}] for a window of {window} inputs, got {k}.")
    rank = selection_rank(importance, select=select, noise=noise, threshold=threshold, offset=offset)
    selected = rank < (k.unsqueeze(-1) if isinstance(k, Tensor) else k)
    if offset is None:
        return selected
    return selected & (torch.arange(window, device=importance.device) >= offset.unsqueeze(-1))


def selection_rank(
    importance: Tensor,
    *,
    select: str = "topk",
    noise: Tensor | None = None,
    threshold: float = 0.0,
    offset: Tensor | None = None,
) -> Tensor:
    """Each slot's place in the order in which ``select_k`` selects: with k inputs to keep, places 0 to k - 1 are kept.

    Args:
        importance, select, noise, threshold, offset: as in ``select_k``.
    Returns:
        Long[B, L], a permutation of 0 to L - 1 in each row.
    Raises:
        BudgetError: if ``select`` is unknown.
    """
    slots = torch.arange(importance.shape[-1], device=importance.device)
    key = _ranking_key(importance.detach(), select, noise, threshold, slots)
    lowest = torch.finfo(key.dtype).min
    key = torch.where(importance.isnan(), lowest, key.clamp(min=lowest / 2))
    if offset is not None:
        key = torch.where(slots >= offset.unsqueeze(-1), key, -torch.inf)
    order = key.argsort(dim=-1, descending=True, stable=True)
    return torch.empty_like(order).scatter_(-1, order, slots.expand_as(order))


def _ranking_key(
    importance: Tensor, select: str, noise: Tensor | None, threshold: float, slots: Tensor
) -> Tensor:
    """What the slots of a window are ranked by, largest first: Float[B, L]."""
    earliness = -slots.to(importance.dtype).expand_as(importance)
    match select:
        case "topk":
            return importance
        case "sample":
            return torch.log(importance) + _required(noise, select)
        case "random":
            return _required(noise, select)
        case "first":
            return earliness
        case "last":
            return -earliness
        case "first_above":
            return torch.where(importance >= threshold, earliness, -torch.inf)
        case _:
            raise BudgetError(f"select must be one of {', '.join(SELECTORS)}, got {select!r}.")


def _required(noise: Tensor | None, select: str) -> Tensor:
    if noise is None:
        raise BudgetError(f"select={select!r} needs noise, Float[B, L]; got None.")
    return noise


def input_cost(updates: Tensor) -> Tensor:
    """Σ_t u_t of eq. 11, without λ. ``updates`` Float[B, T]; returns Float[B]."""
    return updates.sum(dim=-1)


def scale_gradient(value: Tensor, factor: float) -> Tensor:
    """``value`` itself; its gradient is multiplied by ``factor`` (0 cuts it)."""
    if factor == 1.0:
        return value
    if factor == 0.0:
        return value.detach()
    return _ScaleGradient.apply(value, factor)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mask: Tensor, importance: Tensor) -> Tensor:
        return mask.to(importance.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        return None, grad


class _CopyOrUpdate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, update: Tensor, candidate: Tensor, state: Tensor) -> Tensor:
        mask = (update != 0).unsqueeze(-1)
        ctx.save_for_backward(mask, candidate, state)
        return torch.where(mask, candidate, state)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        mask, candidate, state = ctx.saved_tensors
        update_grad = (grad * (candidate - state)).sum(-1) if ctx.needs_input_grad[0] else None
        zero = torch.zeros((), dtype=grad.dtype, device=grad.device)
        return update_grad, torch.where(mask, grad, zero), torch.where(mask, zero, grad)


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.factor, None
