"""Which settings are tried next: Optuna's samplers, seeded anew for each trial."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from skipw.errors import ParamsError
from skipw.studies.retry import place_of

__all__ = ["LARGE", "SeededSampler", "make_sampler", "sampler_name"]

LARGE = 200  # trials from which an evolutionary search pays
STARTUP = 8  # trials drawn at random before TPE has something to learn from
POPULATION = 40


def make_sampler(name: str, trials: int, seed: int) -> SeededSampler:
    """The sampler of a study.

    Args:
        name: tpe, nsga2 or random; auto takes TPE (Ozaki et al., 2022) up to ``LARGE`` trials and NSGA-II (Deb
            et al., 2002) beyond: a front needs generations, TPE's time grows with the square of its trials.
        trials: wanted in all.
        seed: of the study.
    Raises:
        ParamsError: an unknown name.
    """
    match sampler_name(name, trials):
        case "tpe":
            return SeededSampler(_tpe, seed)
        case "nsga2":
            return SeededSampler(lambda own: NSGAIISampler(population_size=POPULATION, seed=own), seed)
        case "random":
            return SeededSampler(lambda own: RandomSampler(seed=own), seed)
    raise ParamsError(f"expected the sampler auto, tpe, nsga2 or random, got {name!r}.")


def sampler_name(name: str, trials: int) -> str:
    """What auto stands for with so many trials; other names are returned as they are."""
    if name != "auto":
        return name
    return "tpe" if trials <= LARGE else "nsga2"


def _tpe(seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(n_startup_trials=STARTUP, multivariate=True, group=True, seed=seed)


class SeededSampler(BaseSampler):
    """A sampler whose draws for a trial depend on the seed, on its place and on the trials before, on nothing else.

    A study that was stopped goes on as if it had not been, and workers side by side don't draw the same. A trial that
    is tried again has a new number, but its old place.

    Args:
        make: builds the sampler from a seed.
        seed: of the study.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make = make
        self._seed = seed
        self._number = -1
        self._inner = make(seed)

    def _of(self, study: Study, trial: FrozenTrial) -> BaseSampler:
        if trial.number != self._number:
            self._number = trial.number
            place = place_of(study, trial)
            self._inner = self._make((self._seed * 1_000_003 + place * 7_919 + 17) % 2**31)
        return self._inner

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._of(study, trial).before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._of(study, trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._of(study, trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._of(study, trial).sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._of(study, trial).after_trial(study, trial, state, values)
