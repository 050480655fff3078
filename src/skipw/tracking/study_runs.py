"""A study and its trials in MLflow: one run for the study, the trials' runs nested under it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from skipw.tracking.runs import create_run, set_tags
from skipw.tracking.store import connect

__all__ = ["PARENT_TAG", "end_study", "end_trial", "fetch_trial", "study_run"]

PARENT_TAG = "mlflow.parentRunId"
MODEL_FOLDER = "model"


def study_run(
    dataset: str, name: str, params: Mapping[str, Any], tags: Mapping[str, str], known: str | None
) -> str:
    """The id of the study's run: the known one if it is still there, else a new one.

    Args:
        dataset: har, mnist, ...
        name: of the study, also the run's.
        params: the study's settings, as plain values.
        tags: scale, data_source, title, ...
        known: the run's id if the study had one.
    """
    from mlflow.exceptions import MlflowException

    store = connect()
    experiment_id = store.experiment(dataset)
    if known is not None:
        try:
            run = store.client.get_run(known)
        except MlflowException:
            run = None
        if run is not None and run.info.lifecycle_stage == "active":
            store.client.update_run(known, status="RUNNING")
            return known
    return create_run(store, experiment_id, name, params, {**tags, "kind": "study"})


def end_trial(
    run_id: str, metrics: Mapping[str, float], tags: Mapping[str, str], folder: Path | None
) -> None:
    """Write what a trial gave into its run.

    Args:
        run_id: of the trial.
        metrics: its objectives.
        tags: its state, why it was stopped, its checkpoint's SHA-256.
        folder: its model, which becomes the artifact ``model``; None keeps nothing.
    """
    import time

    from mlflow.entities import Metric

    store = connect()
    now = int(time.time() * 1000)
    if metrics:
        store.client.log_batch(
            run_id, metrics=[Metric(key, float(value), now, 0) for key, value in metrics.items()]
        )
    set_tags(store, run_id, tags)
    if folder is not None:
        store.client.log_artifacts(run_id, str(folder), MODEL_FOLDER)
    store.client.set_terminated(run_id, "FINISHED")


def fetch_trial(run_id: str, folder: Path) -> None:
    """Bring a trial's model from its run; the folder appears complete or not at all."""
    store = connect()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetch-") as fresh:
        found = store.client.download_artifacts(run_id, MODEL_FOLDER, fresh)
        shutil.move(found, folder)


def end_study(
    run_id: str, metrics: Mapping[str, float], history: Iterable[float], pages: Iterable[Path], *, done: bool
) -> None:
    """Write a study's figures and pages into its run.

    Args:
        run_id: of the study.
        metrics: its last figures.
        history: the hypervolume after each finished trial.
        pages: files that become artifacts below ``study``.
        done: False leaves the run open: the study was stopped and can go on.
    """
    import time

    from mlflow.entities import Metric

    store = connect()
    now = int(time.time() * 1000)
    points = [Metric(key, float(value), now, 0) for key, value in metrics.items()]
    points += [
        Metric("hypervolume", float(value), now, number) for number, value in enumerate(history, start=1)
    ]
    for start in range(0, len(points), 1000):
        store.client.log_batch(run_id, metrics=points[start : start + 1000])
    for page in pages:
        store.client.log_artifact(run_id, str(page), "study")
    if done:
        store.client.set_terminated(run_id, "FINISHED")
