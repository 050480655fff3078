"""Trials without hope end early. Optuna prunes single-objective studies only, so this looks at both objectives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["Hopeless", "Moment"]

DEAD_FROM = 0.15  # share of the run
DEAD_BELOW = 0.999  # inputs a sequence; one may be enough, as on HAR
NO_LEARNING_FROM = 0.5
NO_LEARNING_GAIN = 0.02  # least gain over the constant predictor, as a share of its error
DOMINATED_FROM = 0.3
MARGIN_INPUTS = 0.1  # share of the inputs
MARGIN_ERROR = 0.1  # share of the constant predictor's error
PEERS = 5  # past trials before they are compared with
IN_A_ROW = 2  # validations that say the same


class Moment(NamedTuple):
    """Where a trial stood at a validation: share of its run, error, share of the inputs processed, all on val."""

    fraction: float
    error: float
    inputs: float


class Hopeless:
    """A stop rule for ``fit``: true once a trial can no longer matter; ``reason`` says why.

    - dead gates: fewer than one input a sequence is processed, twice in a row. Gates that shut don't open again,
      no gradient reaches them.
    - no learning: half the run is over and the error never was 2 % below the constant predictor's.
    - dominated: twice in a row some past trial had, at the same share of its run, an error that was smaller by a
      tenth of the constant predictor's, and processed fewer inputs by a tenth of all.

    Args:
        metric: accuracy or mse.
        steps: of the training.
        num_steps: T, inputs of the longest sequence.
        constant: error of the constant predictor.
        past: the moments of each trial that has ended.
    """

    def __init__(
        self,
        metric: str,
        steps: int,
        num_steps: int,
        constant: float,
        past: Mapping[str, Sequence[Moment]],
    ) -> None:
        self.metric, self.steps, self.num_steps, self.constant = metric, steps, num_steps, constant
        self.past = past
        self.reason: str | None = None
        self.moments: list[Moment] = []
        self._dead = self._dominated = 0

    def __call__(self, row: Mapping[str, float]) -> bool:
        """Take in a validation's row; True stops the training."""
        value = row[f"val_{self.metric}"]
        error = 1.0 - value if self.metric == "accuracy" else value
        now = Moment(row["step"] / self.steps, error, row["val_inputs_processed"])
        self.moments.append(now)
        if self.reason is None and now.fraction < 1.0:
            self.reason = self._dead_gates(now) or self._no_learning(now) or self._beaten(now)
        return self.reason is not None

    def _dead_gates(self, now: Moment) -> str | None:
        dead = now.fraction >= DEAD_FROM and now.inputs * self.num_steps < DEAD_BELOW
        self._dead = self._dead + 1 if dead else 0
        if self._dead < IN_A_ROW:
            return None
        return f"dead gates: {now.inputs * self.num_steps:.2g} inputs a sequence at {now.fraction:.0%} of the run"

    def _no_learning(self, now: Moment) -> str | None:
        best = min(math.inf if math.isnan(moment.error) else moment.error for moment in self.moments)
        if now.fraction < NO_LEARNING_FROM or best < (1.0 - NO_LEARNING_GAIN) * self.constant:
            return None
        return (
            f"no learning: error {best:.4g} at best after {now.fraction:.0%} of the run, "
            f"the constant predictor's is {self.constant:.4g}"
        )

    def _beaten(self, now: Moment) -> str | None:
        if now.fraction < DOMINATED_FROM or len(self.past) < PEERS:
            return None
        worse = (now.error - MARGIN_ERROR * self.constant, now.inputs - MARGIN_INPUTS)
        for name, moments in self.past.items():
            then = _at(moments, now.fraction)
            if then is not None and then.error <= worse[0] and then.inputs <= worse[1]:
                self._dominated += 1
                if self._dominated < IN_A_ROW:
                    return None
                return (
                    f"dominated at {now.fraction:.0%} of the run: error {now.error:.4g} with {now.inputs:.1%} of the "
                    f"inputs, where {name} had {then.error:.4g} with {then.inputs:.1%}"
                )
        self._dominated = 0
        return None


def _at(moments: Sequence[Moment], fraction: float) -> Moment | None:
    """The last moment up to that share of the run, if it is no more than a tenth of the run before."""
    earlier = [moment for moment in moments if fraction - 0.1 <= moment.fraction <= fraction + 1e-6]
    return earlier[-1] if earlier else None
