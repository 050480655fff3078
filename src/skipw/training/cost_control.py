"""A penalty that targets a share of the inputs instead of a λ: a controller steers λ while the model trains."""

from __future__ import annotations

import math

__all__ = ["CostController"]


class CostController:
    """λ_t = λ · max(0, 1 + p e_t), where λ grows by the factor exp(i e_t) a step and e_t = share / target - 1.

    The integral part finds the λ that the target needs. The proportional part takes the price away while the share
    is below the target: a price on gates that have closed already would shut the rest, and shut gates stay shut,
    since the loss no longer depends on them.

    Args:
        start: the first λ; above 0.
        target: wanted share of the inputs, in (0, 1].
        integral: i, by step.
        proportional: p.
        smoothing: how much of the running mean of the shares a step keeps, in [0, 1).
    """

    def __init__(
        self,
        start: float,
        target: float,
        *,
        integral: float = 0.004,
        proportional: float = 4.0,
        smoothing: float = 0.95,
    ) -> None:
        if not start > 0 or not 0 < target <= 1:
            raise ValueError(f"start must be above 0 and target in (0, 1], got {start!r} and {target!r}.")
        self.target, self.integral, self.proportional = target, integral, proportional
        self.smoothing = smoothing
        self._log_cost = math.log(start)
        self._share: float | None = None

    @property
    def cost(self) -> float:
        """λ for the next step."""
        return math.exp(self._log_cost) * max(0.0, 1.0 + self.proportional * self._error)

    def observe(self, share: float) -> None:
        """Take in the share of the inputs that a step processed at K = L."""
        if self._share is None:
            self._share = share
        self._share += (1.0 - self.smoothing) * (share - self._share)
        growth = self.integral * min(1.0, max(-1.0, self._error))
        self._log_cost = min(math.log(1e3), max(math.log(1e-12), self._log_cost + growth))

    def lower(self, factor: float) -> None:
        """Multiply λ by ``factor`` and forget the shares seen."""
        self._log_cost, self._share = self._log_cost + math.log(factor), None

    @property
    def _error(self) -> float:
        return 0.0 if self._share is None else self._share / self.target - 1.0

    def state(self) -> dict[str, float | None]:
        """What a resumed training needs."""
        return {"log_cost": self._log_cost, "share": self._share}

    def restore(self, state: dict[str, float | None]) -> None:
        """Go on from ``state``."""
        assert state["log_cost"] is not None
        self._log_cost, self._share = state["log_cost"], state["share"]
