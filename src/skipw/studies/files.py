"""A study's results as files, data/studies/<dataset>: tables, a page, and the models on its front."""

from __future__ import annotations

import logging
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState

from skipw.data.atomic import replaced_folder, write_json
from skipw.studies.errors import StudyError
from skipw.studies.judge import grid_of
from skipw.studies.page import write_study_page
from skipw.studies.trial import COUNT_WINDOW, is_here

if TYPE_CHECKING:
    from optuna import Study

    from skipw.params import Params
    from skipw.studies.outcome import Outcome
    from skipw.studies.places import Places
    from skipw.studies.plan import Plan

__all__ = ["publish"]

log = logging.getLogger(__name__)
MODEL_FILES = ("model.safetensors", "model.json", "history.csv")
PAGE = "study.html"


def publish(
    study: Study, outcome: Outcome, plan: Plan, params: Params, places: Places, *, tracking: bool
) -> Path:
    """Write data/studies/<dataset>; it appears complete or not at all.

    study.json (what the study is, hypervolume after each trial), trials.csv, points.csv (every operating point
    on val), study.html, and trials/<experiment> for each trial on the study's front: the model's files and its
    grid.csv on val and test, for the stages pareto and register.

    Args:
        study: the study.
        outcome: of it.
        plan: of it.
        params: the whole file of settings.
        places: of its working files.
        tracking: write figures and page into the study's MLflow run too.
    Raises:
        StudyError: a model on the front is neither here nor in MLflow.
    """
    out = places.data / "studies" / plan.dataset
    with replaced_folder(out) as folder:
        write_json(folder / "study.json", _summary(outcome, plan))
        outcome.trials.to_csv(folder / "trials.csv", index=False, lineterminator="\n")
        outcome.points.to_csv(folder / "points.csv", index=False, lineterminator="\n")
        (folder / "trials").mkdir()
        for experiment in dict.fromkeys(outcome.front["experiment"]):
            _publish_trial(study, str(experiment), folder / "trials", plan, params, places)
        write_study_page(folder / PAGE, study, outcome)
    if tracking:
        _tell_journal(study, outcome, plan, out)
    return out


def _summary(outcome: Outcome, plan: Plan) -> dict[str, Any]:
    """study.json; no time and no place in it, so that the same study gives the same file."""
    return {
        "study": outcome.name,
        "dataset": outcome.dataset,
        "title": outcome.title,
        "data_source": outcome.data_source,
        "metric": outcome.metric,
        "constant_predictor_error": outcome.constant,
        "trials": {
            "wanted": plan.search.trials,
            "complete": outcome.counts.complete,
            "stopped": outcome.counts.stopped,
        },
        "front_points": len(outcome.front),
        "hypervolume": outcome.hypervolume,
        "hypervolume_history": outcome.hypervolumes,
        "sampler": plan.search.sampler,
        **{key: outcome.facts[key] for key in ("search", "space", "fixed")},
    }


def _publish_trial(
    study: Study, experiment: str, trials: Path, plan: Plan, params: Params, places: Places
) -> None:
    model = places.model(experiment)
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    trial = next(trial for trial in complete if trial.user_attrs["experiment"] == experiment)
    if not is_here(trial, places):
        _fetch(trial, experiment, model)
    out = trials / experiment
    out.mkdir()
    for name in MODEL_FILES:
        shutil.copyfile(model / name, out / name)
    limits = {"val": params.evaluate.val_limit, "test": plan.search.test_limit or params.evaluate.test_limit}
    grid = grid_of(
        out,
        places.prepared(plan.dataset),
        limits,
        plan.thresholds,
        count_window=plan.fixed.get("window") or COUNT_WINDOW,
        batch_size=params.evaluate.batch_size,
    )
    grid.to_csv(out / "grid.csv", index=False, lineterminator="\n")


def _fetch(trial: FrozenTrial, experiment: str, model: Path) -> None:
    """Bring a model that was trained elsewhere from its MLflow run."""
    run_id = trial.user_attrs.get("run_id")
    problem = "it has no MLflow run"
    if run_id is not None:
        from mlflow.exceptions import MlflowException

        from skipw.tracking.study_runs import fetch_trial

        try:
            shutil.rmtree(model, ignore_errors=True)
            fetch_trial(run_id, model)
            return
        except (MlflowException, OSError) as error:
            problem = f"its MLflow run {run_id} does not give it: {str(error).splitlines()[0]}"
    raise StudyError(
        f"the model of {experiment} is on the front, but not in {model}, and {problem}. Several machines need one "
        "MLFLOW_TRACKING_URI, or one mlruns folder; else run a new study."
    )


def _tell_journal(study: Study, outcome: Outcome, plan: Plan, out: Path) -> None:
    """The study's figures and files into its run; a journal that can't be written costs nothing else."""
    if outcome.run_id is None:
        return
    from mlflow.exceptions import MlflowException

    from skipw.tracking.study_runs import end_study

    metrics = {
        "trials_complete": outcome.counts.complete,
        "trials_stopped": outcome.counts.stopped,
        "front_points": len(outcome.front),
        "best_error": float(outcome.points["error"].min()) if len(outcome.points) else math.nan,
    }
    finite = {key: value for key, value in metrics.items() if math.isfinite(value)}
    files = [out / name for name in (PAGE, "study.json", "trials.csv", "points.csv")]
    done = outcome.counts.finished >= plan.search.trials
    try:
        end_study(outcome.run_id, finite, outcome.hypervolumes, files, done=done)
    except (MlflowException, OSError) as error:
        log.warning("MLflow did not take the study's figures: %s", str(error).splitlines()[0])
