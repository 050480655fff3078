"""Run a SkipW at many operating points at once; what several points have in common is computed a single time.

For each threshold the sequences are run once with the whole window as budget. A smaller budget K chooses the same
inputs until the first window in which more than K inputs reached the threshold; from the state at that window's start,
and only from there, the sequence is run anew. Where small budgets have gates of their own (``gate_budgets``), those of
each gate share a run at its largest. A window that the end of its sequence cuts short counts with the inputs that it
still has. This is exact, whatever the weights and ties. (Importance is compared in rounded numbers; a backend
that rounds a chunk otherwise than a whole sequence may decide otherwise on a border.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from skipw import equations
from skipw.gate_budgets import gate_of
from skipw.operating_point import OperatingPoint
from skipw.ops.state import SkipState

__all__ = ["can_share", "run_points"]

DRAWING = ("sample", "random")


@dataclass(frozen=True)
class _Whole:
    """The run with the largest budget of a gate. B sequences of T inputs in W windows, C scores.

    Attributes:
        scores: Float[B, C].
        updates: Bool[B, T].
        states: where each window starts, rows [W · B].
        needed: Long[W, B], the smallest budget that chooses in this window as the largest does.
    """

    scores: Tensor
    updates: Tensor
    states: SkipState | None
    needed: Tensor


def can_share(model: torch.nn.Module) -> bool:
    """Whether ``run_points`` serves a model.

    A SkipW that bounds aligned windows, whose selector does not draw, and whose gate does not see the budget: one that
    does may choose otherwise at each K from the first window on.
    """
    rnn: Any = model.rnn
    if rnn.window is None or "budget" in rnn.gate_inputs:
        return False
    return rnn.select not in DRAWING and rnn.bound == "aligned"


@torch.inference_mode()
def run_points(
    model: torch.nn.Module,
    inputs: Tensor,
    lengths: Tensor,
    points: Sequence[OperatingPoint],
    *,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Run a batch of sequences at every point. P points, B sequences of T inputs, C scores.

    Args:
        model: a ``SequenceModel`` of a SkipW that ``can_share``, in evaluation mode.
        inputs: Float[B, T, D], or Long[B, T] token ids.
        lengths: Long[B], 1 <= length <= T.
        points: operating points.
        backend: as in ``SkipW.forward``.
    Returns:
        scores Float[P, B, C] and updates Bool[P, B, T], as one plain run a point gives them.
    """
    rnn: Any = model.rnn
    largest = [None, *rnn.gate_budgets]
    wholes: dict[OperatingPoint, _Whole] = {}
    scores, updates = [], []
    for point in points:
        budget = largest[gate_of(point.budget_in(rnn.window), rnn.gate_budgets)]
        at = OperatingPoint(budget, point.threshold).held_to(rnn.window, rnn.largest_budget)
        if at not in wholes:
            wholes[at] = _run_whole(model, inputs, lengths, at, backend)
        answer = _run_point(model, inputs, lengths, point, wholes[at], backend)
        scores.append(answer[0])
        updates.append(answer[1])
    return torch.stack(scores), torch.stack(updates)


def _run_whole(
    model: torch.nn.Module, inputs: Tensor, lengths: Tensor, at: OperatingPoint, backend: str
) -> _Whole:
    """Window by window, so that the state at each window's start is known."""
    rnn: Any = model.rnn
    window = rnn.window
    states: list[SkipState] = []
    needed, updates = [], []
    state: SkipState | None = None
    scores = None
    for start in range(0, inputs.shape[1], window):
        chunk = inputs[:, start : start + window]
        present = (lengths - start).clamp(0, chunk.shape[1])
        answer = model(chunk, at=at, lengths=present, state=state, backend=backend)
        state = answer.rnn.state
        assert state is not None and state.importance is not None
        states.append(state)
        updates.append(answer.rnn.updates)
        wanted = _budget_needed(state.importance, rnn.select, at.threshold, present)
        needed.append(wanted.clamp(max=at.budget_in(window)))
        scores = answer.scores
    assert scores is not None, "every sequence has at least one input"
    joined = SkipState.joined(states[:-1]) if len(states) > 1 else None
    return _Whole(scores, torch.cat(updates, 1), joined, torch.stack(needed))


def _budget_needed(importance: Tensor, select: str, threshold: float, present: Tensor) -> Tensor:
    """The smallest budget with which a window's choice is that of any larger one, Long[B].

    Args:
        importance: Float[B, L], ũ_W.
        select, threshold: of eqs. 9 and 10.
        present: Long[B], inputs of the window that its sequence still has.
    """
    rank = equations.selection_rank(importance, select=select, threshold=threshold)
    slots = torch.arange(importance.shape[-1])
    wanted = equations.binarise(importance, threshold) & (slots < present.unsqueeze(-1))
    return torch.where(wanted, rank + 1, 0).amax(-1)


def _run_point(
    model: torch.nn.Module,
    inputs: Tensor,
    lengths: Tensor,
    point: OperatingPoint,
    whole: _Whole,
    backend: str,
) -> tuple[Tensor, Tensor]:
    """Scores Float[B, C] and updates Bool[B, T] at one point: the whole run's, and anew from where they differ."""
    rnn: Any = model.rnn
    batch, num_steps = inputs.shape[:2]
    exceeds = whole.needed > point.budget_in(rnn.window)  # Bool[W, B]
    rows = exceeds.any(0).nonzero().squeeze(1)
    if not len(rows):
        return whole.scores, whole.updates
    first = exceeds.int().argmax(0)[rows]
    scores, updates = whole.scores.clone(), whole.updates.clone()
    for begins in (True, False):  # a run from the very start has no state yet
        chosen = (first == 0) == begins
        if not bool(chosen.any()):
            continue
        anew, start = rows[chosen], first[chosen] * rnn.window
        state = None
        if not begins:
            assert whole.states is not None
            state = whole.states.rows((first[chosen] - 1) * batch + anew)
        steps = torch.arange(num_steps - int(start.min())) + start.unsqueeze(-1)  # of the sequence; [b, S]
        inside = steps < num_steps
        gathered = inputs[anew.unsqueeze(-1), steps.clamp(max=num_steps - 1)]
        left = lengths[anew] - start
        answer = model(gathered, at=point, lengths=left, state=state, backend=backend)
        scores[anew] = answer.scores
        row = anew.unsqueeze(-1).expand_as(steps)
        updates[row[inside], steps[inside]] = answer.rnn.updates[inside]
    return scores, updates
