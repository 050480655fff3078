"""One trial: draw settings, train once, judge at every operating point."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna import TrialPruned
from optuna.trial import FrozenTrial, TrialState

from skipw.errors import SkipWError
from skipw.studies.backlog import FINISHED, origin_of
from skipw.studies.hopeless import Hopeless, Moment
from skipw.studies.judge import grid_of, points_of, trained_point
from skipw.studies.places import Places
from skipw.studies.plan import Plan, error_of
from skipw.studies.space import suggest

if TYPE_CHECKING:
    from optuna import Study, Trial

    from skipw.params import TrainSettings
    from skipw.tracking.run_logger import RunLogger

__all__ = ["SHAPE", "Journal", "is_here", "run_trial"]

log = logging.getLogger(__name__)
#: Two models with the same of these can start from one another.
SHAPE = ("model", "cell", "hidden_size", "num_layers", "window")
COUNT_WINDOW = 10  # that inputs are counted in, where neither the trial nor its recipe has a window


@dataclass(frozen=True)
class Journal:
    """How MLflow is told of the trials.

    Attributes:
        parent: the study's run.
        scale: laptop, paper or tiny.
    """

    parent: str
    scale: str


def run_trial(
    trial: Trial, plan: Plan, places: Places, journal: Journal | None = None
) -> tuple[float, float]:
    """Train and judge; returns error and share of inputs processed at the point that was trained.

    Everything else goes into the trial's user attributes: settings, history, points, lineage, duration. A trial
    whose predecessor died goes on from its checkpoint, or takes its model where that was finished.

    Raises:
        TrialPruned: it was stopped early, or nothing was learnt; the message and ``reason`` say why.
    """
    began = time.perf_counter()
    chosen = suggest(trial, plan.space)
    warm = plan.search.warm_start and trial.suggest_categorical("warm_start", [False, True])
    experiment = plan.experiment(origin_of(_frozen(trial)))
    donor = _donor(trial, plan, chosen, places) if warm else None
    settings = plan.settings(chosen, experiment, donor)
    rule = _stop_rule(trial.study, plan, settings)
    watcher = rule if plan.search.stop_early else _Watched(rule)
    trial.set_user_attr("experiment", experiment)
    trial.set_user_attr("init_from", donor)
    trial.set_user_attr("settings", dataclasses.asdict(settings))
    try:
        if _is_trained(places.model(experiment), settings):  # its predecessor was killed after the training
            _replay(places.model(experiment) / "history.csv", watcher)
        else:
            shutil.rmtree(places.model(experiment), ignore_errors=True)  # of a study that was since deleted
            _train(settings, plan, places, watcher, _logger(trial, plan, settings, places, journal))
        points = _judged(trial, plan, places, settings) if rule.reason is None else []
        if points and not math.isfinite(trained_point(points).value):
            rule.reason = f"diverged: the {plan.metric} on val is {trained_point(points).value}"
        points = [point for point in points if math.isfinite(point.value)]
    except _diverged() as error:
        rule.reason, points = f"diverged: {error}", []
    trial.set_user_attr("history", [list(moment) for moment in rule.moments])
    trial.set_user_attr("seconds", round(time.perf_counter() - began, 1))
    reason = rule.reason
    if reason is None and not any(_counts(point, plan) for point in points):
        reason = "no learning: no operating point is better than the constant predictor"
    if reason is not None:
        trial.set_user_attr("reason", reason)
        for leftover in (places.model(experiment), *places.scratch.glob(f"{experiment}-*")):
            shutil.rmtree(leftover, ignore_errors=True)
        _tell_journal(trial, {}, {"state": "stopped", "reason": reason}, None)
        raise TrialPruned(reason)
    trial.set_user_attr("points", [list(point) for point in points])
    trial.set_user_attr("checkpoint_sha256", _sha256(places.model(experiment)))
    point = trained_point(points)
    values = error_of(point.value, plan.metric), point.inputs
    _tell_journal(
        trial,
        {"error": values[0], "inputs_processed": values[1]},
        {"state": "complete", "checkpoint_sha256": _sha256(places.model(experiment))},
        places.model(experiment),
    )
    return values


def _train(
    settings: TrainSettings,
    plan: Plan,
    places: Places,
    rule: Hopeless | _Watched,
    logger: RunLogger | None,
) -> None:
    from skipw.training import fit

    donor = None if settings.init_from is None else places.model(settings.init_from)
    fit(
        settings,
        places.prepared(plan.dataset),
        places.model(settings.experiment),
        scratch=places.scratch,
        logger=logger,
        stop_rule=rule,
        init_from=donor,
        progress=False,
    )


def _is_trained(folder: Path, settings: TrainSettings) -> bool:
    """Whether a folder holds the model that these settings give; not one of another study of the same name."""
    from skipw.models.saved import load_description

    if not (folder / "model.json").exists():
        return False
    wanted = json.loads(json.dumps(dataclasses.asdict(settings)))
    return bool(load_description(folder)["settings"] == wanted)


def _replay(history: Path, rule: Hopeless | _Watched) -> None:
    import pandas as pd

    for row in pd.read_csv(history).to_dict("records"):
        rule({str(key): float(value) for key, value in row.items()})


def _frozen(trial: Trial) -> FrozenTrial:
    """The trial as its storage has it."""
    known = trial.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return next(other for other in known if other.number == trial.number)


class _Watched:
    """Lets a stop rule see every validation and never stops for it."""

    def __init__(self, rule: Hopeless) -> None:
        self._rule = rule

    def __call__(self, row: Mapping[str, float]) -> bool:
        self._rule(row)
        self._rule.reason = None
        return False


def _stop_rule(study: Study, plan: Plan, settings: TrainSettings) -> Hopeless:
    """A rule that knows how far each past trial was at each moment."""
    past = {}
    for trial in study.get_trials(deepcopy=False, states=FINISHED):
        moments = [Moment(*moment) for moment in trial.user_attrs.get("history", [])]
        if moments:
            past[f"trial {origin_of(trial)}"] = moments
    return Hopeless(plan.metric, settings.steps, plan.num_steps, plan.constant, past)


def _donor(trial: Trial, plan: Plan, chosen: Mapping[str, Any], places: Places) -> str | None:
    """The best finished trial of the same shape with a smaller λ, by error; its experiment's name.

    A trial that goes on keeps the donor that it began with, if that model is on this machine.
    """
    attributes = trial.user_attrs
    if "init_from" in attributes:
        donor = attributes["init_from"]
        return donor if donor is None or (places.model(donor) / "model.json").exists() else None
    shape = {key: chosen.get(key, plan.fixed.get(key)) for key in SHAPE}
    candidates = []
    for other in trial.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        theirs = {key: other.params.get(key, plan.fixed.get(key)) for key in SHAPE}
        cheaper = other.params["cost_per_input"] < chosen["cost_per_input"]
        experiment = other.user_attrs["experiment"]
        if theirs == shape and cheaper and is_here(other, places):
            candidates.append((other.values[0], other.number, experiment))
    return min(candidates)[2] if candidates else None


def is_here(trial: FrozenTrial, places: Places) -> bool:
    """Whether the model of a complete trial lies on this machine: that one, not another of the same name."""
    folder = places.model(trial.user_attrs["experiment"])
    return (folder / "model.json").exists() and trial.user_attrs["checkpoint_sha256"] == _sha256(folder)


def _judged(trial: Trial, plan: Plan, places: Places, settings: TrainSettings) -> list[Any]:
    grid = grid_of(
        places.model(settings.experiment),
        places.prepared(plan.dataset),
        {"val": plan.search.val_limit},
        plan.thresholds,
        count_window=settings.window or COUNT_WINDOW,
    )
    return points_of(grid, plan.metric)


def _counts(point: Any, plan: Plan) -> bool:
    """Whether a point may stand on a front: it processes something and beats the constant predictor."""
    return point.budget != 0 and point.inputs > 0 and error_of(point.value, plan.metric) < plan.constant


def _sha256(folder: Path) -> str:
    from skipw.models.saved import load_description

    return str(load_description(folder)["checkpoint_sha256"])


def _diverged() -> type[SkipWError]:
    from skipw.training.lightning_module import DivergedError

    return DivergedError


def _logger(
    trial: Trial, plan: Plan, settings: TrainSettings, places: Places, journal: Journal | None
) -> RunLogger | None:
    """The trial's run in MLflow, nested under the study's; after a kill the same run goes on."""
    if journal is None:
        return None
    from mlflow.exceptions import MlflowException

    from skipw.tracking.runs import training_run
    from skipw.tracking.study_runs import PARENT_TAG
    from skipw.training import scratch_folder

    donor = None if settings.init_from is None else places.model(settings.init_from)
    unfinished = scratch_folder(
        settings, places.prepared(plan.dataset), scratch=places.scratch, init_from=donor
    )
    unfinished.mkdir(parents=True, exist_ok=True)
    tags = {
        PARENT_TAG: journal.parent,
        "kind": "trial",
        "study": trial.study.study_name,
        "trial": str(trial.number),
        "data_source": plan.data_source,
        "title": plan.title,
        "init_from": settings.init_from or "",
        "lineage": " ".join(_lineage(donor)),
        "scale": journal.scale,
    }
    values = dataclasses.asdict(settings)
    try:
        logger = training_run(settings.experiment, plan.dataset, values, tags, unfinished)
    except (MlflowException, OSError) as error:
        log.warning("MLflow does not take trial %d: %s", trial.number, str(error).splitlines()[0])
        return None
    trial.set_user_attr("run_id", logger.run_id)
    return logger


def _lineage(donor: Path | None) -> list[str]:
    from skipw.models.saved import load_description

    if donor is None:
        return []
    description = load_description(donor)
    return [*map(str, description.get("lineage") or []), str(description["experiment"])]


def _tell_journal(
    trial: Trial, metrics: Mapping[str, float], tags: Mapping[str, str], folder: Path | None
) -> None:
    """Close the trial's run; a journal that can't be written never costs a trial."""
    run_id = trial.user_attrs.get("run_id")
    if run_id is None:
        return
    from mlflow.exceptions import MlflowException

    from skipw.tracking.study_runs import end_trial

    try:
        end_trial(run_id, metrics, tags, folder)
    except (MlflowException, OSError) as error:
        log.warning("MLflow did not take the end of trial %d: %s", trial.number, str(error).splitlines()[0])
