"""At most K of any L consecutive inputs, not only of the aligned windows (``bound="any"`` of ``skipw.SkipW``).

The paper bounds each aligned window. K inputs at the end of one and K at the start of the next are allowed, so L
consecutive inputs across the border may hold 2 K. Here none may hold more than K.

Let a selection be made before input t, in slot o = t mod L (a window opens, o = 0; or the operating point moved).
Let d_m be how many of the last m inputs before t were processed, 0 <= m < L, and i a slot still to come, o <= i < L.
The L inputs that end with slot i hold slots o to i and the last L - 1 - (i - o) inputs before t, so there is room for

    room_i = K - d_{L-1-(i-o)}                                                                                  (a)

processed inputs in the slots o to i; room_i never falls with i. A set S of slots is feasible if

    |{j in S : j <= i}| <= room_i    for every i in S.                                                          (b)

The slots are taken in the order of the selector (eq. 9; importance for top-K), and each is put into S if S stays
feasible. So a slot that is refused for what came before it leaves its place to the next in that order, mostly a later
slot, and an important slot is not lost to less important ones before it: as (b) are bounds on nested sets, S has the
largest total importance of all feasible sets. Slots of S that reach the threshold are processed (eq. 10). Where (b)
refuses nothing, that is the selection of the aligned window, whose bound is (b) at its last slot.

Whatever K was before: by (b) the L inputs that end with a processed input hold at most the K in force at it. So any L
consecutive inputs hold at most the K in force at the last one of them that was processed, and never more than the
largest K in force within them. This holds for decisions that the gate makes; forced ones are counted, not refused.
"""

from __future__ import annotations

import torch
from torch import Tensor

from skipw import equations

__all__ = ["BOUNDS", "recent_after", "select_k_of_any"]

BOUNDS = ("aligned", "any")


def select_k_of_any(
    importance: Tensor,
    budget: int,
    recent: Tensor,
    *,
    select: str = "topk",
    noise: Tensor | None = None,
    threshold: float = 0.0,
    offset: Tensor,
) -> Tensor:
    """The set S of the equations above, by index.

    Args:
        importance, select, noise, threshold: as in ``equations.select_k``.
        budget: K, 0 <= K <= L.
        recent: Bool[B, L - 1], which of the last L - 1 inputs were processed, the latest last.
        offset: Long[B], o; slots before it have passed.
    Returns:
        Bool[B, L].
    """
    window = importance.shape[-1]
    slots = torch.arange(window, device=importance.device)
    rank = equations.selection_rank(
        importance, select=select, noise=noise, threshold=threshold, offset=offset
    )
    processed = torch.nn.functional.pad(recent.flip(-1).long().cumsum(-1), (1, 0))  # d_m, Long[B, L]
    to_come = slots >= offset.unsqueeze(-1)
    room = budget - processed.gather(-1, (window - 1 - slots + offset.unsqueeze(-1)).clamp(max=window - 1))
    aligned = to_come & (rank < room[:, -1:])
    crowded = (aligned & (aligned.cumsum(-1) > room)).any(-1)
    rows = crowded.nonzero().squeeze(1)
    if not len(rows):
        return aligned
    return aligned.index_copy(0, rows, _one_by_one(rank[rows], room[rows], to_come[rows]))


def _one_by_one(rank: Tensor, room: Tensor, to_come: Tensor) -> Tensor:
    """S, a slot after the other. ``rank`` and ``room`` Long[b, L], ``to_come`` Bool[b, L]; returns Bool[b, L]."""
    window = rank.shape[-1]
    slots = torch.arange(window, device=rank.device)
    chosen = torch.zeros_like(to_come)
    for slot in rank.argsort(dim=-1).unbind(-1):
        here = slots == slot.unsqueeze(-1)
        later = slots >= slot.unsqueeze(-1)
        fits = torch.where(later, room, window).amin(-1, keepdim=True) >= 1
        taken = fits & to_come & here
        chosen = chosen | taken
        room = room - (later & taken.any(-1, keepdim=True)).long()
    return chosen


def recent_after(recent: Tensor, updates: Tensor, steps: Tensor | int) -> Tensor:
    """Which of the last L - 1 inputs were processed, once ``steps`` more have been seen.

    Args:
        recent: Bool[B, L - 1], before them.
        updates: Bool[B, T], which of the inputs since then were processed.
        steps: how many of these count, an int or Long[B], at most T.
    Returns:
        Bool[B, L - 1].
    """
    size = recent.shape[-1]
    every = torch.cat([recent, updates], dim=-1)
    if isinstance(steps, int):
        return every[:, steps : steps + size]
    index = steps.unsqueeze(-1) + torch.arange(size, device=recent.device)
    return every.gather(-1, index)
