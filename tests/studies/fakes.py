"""Studies with invented results, as trials would leave them: nothing is trained."""

from __future__ import annotations

import math
import random
import warnings
from typing import Any

import optuna
from optuna import Study
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState, create_trial

from skipw.studies.space import space_json, space_of, suggest
from skipw.studies.study import OBJECTIVES

MODELS = ("skipw", "thrrnn", "skiprnn")
CONSTANT = {"har": 0.7, "adding": 0.166}
SOURCES = {"har": ("har-mall", "Mall poses"), "adding": ("generated", "Adding Task")}


def fake_study(
    dataset: str = "har", trials: int = 12, *, storage: Any = None, points: int = 8, space: str = "wide"
) -> Study:
    """A study of ``trials`` finished trials: every fourth was stopped early, each SkipW has ``points`` points."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    name = f"skipw-{dataset}-fake0000"
    study = optuna.create_study(storage=storage, study_name=name, directions=["minimize"] * 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(list(OBJECTIVES))
    source, title = SOURCES[dataset]
    metric = "accuracy" if dataset == "har" else "mse"
    drawn = space_of(space, dataset, MODELS, classification=metric == "accuracy")
    search = {"epochs": 1.0, "space": space, "models": list(MODELS), "warm_start": True, "from_recipe": True,
              "stop_early": True, "validations": 10, "val_limit": 2000, "seed": 0}  # fmt: skip
    facts = {"dataset": dataset, "data_source": source, "prepared": "0", "space": space_json(drawn),
             "search": search, "fixed": {"window": 10, "clip": 1.0}, "thresholds": {}}  # fmt: skip
    for key, value in {"title": title, "metric": metric, "constant": CONSTANT[dataset], "facts": facts,
                       "asked": {"trials": 20, "sampler": "auto"}}.items():  # fmt: skip
        study.set_user_attr(key, value)
    chance = random.Random(0)
    study.add_trials([fake_trial(dataset, number, chance, drawn, points) for number in range(trials)])
    return study


def fake_trial(dataset: str, number: int, chance: random.Random, space: Any, points: int) -> FrozenTrial:
    """A trial that is complete, or stopped if its number leaves 3 when divided by 4."""
    params = _drawn(space, chance)
    attributes: dict[str, Any] = {
        "experiment": f"{dataset}-trial-{number:03d}",
        "init_from": f"{dataset}-trial-{number - 1:03d}" if number % 5 == 4 else None,
        "seconds": 10.0 + number,
        "history": [[0.5, 0.5, 0.5]],
    }
    distributions = {name: space[name] for name in params}
    if number % 4 == 3:
        attributes["reason"] = (
            "dominated at 50% of the run: error 0.5" if number % 8 == 3 else "dead gates: 0"
        )
        return create_trial(
            state=TrialState.PRUNED, params=params, distributions=distributions, user_attrs=attributes
        )
    best = CONSTANT[dataset] * chance.uniform(0.05, 0.9)
    shares = [chance.uniform(0.02, 0.98) for _ in range(points if params["model"] == "skipw" else 2)]
    table = []
    for budget, share in enumerate(sorted(shares), start=1):
        error = best + (CONSTANT[dataset] - best) * math.exp(-5 * share)
        value = 1 - error if dataset == "har" else error
        table.append([budget if params["model"] == "skipw" else None, 0.5, share, value])
    attributes["points"] = table
    trained = table[-1]
    error = 1 - trained[3] if dataset == "har" else trained[3]
    return create_trial(
        params=params, distributions=distributions, values=[error, trained[2]], user_attrs=attributes
    )


def _drawn(space: Any, chance: random.Random) -> dict[str, Any]:
    """Settings drawn from a space, by Optuna itself."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=chance.randrange(2**31)))
    trial = study.ask()
    return suggest(trial, space)
