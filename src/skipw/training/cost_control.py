"""A penalty that targets a share of the inputs instead of a λ: a controller steers λ while the model trains."""

from __future__ import annotations

import math

from skipw.errors import ParamsError
from skipw.params import TrainSettings

__all__ = ["CostController", "controller_for"]


class CostController:
    """λ_t = λ · max(0, 1 + p min(e_t, r)), where e_t = share / target_t - 1.

    λ grows by the factor exp(i e_t) a step: this integral part finds the λ that the target needs. The proportional part
    takes the price away while the share is below the target, and raises it by at most the factor 1 + p r = 2 above: a
    price that is a little too high closes the slots that later windows' gates hang on, and then all of them within a
    few hundred steps (docs/anytime.md). A far target is better approached by a ramp: over its first ``ramp`` steps
    target_t moves geometrically from the first share seen to ``target``.

    Args:
        start: the first λ; above 0.
        target: wanted share of the inputs, in (0, 1].
        ramp: steps until the target holds; 0 = from the start.
        integral: i, by step.
        proportional: p.
        relief: r, the largest e_t that the proportional part answers to.
        smoothing: how much of the running mean of the shares a step keeps, in [0, 1).
    """

    def __init__(
        self,
        start: float,
        target: float,
        *,
        ramp: int = 0,
        integral: float = 0.004,
        proportional: float = 4.0,
        relief: float = 0.25,
        smoothing: float = 0.95,
    ) -> None:
        if not start > 0 or not 0 < target <= 1:
            raise ValueError(f"start must be above 0 and target in (0, 1], got {start!r} and {target!r}.")
        self.target, self.ramp = target, ramp
        self.integral, self.proportional, self.relief = integral, proportional, relief
        self.smoothing = smoothing
        self._log_cost = math.log(start)
        self._share: float | None = None
        self._first: float | None = None
        self._seen = 0

    @property
    def cost(self) -> float:
        """λ for the next step."""
        return math.exp(self._log_cost) * max(0.0, 1.0 + self.proportional * min(self._error, self.relief))

    def observe(self, share: float) -> None:
        """Take in the share of the inputs that a step processed at the largest budget."""
        if self._first is None:
            self._first = share
        if self._share is None:
            self._share = share
        self._seen += 1
        self._share += (1.0 - self.smoothing) * (share - self._share)
        growth = self.integral * min(1.0, max(-1.0, self._error))
        self._log_cost = min(math.log(1e3), max(math.log(1e-12), self._log_cost + growth))

    def lower(self, factor: float) -> None:
        """Multiply λ by ``factor`` and forget the shares seen."""
        self._log_cost, self._share = self._log_cost + math.log(factor), None

    @property
    def present_target(self) -> float:
        """The share wanted now, on the way from the first one seen to ``target``."""
        if self._first is None or self._seen >= self.ramp:
            return self.target
        first = max(self._first, 1e-6)
        return float(first * (self.target / first) ** (self._seen / self.ramp))

    @property
    def _error(self) -> float:
        return 0.0 if self._share is None else self._share / self.present_target - 1.0

    def state(self) -> dict[str, float | None]:
        """What a resumed training needs."""
        return {"log_cost": self._log_cost, "share": self._share, "first": self._first, "seen": self._seen}

    def restore(self, state: dict[str, float | None]) -> None:
        """Go on from ``state``."""
        assert state["log_cost"] is not None
        self._log_cost, self._share = state["log_cost"], state["share"]
        self._first, self._seen = (
            state.get("first"),
            int(state.get("seen") or 0),
        )  # absent in older checkpoints


def controller_for(settings: TrainSettings) -> CostController | None:
    """What steers λ in a training, or None where λ is given.

    Raises:
        ParamsError: if there is a target and no λ above 0 to start from.
    """
    if settings.target_inputs is None:
        return None
    if not settings.cost_per_input > 0:
        raise ParamsError(
            f"{settings.experiment}: target_inputs steers λ from cost_per_input on; set that above 0."
        )
    ramp = round(settings.target_ramp * settings.steps)
    return CostController(settings.cost_per_input, settings.target_inputs, ramp=ramp)
