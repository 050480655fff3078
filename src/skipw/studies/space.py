"""The named search spaces: which settings of a training vary, and between which values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from skipw.errors import ParamsError

if TYPE_CHECKING:
    from optuna import Trial

__all__ = ["Space", "nearest", "space_json", "space_of", "suggest"]

#: Settings by name, in the order in which they are drawn; ``window`` is drawn for SkipW alone.
Space: TypeAlias = dict[str, BaseDistribution]

#: λ acts through the number of inputs and of steps, so each data set has its own range (docs/recipes.md).
COSTS = {"adding": (1e-6, 3e-4), "mnist": (5e-5, 2e-3), "imdb": (1e-4, 1e-2), "har": (1e-3, 5e-2)}


def space_of(
    name: str,
    dataset: str,
    models: Sequence[str],
    *,
    classification: bool,
    cells: Sequence[str] = ("gru", "lstm"),
) -> Space:
    """A named space.

    ``paper`` is the one of the paper's Appendix A (ThrRNN and SkipW; made for HAR, served for any data set);
    ``wide`` adds layers, learning rate and, for classification, L2 and dropout, and draws λ from a range.

    Args:
        name: wide or paper.
        dataset: adding, mnist, imdb or har.
        models: of skipw, thrrnn and skiprnn, those that are searched.
        classification: L2 and dropout apply; the Adding Task is endless, nothing is learnt by heart there.
        cells: that ``wide`` searches; ``paper`` has the paper's LSTM and GRU.
    Raises:
        ParamsError: an unknown space, or no model that it knows.
    """
    match name:
        case "wide":
            return _wide(dataset, models, classification, cells)
        case "paper":
            return _paper(models)
    raise ParamsError(f"expected the search space wide or paper, got {name!r}.")


def _paper(models: Sequence[str]) -> Space:
    known = [model for model in ("skipw", "thrrnn") if model in models]
    if not known:
        raise ParamsError(
            f"the paper's space is of skipw and thrrnn, got the models {', '.join(models)}; "
            "choose one of these two, or the space wide."
        )
    return {
        "model": CategoricalDistribution(known),
        "batch_size": CategoricalDistribution([4096, 512]),
        "cost_per_input": CategoricalDistribution([1e-4, 1e-3, 1e-2]),
        "cell": CategoricalDistribution(["lstm", "gru"]),
        "hidden_size": CategoricalDistribution([30, 40, 50, 60]),
        "window": CategoricalDistribution([4, 8, 16]),
    }


def _wide(dataset: str, models: Sequence[str], classification: bool, cells: Sequence[str]) -> Space:
    low, high = COSTS[dataset]
    space: Space = {
        "model": CategoricalDistribution(list(models)),
        "cell": CategoricalDistribution(list(cells)),
        "hidden_size": IntDistribution(32, 128, step=32),
        "num_layers": IntDistribution(1, 2),
        "batch_size": CategoricalDistribution([32, 64, 128]),
        "cost_per_input": FloatDistribution(low, high, log=True),
        "learning_rate": FloatDistribution(1e-3, 1e-2, log=True),
        "window": IntDistribution(4, 28, step=4),
    }
    if classification:
        space["weight_decay"] = FloatDistribution(1e-5, 1e-1, log=True)
        space["dropout"] = FloatDistribution(0.0, 0.5, step=0.1)
    return space


def suggest(trial: Trial, space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """Draw the settings of one trial; those that its model has no use for are not drawn."""
    chosen: dict[str, Any] = {}
    for name, distribution in space.items():
        if name == "window" and chosen["model"] != "skipw":
            continue
        chosen[name] = _drawn(trial, name, distribution)
    return chosen


def _drawn(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    match distribution:
        case CategoricalDistribution():
            return trial.suggest_categorical(name, distribution.choices)
        case IntDistribution():
            return trial.suggest_int(
                name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
            )
        case FloatDistribution():
            return trial.suggest_float(
                name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
            )
    raise ParamsError(f"{name}: {distribution} is no distribution that a space may hold.")


def nearest(space: Mapping[str, BaseDistribution], model: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The point of the space for one kind of model that lies nearest to the wanted values.

    What is not wanted takes the middle of its range (of its logarithm where that is drawn), or the first choice.
    """
    point: dict[str, Any] = {}
    for name, distribution in space.items():
        if name == "window" and model != "skipw":
            continue
        value = model if name == "model" else wanted.get(name)
        point[name] = _nearest_value(distribution, value)
    return point


def _nearest_value(distribution: BaseDistribution, value: Any) -> Any:
    match distribution:
        case CategoricalDistribution():
            choices: list[Any] = list(distribution.choices)
            if value in choices:
                return value
            numbers = all(isinstance(choice, int | float) for choice in choices)
            if not numbers or not isinstance(value, int | float):
                return choices[0]
            return min(choices, key=lambda choice: abs(choice - value))
        case IntDistribution() | FloatDistribution():
            low, high, step = float(distribution.low), float(distribution.high), distribution.step
            if value is None:
                value = math.sqrt(low * high) if distribution.log else (low + high) / 2
            if step:
                value = low + step * round((value - low) / step)
            kind = int if isinstance(distribution, IntDistribution) else float
            return kind(min(max(value, low), high))
    raise ParamsError(f"{distribution} is no distribution that a space may hold.")


def space_json(space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """The space as plain values, to be kept with the study and compared."""
    return {name: json.loads(distribution_to_json(distribution)) for name, distribution in space.items()}
