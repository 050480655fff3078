"""Run a SkipW at many operating points at once, each distinct piece of work a single time.

A window's choice follows from the state at its start, the budget and the threshold (eqs. 5-10). So two points
whose choices were the same in every window so far share one state, and what comes out of a window is computed
once for each distinct pair (state at its start, set of inputs processed). This is exact, whatever the
weights, ties or lengths: a window cut short by the end of its sequence needs no special case. (The importance is that
of ``equations``; a backend may round it otherwise, and then a choice that lies on a border may differ.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from skipw import equations
from skipw.operating_point import OperatingPoint

__all__ = ["can_share", "run_points"]

LONGEST_WINDOW = 40  # a choice and its state's number are packed into one 64-bit number
DRAWING = ("sample", "random")


def can_share(model: torch.nn.Module) -> bool:
    """Whether ``run_points`` serves a model: its selector must not draw, its window must fit into a
    number."""
    rnn: Any = model.rnn
    window = rnn.window
    return window is not None and window <= LONGEST_WINDOW and rnn.select not in DRAWING


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
    window, batch = rnn.window, len(inputs)
    updates = torch.zeros(len(points), batch, inputs.shape[1], dtype=torch.bool)
    scores: Tensor | None = None
    state: Any = None
    node = torch.arange(batch).expand(len(points), -1)  # of each point and sequence: the row of its state
    sequence = torch.arange(batch)  # of each row
    for start in range(0, inputs.shape[1], window):
        going = (lengths > start).nonzero().squeeze(1)
        if not len(going):
            break
        rows, of_point = node[:, going].unique(return_inverse=True)
        state = None if state is None else state.rows(rows)
        sequence = sequence[rows]
        present = (lengths[sequence] - start).clamp(max=window)
        if state is None:
            first = inputs[sequence, start : start + 1]
            probe = model(first, at=OperatingPoint(0), backend=backend).rnn.state.importance
        else:
            probe = rnn.window_importance(state)
        bits = _choices(probe, points, rnn, present)
        place = torch.arange(len(points)).unsqueeze(-1)
        packed = (of_point << window) | bits[place, of_point]
        distinct, of_point = packed.unique(return_inverse=True)
        parent = distinct >> window
        chosen = ((distinct.unsqueeze(-1) >> torch.arange(window)) & 1).bool()
        state, sequence, present = _rows(state, parent), sequence[parent], present[parent]
        chunk = inputs[sequence, start : start + window]
        chosen = chosen[:, : chunk.shape[1]]
        answer = model(chunk, updates=chosen, lengths=present, state=state, backend=backend)
        if scores is None:
            scores = answer.scores.new_zeros(len(points), batch, answer.scores.shape[-1])
        scores[:, going] = answer.scores[of_point]
        updates[:, going, start : start + chunk.shape[1]] = chosen[of_point]
        state = answer.rnn.state
        node = torch.zeros(len(points), batch, dtype=torch.long)
        node[:, going] = of_point
    assert scores is not None, "every sequence has at least one input"
    return scores, updates


def _rows(state: Any, index: Tensor) -> Any:
    return None if state is None else state.rows(index)


def _choices(importance: Tensor, points: Sequence[OperatingPoint], rnn: Any, present: Tensor) -> Tensor:
    """Which of a window's inputs each point processes (eqs. 9 and 10), as bits.

    Args:
        importance: Float[M, L], ũ_W of M states.
        points: P operating points.
        rnn: the SkipW.
        present: Long[M], inputs of the window that its sequence still has.
    Returns:
        Long[P, M], bit i for slot i.
    """
    slots = torch.arange(rnn.window)
    values = torch.where(slots < present.unsqueeze(-1), 1 << slots, 0)
    ranks: dict[float | None, Tensor] = {}
    reached: dict[float, Tensor] = {}
    choices = []
    for point in points:
        key = point.threshold if rnn.select == "first_above" else None
        if key not in ranks:
            ranks[key] = equations.selection_rank(importance, select=rnn.select, threshold=point.threshold)
        if point.threshold not in reached:
            reached[point.threshold] = torch.where(equations.binarise(importance, point.threshold), values, 0)
        selected = ranks[key] < point.budget_in(rnn.window)
        choices.append(torch.where(selected, reached[point.threshold], 0).sum(-1))
    return torch.stack(choices)
