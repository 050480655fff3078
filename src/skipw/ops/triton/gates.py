"""The gate of SkipW on one tile: importance and top-K (device code; eqs. 6-9).

Axes: BM rows of the batch, L slots of a window, padded to LP, a power of two, HP hidden units padded
likewise. L is no constant for the compiler: it would unroll the loops over slots.
"""

from __future__ import annotations

import triton
import triton.language as tl

from skipw.ops.triton.arithmetic import sigmoid

__all__ = ["at_slot", "importance_gradient", "select", "view_product", "window_importance"]


@triton.jit
def at_slot(values, slot):  # type: ignore[no-untyped-def]
    """Each row's value at its own slot: Float[BM, LP], Int[BM] -> Float[BM]. NaN elsewhere in the row is not read."""
    slots = tl.arange(0, values.shape[1])
    return tl.sum(tl.where(slots[None, :] == slot[:, None], values, 0.0), axis=1)


@triton.jit
def view_product(view, weight, cols, col_ok):  # type: ignore[no-untyped-def]
    """<view, weight> of each row: Float[HP, BM] with N weights in memory -> Float[BM]."""
    return tl.sum(view * tl.load(weight + cols, mask=col_ok, other=0.0)[:, None], axis=0)


@triton.jit
def window_importance(  # type: ignore[no-untyped-def]
    view,
    time,
    weight,
    bias,
    H: tl.constexpr,
    HP: tl.constexpr,
    LP: tl.constexpr,
    L,
    TIMED: tl.constexpr,
):
    """ũ_W = σ(W_W [s; t] + b_W), eqs. 6 and 7, slot by slot in full precision: Float[BM, LP].

    Args:
        view: what drives the gate, Float[HP, BM].
        time: the time feature, Float[BM]; read if ``TIMED``.
        weight, bias: pointers to Float[L, H + TIMED] and Float[L].
    """
    width: tl.constexpr = H + TIMED
    slots, cols = tl.arange(0, LP), tl.arange(0, HP)
    inside = slots < L
    logits = tl.zeros([view.shape[1], LP], view.dtype)
    logits += tl.load(bias + slots, mask=inside, other=0.0)[None, :]
    if TIMED:
        logits += time[:, None] * tl.load(weight + slots * width + H, mask=inside, other=0.0)[None, :]
    for i in range(L):
        score = view_product(view, weight + i * width, cols, cols < H)
        logits += tl.where(slots[None, :] == i, score[:, None], 0.0)
    return sigmoid(logits)


@triton.jit
def importance_gradient(  # type: ignore[no-untyped-def]
    d_logits, weight, H: tl.constexpr, HP: tl.constexpr, L, TIMED: tl.constexpr
):
    """The gradient of the view from that of the logits: Float[BM, LP] -> Float[HP, BM]."""
    width: tl.constexpr = H + TIMED
    cols = tl.arange(0, HP)
    slots = tl.arange(0, d_logits.shape[1])
    gradient = tl.zeros([HP, d_logits.shape[0]], d_logits.dtype)
    for i in range(L):
        row = tl.load(weight + i * width + cols, mask=cols < H, other=0.0)
        one = tl.sum(tl.where(slots[None, :] == i, d_logits, 0.0), axis=1)
        gradient += row[:, None] * one[None, :]
    return gradient


@triton.jit
def select(  # type: ignore[no-untyped-def]
    importance,
    noise,
    limit,
    slot,
    threshold,
    LP: tl.constexpr,
    L,
    SELECT: tl.constexpr,
    LOWEST: tl.constexpr,
):
    """The ``limit`` most important slots still to come (eq. 9), by counting ranks: Float[BM, LP] of 0 and 1.

    A slot's rank is how many slots beat it; ties go to the earliest. NaN ranks last, behind every number.

    Args:
        importance, noise: Float[BM, LP].
        limit: Int[BM], how many may still be processed.
        slot: Int[BM]; slots before it have passed.
        SELECT: a selector of ``skipw.equations.select_k``.
        LOWEST: the least finite number of the data type.
    """
    slots = tl.arange(0, LP)
    late = tl.zeros([importance.shape[0], LP], importance.dtype) + slots[None, :].to(importance.dtype)
    if SELECT == "topk":
        key = importance
    elif SELECT == "sample":
        key = tl.log(tl.where(slots[None, :] < L, importance, 1.0)) + noise
    elif SELECT == "random":
        key = noise
    elif SELECT == "first":
        key = -late
    elif SELECT == "last":
        key = late
    else:
        key = tl.where(importance >= threshold, -late, float("-inf"))
    key = tl.where(importance == importance, tl.where(key > LOWEST / 2, key, LOWEST / 2), LOWEST)
    to_come = (slots[None, :] >= slot[:, None]) & (slots < L)[None, :]
    key = tl.where(to_come, key, float("-inf"))
    rank = tl.zeros([importance.shape[0], LP], tl.int32)
    for j in range(L):
        other = tl.sum(tl.where(slots[None, :] == j, key, 0.0), axis=1)[:, None]
        beats = (other > key) | ((other == key) & (j < slots)[None, :])
        rank += beats.to(tl.int32)
    return (to_come & (rank < limit[:, None])).to(importance.dtype)
