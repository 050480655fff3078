"""A study in its storage: made, found again, compared with what is asked for."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning
from optuna.study import StudyDirection
from optuna.trial import TrialState

from skipw.params import TrainSettings
from skipw.studies.errors import StudyError
from skipw.studies.plan import Plan
from skipw.studies.retry import is_retry
from skipw.studies.samplers import make_sampler
from skipw.studies.space import nearest

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage

__all__ = [
    "OBJECTIVES",
    "find_study",
    "offer_recipe",
    "open_study",
    "recipe_points",
    "remember_call",
    "studies_of",
]

OBJECTIVES = ("error", "inputs_processed")  # both are minimised
FACTS = "facts"
CALLED = "called"
DEFAULTS = {"params": "params.yaml", "data": "data"}  # what a command that leaves them out reads
DESCRIBED = 5.0  # seconds that another process has for it
#: What a recipe means that does not name them.
UNNAMED = {"num_layers": TrainSettings.num_layers, "weight_decay": 0.0, "dropout": 0.0}


def open_study(plan: Plan, storage: BaseStorage, name: str | None = None) -> Study:
    """The plan's study, made if need be (by any of several processes).

    Args:
        plan: what is searched.
        storage: from ``open_storage``.
        name: the plan's own by default; another name must belong to the same search.
    Raises:
        StudyError: a study of that name searches another space, or other data.
    """
    name = name or plan.study_name
    sampler = make_sampler(plan.search.sampler, plan.search.trials, plan.search.seed)
    directions = [StudyDirection.MINIMIZE] * len(OBJECTIVES)
    try:
        study = optuna.create_study(storage=storage, study_name=name, directions=directions, sampler=sampler)
    except DuplicatedStudyError:
        study = optuna.load_study(storage=storage, study_name=name, sampler=sampler)
        _wait_for_description(study)
    facts = study.user_attrs.get(FACTS)
    if facts is None:
        if study.get_trials(deepcopy=False) or study.directions != directions:
            raise StudyError(f"the study {name} was not made by skipw; choose another name.")
        _describe(study, plan)
    elif facts != plan.facts():
        raise StudyError(_difference(name, facts, plan.facts()))
    asked = {"trials": plan.search.trials, "sampler": plan.search.sampler}
    if study.user_attrs.get("asked") != asked:
        study.set_user_attr("asked", asked)
    return study


def remember_call(study: Study, **options: object) -> None:
    """Keep the options of the last search that say where its files lie, for the command that goes on.

    Args:
        study: from ``open_study``.
        options: ``params``, ``data`` and ``storage`` as they were given; None and the defaults are left out.
    """
    called = {name: str(value) for name, value in options.items() if value is not None}
    called = {name: value for name, value in called.items() if value != DEFAULTS.get(name)}
    if study.user_attrs.get(CALLED, {}) != called:
        study.set_user_attr(CALLED, called)


def _wait_for_description(study: Study) -> None:
    """Let the process that has just made the study describe it; if that one died, it is up to us."""
    end = time.monotonic() + DESCRIBED
    while FACTS not in study.user_attrs and not study.get_trials(deepcopy=False) and time.monotonic() < end:
        time.sleep(0.1)


def _describe(study: Study, plan: Plan) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(list(OBJECTIVES))
    study.set_user_attr("title", plan.title)
    study.set_user_attr("metric", plan.metric)
    study.set_user_attr("constant", plan.constant)
    study.set_user_attr(FACTS, plan.facts())


def recipe_points(plan: Plan) -> list[dict[str, Any]]:
    """The settings of the first trials: those of the space that lie nearest to the recipe, for each model."""
    if not plan.search.from_recipe:
        return []
    extra = {"warm_start": False} if plan.search.warm_start else {}
    # ThrRNN is trained as SkipRNN is, and judged at more points.
    models = [model for model in plan.models if model != "skiprnn" or "thrrnn" not in plan.models]
    wanted = {**UNNAMED, **plan.recipe}
    return [nearest(plan.space, model, wanted) | extra for model in models]


def offer_recipe(study: Study, plan: Plan) -> None:
    """Put the recipe's values for the next model into the queue if it is their turn.

    One at a time, so that a trial that is tried again comes before them, as it did the first time.
    """
    trials = study.get_trials(deepcopy=False)
    points = recipe_points(plan)
    place = sum(not is_retry(trial) for trial in trials)
    if place < len(points) and all(trial.state != TrialState.WAITING for trial in trials):
        study.enqueue_trial(points[place], skip_if_exists=True)


def _difference(name: str, theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """What keeps a study from being the one that is asked for."""
    what = {
        "dataset": "another data set",
        "data_source": "another data source",
        "prepared": "data that were prepared otherwise",
        "space": "another space",
        "search": "other search settings",
        "fixed": "another recipe",
        "thresholds": "other thresholds",
    }
    parts = []
    for key, text in what.items():
        then, now = theirs.get(key), ours[key]
        if then == now:
            continue
        if isinstance(then, dict) and isinstance(now, dict):
            keys = sorted(k for k in {*then, *now} if then.get(k) != now.get(k))
            text += f" ({', '.join(keys)})"
        elif key != "prepared":
            text += f" ({then}, not {now})"
        parts.append(text)
    return (
        f"the study {name} was made for {', '.join(parts)}; leave --study out to get a study of its own, or "
        "ask for the same again."
    )


def studies_of(storage: BaseStorage, dataset: str) -> list[str]:
    """The names of a data set's studies, the one with the newest trial last."""
    found = []
    for summary in optuna.get_all_study_summaries(storage, include_best_trial=False):
        facts = summary.user_attrs.get(FACTS)
        if isinstance(facts, dict) and facts.get("dataset") == dataset:
            trials = optuna.load_study(storage=storage, study_name=summary.study_name).get_trials(
                deepcopy=False
            )
            started = [trial.datetime_start.timestamp() for trial in trials if trial.datetime_start]
            found.append((max(started, default=0.0), summary.study_name))
    return [name for _, name in sorted(found)]


def find_study(storage: BaseStorage, dataset: str, name: str | None = None) -> Study:
    """A study to look at: the named one, else the data set's newest.

    Raises:
        StudyError: there is none, or it is of another data set.
    """
    if name is None:
        names = studies_of(storage, dataset)
        if not names:
            raise StudyError(
                f"this storage holds no study of {dataset}; `skipw search {dataset}` starts one."
            )
        name = names[-1]
    try:
        study = optuna.load_study(storage=storage, study_name=name)
    except KeyError:
        known = ", ".join(studies_of(storage, dataset)) or "none"
        raise StudyError(f"this storage holds no study {name}; those of {dataset}: {known}.") from None
    facts = study.user_attrs.get(FACTS)
    if not isinstance(facts, dict) or facts.get("dataset") != dataset:
        raise StudyError(f"the study {name} is not one of {dataset}.")
    return study
