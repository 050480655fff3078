"""A plan: the same inputs of every sequence, which a training may hand its gates to begin with.

Gates learn from straight-through gradients, one slot of one window against the others, and at a few inputs a sequence
they settle far from the best choice: on MNIST at 35 of 784 pixels a plan, which looks at no digit, beats every gate
that was trained without (docs/plans.md). ``plan_search`` finds one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from skipw.gate_budgets import gate_of
from skipw.operating_point import OperatingPoint

if TYPE_CHECKING:
    from skipw.models.skip_window import SkipW

__all__ = ["Plan", "Plans", "disagreement", "write_plans"]

OPEN_WEIGHT, FIRST_WEIGHT = 3.0, 20.0  # of the plan's inputs; of all up to its first window
MARGIN = 1.0  # between the logits of two inputs of a window, in the plan's order
# Logits of a plan that is written down; the more important inputs of a window are above the least.
SHUT, LEAST_OPEN = -4.0, 3.0


@dataclass(frozen=True)
class Plan:
    """Which inputs, and in which order of importance.

    Attributes:
        order: Long[n], the plan's inputs, the most important first.
        num_steps: T.
        window: L.
    """

    order: npt.NDArray[np.int64]
    num_steps: int
    window: int

    @cached_property
    def members(self) -> Tensor:
        """Which inputs are in the plan: Bool[T]."""
        found = torch.zeros(self.num_steps, dtype=torch.bool)
        found[torch.from_numpy(self.order)] = True
        return found

    @property
    def logits(self) -> Tensor:
        """What a gate says that follows the plan without an error, whatever the state: Float[W, L]."""
        found = torch.full((-(-self.num_steps // self.window), self.window), SHUT)
        said = found.view(-1)
        latest: dict[int, int] = {}
        for index in reversed(self.order.tolist()):
            after = latest.get(index // self.window)
            said[index] = LEAST_OPEN if after is None else said[after] + MARGIN
            latest[index // self.window] = index
        return found

    @cached_property
    def pairs(self) -> Tensor:
        """Neighbours in the order of a window, the more important one first: Long[2, pairs]."""
        last: dict[int, int] = {}
        found = []
        for index in self.order.tolist():
            if (before := last.get(index // self.window)) is not None:
                found.append((before, index))
            last[index // self.window] = index
        return torch.tensor(found, dtype=torch.long).view(-1, 2).T

    def inputs_at(self, budget: int | None) -> Tensor:
        """The inputs that a gate which follows the plan processes with at most K of a window: Long[m], ascending."""
        taken = [0] * (-(-self.num_steps // self.window))
        found = []
        for index in self.order.tolist():
            if budget is None or taken[index // self.window] < budget:
                found.append(index)
                taken[index // self.window] += 1
        return torch.tensor(sorted(found), dtype=torch.long)


@dataclass(frozen=True)
class Plans:
    """A plan for each gate that is to follow one.

    Attributes:
        plans: of the first gates in ``gate_budgets``' order where there are any, else the one gate's alone.
        gate_budgets: as in ``skipw.SkipW``.
        window: L.
    """

    plans: tuple[Plan, ...]
    gate_budgets: tuple[int, ...]
    window: int

    def at(self, point: OperatingPoint | None) -> Plan | None:
        """The plan of the gate that rules at this point (None: the whole window); None if that gate is free."""
        budget = (point or OperatingPoint()).budget_in(self.window)
        gate = gate_of(budget, self.gate_budgets)
        if not self.gate_budgets:
            return self.plans[0]
        return self.plans[gate - 1] if 1 <= gate <= len(self.plans) else None

    def gates(self) -> list[tuple[int, Plan]]:
        """Each plan and the place of its gate among the model's."""
        return list(enumerate(self.plans, start=1 if self.gate_budgets else 0))


def write_plans(rnn: SkipW, plans: Plans) -> bool:
    """Have gates say their plans at once, where every window has biases of its own to say it with (``gate_windows``).

    Such a gate's weights become 0 but for these biases; the others stay as they are.

    Returns:
        False where windows are without, and gates have to learn their plans.
    """
    said = [(place, plan.logits) for place, plan in plans.gates()]
    if rnn.gate_windows < max(len(logits) for _, logits in said):
        return False
    with torch.no_grad():
        for place, logits in said:
            rows = slice(place * plans.window, (place + 1) * plans.window)
            own = rnn.gate.weight.shape[1] - rnn.gate_windows
            rnn.gate.bias[rows] = 0.0
            rnn.gate.weight[rows] = 0.0
            rnn.gate.weight[rows, own:] = SHUT
            rnn.gate.weight[rows, own : own + len(logits)] = logits.T.to(rnn.gate.weight)
    return True


def disagreement(logits: Tensor, plan: Plan) -> Tensor:
    """How far gates are from a plan: Σ_t w_t · cross entropy of open and shut, and what their order lacks.

    The weight w_t is 3 for an input of the plan, which are few, and 1 for the others; up to the first window of the
    plan it is 20 times that: a state counts the windows that were read, so that one opened too early puts it ahead of
    time to the end, and up to there a gate has nothing to go by but time, in which it is linear. Two neighbours in the
    order of a window cost softplus(1 - the difference of their logits), so that K may be lowered later.

    Args:
        logits: Float[B, W, L], before σ, as ``SkipW.follow`` gives them.
    Returns:
        The mean over sequences.
    """
    ours, members = logits.flatten(1)[:, : plan.num_steps], plan.members.to(logits.device)
    weight = torch.where(members, OPEN_WEIGHT, 1.0).to(logits)
    weight[: (int(plan.order.min()) // plan.window + 1) * plan.window] *= FIRST_WEIGHT
    wrong = torch.nn.functional.softplus(torch.where(members, -ours, ours)) * weight
    more, less = plan.pairs.to(logits.device)
    turned = torch.nn.functional.softplus(MARGIN - (ours[:, more] - ours[:, less]))
    return (wrong.sum() + turned.sum()) / len(logits)
