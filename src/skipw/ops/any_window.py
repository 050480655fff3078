"""At most K of any L consecutive inputs, not only of the aligned windows (``bound="any"`` of ``skipw.SkipW``).

The paper bounds each aligned window. K inputs at the end of one and K at the start of the next are allowed, so L
consecutive inputs across the border may hold 2 K. Here none may hold more than K.

Let a selection be made before input t, in slot o = t mod L (a window opens, o = 0; or the operating point moved).
Let A be what the aligned bound selects (eq. 9): of the slots to come, the first K - used in the selector's order. Let
d_m be how many of the last m inputs before t were processed, 0 <= m < L. The L inputs that end with a slot i to come,
o <= i < L, hold the slots o to i and the last L - 1 - (i - o) inputs before t, so there is room for

    room_i = K - d_{L-1-(i-o)}                                                                                  (a)

processed inputs in the slots o to i; room_i never falls with i. A subset S of A is allowed if

    |{j in S : j <= i}| <= room_i    for every i in S.                                                          (b)

The slots of A are taken in the selector's order (importance, for top-K), and each is put into S if S stays allowed. As
(b) are bounds on nested sets, no allowed subset of A has a larger total importance: an input is not refused for a less
important one before it. Slots of S that reach the threshold are processed (eq. 10). A slot of A that is refused is
skipped, and no slot outside of A takes its place: the window then has fewer than K, and what comes after it more room
(docs/any-window.md has what the other way gave). Where (b) refuses nothing, S = A.

Whatever K was before: by (b) the L inputs that end with a processed input hold at most the K in force at it. So any L
consecutive inputs hold at most the K in force at the last one of them that was processed, and never more than the
largest K in force within them. This holds for decisions that the gate makes; forced ones are counted, not refused.
"""

from __future__ import annotations

import torch
from torch import Tensor

from skipw import equations

__all__ = ["recent_after", "select_k_of_any"]


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
    room = budget - processed.gather(-1, (window - 1 - slots + offset.unsqueeze(-1)).clamp(max=window - 1))
    aligned = (rank < room[:, -1:]) & (slots >= offset.unsqueeze(-1))
    crowded = (aligned & (aligned.cumsum(-1) > room)).any(-1)
    rows = crowded.nonzero().squeeze(1)
    if not len(rows):
        return aligned
    return aligned.index_copy(0, rows, _one_by_one(rank[rows], room[rows], aligned[rows]))


def _one_by_one(rank: Tensor, room: Tensor, aligned: Tensor) -> Tensor:
    """S, a slot of A after the other. ``rank`` and ``room`` Long[b, L], ``aligned`` Bool[b, L]; returns Bool[b, L]."""
    window = rank.shape[-1]
    slots = torch.arange(window, device=rank.device)
    chosen = torch.zeros_like(aligned)
    most = int(aligned.sum(-1).max())
    for slot in rank.argsort(dim=-1)[:, :most].unbind(-1):
        later = slots >= slot.unsqueeze(-1)
        fits = torch.where(later, room, window).amin(-1, keepdim=True) >= 1
        taken = fits & aligned & (slots == slot.unsqueeze(-1))
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
