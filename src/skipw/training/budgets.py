"""At which operating points a step trains: the largest budget, a drawn one, or both with distillation.

The largest is the whole window, or the K that an experiment is trained for (``budget``). One model for the whole front
learns from every budget that it will meet (slimmable networks, Yu et al. 2019; Yu and Huang 2019): a share of the steps
draws its K; with ``sandwich`` such a step runs the largest and the drawn K side by side, and with ``distill`` the
smaller budget learns from the larger one's scores.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from skipw.gate_budgets import gate_of
from skipw.operating_point import OperatingPoint
from skipw.training.schedules import seed_for_step

if TYPE_CHECKING:
    from skipw.params import TrainSettings

__all__ = ["Pass", "largest_point", "passes_for_step"]


@dataclass(frozen=True)
class Pass:
    """One run of the model on a step's batch.

    Attributes:
        at: the operating point; None is the whole window at the usual threshold.
        weight: of its loss; the weights of a step sum to 1.
        distilled: the share of its task loss that is the distance to the first pass's scores instead.
        largest: whether it runs at the largest budget, where a wanted share of the inputs is counted.
    """

    at: OperatingPoint | None
    weight: float = 1.0
    distilled: float = 0.0
    largest: bool = False


def largest_point(settings: TrainSettings) -> OperatingPoint | None:
    """Where a training runs that draws nothing, and where it is validated; None is the whole window."""
    if settings.model != "skipw" or settings.budget is None:
        return None
    return OperatingPoint(budget=settings.budget)


def passes_for_step(step: int, settings: TrainSettings) -> list[Pass]:
    """What a step runs, the largest budget first where there is more than one pass.

    From ``random_budget_from`` of the training on, a share ``random_budget`` of the batches of a skipw model
    draws its K (the paper trains at K = L; READINGS, "K while training"). All draws depend on the seed and the step.
    """
    largest = Pass(largest_point(settings), largest=True)
    if settings.model != "skipw" or settings.window is None or settings.random_budget <= 0:
        return [largest]
    if step < settings.random_budget_from * settings.steps:
        return [largest]
    draw = random.Random(seed_for_step(settings.seed, step))
    if draw.random() >= settings.random_budget:
        return [largest]
    low, high = settings.budget_range or (1, settings.trained_budget or settings.window)
    budget = _budget(draw, range(low, high + 1), settings)
    threshold = 0.5 if settings.random_threshold is None else draw.uniform(*settings.random_threshold)
    drawn = OperatingPoint(budget=budget, threshold=threshold)
    if not settings.sandwich:
        return [Pass(drawn)]
    return [replace(largest, weight=0.5), Pass(drawn, weight=0.5, distilled=settings.distill)]


def _budget(draw: random.Random, budgets: range, settings: TrainSettings) -> int:
    """One of these K: uniform, with a uniform logarithm (``log``: small ones come as often as large ones), or by
    ``gates``: a gate, each as often as any other, then one of the K that it serves.
    """
    low, high = budgets[0], budgets[-1]
    if settings.budget_draw == "uniform":
        return draw.randint(low, high)
    if settings.budget_draw == "log":
        return min(high, int(math.exp(draw.uniform(math.log(low), math.log(high + 1)))))
    served: dict[int, list[int]] = {}
    for budget in budgets:
        served.setdefault(gate_of(budget, settings.gate_budgets), []).append(budget)
    return draw.choice(served[draw.choice(list(served))])
