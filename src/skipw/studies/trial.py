"""One trial: draw settings, train once, judge at every operating point."""

from __future__ import annotations

import dataclasses
import json
import logging
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

__all__ = ["SHAPE", "Journal", "run_trial"]

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
            _train(settings, plan, places, watcher, _logger(trial, plan, settings, places, journal))
        points = _judged(trial, plan, places, settings) if rule.reason is None else []
    except _diverged() as error:
        rule.reason, points = f"diverged: {error}", []
    trial.set_user_attr("history", [list(moment) for moment in rule.moments])
    trial.set_user_attr("seconds", round(time.perf_counter() - began, 1))
    reason = rule.reason
    if reason is None and not any(_counts(point, plan) for point in points):
        reason = "no learning: no operating point is better than the constant predictor"
    if reason is not None:
        trial.set_user_attr("reason", reason)
        shutil.rmtree(places.model(experiment), ignore_errors=True)
        _tell_journal(trial, {}, {"state": "stopped", "reason": reason}, None)
        raise TrialPruned(reason)
    trial.set_user_attr("points", [list(point) for point in points])
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


def _is_trained(model: Path, settings: TrainSettings) -> bool:
    """Whether a model of just these settings lies there; an older study of the same name may have left another."""
    from skipw.models.saved import load_description

    if not (model / "model.json").exists():
        return False
    return load_description(model).get("settings") == json.loads(json.dumps(dataclasses.asdict(settings)))


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
            past[f"trial {trial.number}"] = moments
    return Hopeless(plan.metric, settings.steps, plan.num_steps, plan.constant, past)


def _donor(trial: Trial, plan: Plan, chosen: Mapping[str, Any], places: Places) -> str | None:
    """The best finished trial of the same shape with a smaller λ, by error; its experiment's name.

    A trial that goes on keeps the donor that it began with.
    """
    if "init_from" in trial.user_attrs:
        return trial.user_attrs["init_from"]
    shape = {key: chosen.get(key, plan.fixed.get(key)) for key in SHAPE}
    candidates = []
    for other in trial.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        theirs = {key: other.params.get(key, plan.fixed.get(key)) for key in SHAPE}
        cheaper = other.params["cost_per_input"] < chosen["cost_per_input"]
        experiment = other.user_attrs["experiment"]
        if theirs == shape and cheaper and (places.model(experiment) / "model.json").exists():
            candidates.append((other.values[0], other.number, experiment))
    return min(candidates)[2] if candidates else None


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
    logger = training_run(settings.experiment, plan.dataset, values, tags, unfinished)
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
