"""One MLflow run for each training. What is written after a training is in run_records.py."""

from __future__ import annotations

import getpass
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skipw.tracking.store import Store, connect, git_commit

if TYPE_CHECKING:
    from mlflow.entities import Run

    from skipw.tracking.run_logger import RunLogger

__all__ = ["RUN_ID_FILE", "create_run", "set_tags", "training_run"]

log = logging.getLogger(__name__)
RUN_ID_FILE = "mlflow_run_id"
LONGEST_VALUE = 5000  # characters that MLflow takes as a parameter's or a tag's value


def training_run(
    experiment: str, dataset: str, params: Mapping[str, Any], tags: Mapping[str, str], scratch: Path
) -> RunLogger:
    """A Lightning logger for one training; after a kill the same run goes on.

    Args:
        experiment: its name, also the run's.
        dataset: har, mnist, ...
        params: the settings, as plain values.
        tags: scale, data_source, title, ...
        scratch: the folder of this training, which goes when its model is saved; the run's id lies in it.
    """
    from skipw.tracking.run_logger import RunLogger

    store = connect()
    experiment_id = store.experiment(dataset)
    id_file = Path(scratch) / RUN_ID_FILE
    earlier = _unfinished_run(store, id_file)
    if earlier is None:
        run_id = create_run(store, experiment_id, experiment, params, {**tags, **_origin()})
        id_file.parent.mkdir(parents=True, exist_ok=True)
        id_file.write_text(f"{run_id}\n", encoding="utf-8")
    else:
        run_id = earlier.info.run_id
        store.client.update_run(run_id, status="RUNNING")
    logger = RunLogger(store, run_id, dataset)
    if earlier is not None:
        logger.skip_written(list(earlier.data.metrics))
        log.info("the MLflow run %s goes on", run_id)
    return logger


def _unfinished_run(store: Store, id_file: Path) -> Run | None:
    """The run that a former process began here; None if there is none or it was deleted since."""
    from mlflow.exceptions import MlflowException

    if not id_file.exists():
        return None
    run_id = id_file.read_text(encoding="utf-8").strip()
    try:
        run = store.client.get_run(run_id)
    except MlflowException as error:
        log.info("the MLflow run %s is gone, a new one is opened (%s)", run_id, error.error_code)
        return None
    return run if run.info.lifecycle_stage == "active" else None


def create_run(
    store: Store,
    experiment_id: str,
    experiment: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    start_time: int | None = None,
) -> str:
    """Open a run with its parameters and tags; returns its id."""
    from mlflow.entities import Param

    all_tags = {"experiment": experiment, "mlflow.user": _user(), "mlflow.source.type": "LOCAL", **tags}
    run = store.client.create_run(experiment_id, start_time, _shortened(all_tags), run_name=experiment)
    logged = [Param(key, value) for key, value in _shortened(params).items()]
    if logged:
        store.client.log_batch(run.info.run_id, params=logged)
    return str(run.info.run_id)


def _origin() -> dict[str, str]:
    """Where a training was started: commit, stage, script."""
    commit, stage = git_commit(), os.environ.get("DVC_STAGE", "")
    origin = {"mlflow.source.name": "pipelines/train.py"}
    if commit:
        origin |= {"git_commit": commit, "mlflow.source.git.commit": commit}
    if stage:
        origin["dvc_stage"] = stage
    return origin


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _shortened(values: Mapping[str, Any]) -> dict[str, str]:
    """Values as MLflow takes them: text, not too long; nested ones as JSON."""
    texts = {}
    for key, value in values.items():
        text = json.dumps(value) if isinstance(value, list | tuple | dict) else str(value)
        texts[key] = text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."
    return texts


def set_tags(store: Store, run_id: str, tags: Mapping[str, str]) -> None:
    """Set several tags of a run at once."""
    from mlflow.entities import RunTag

    if tags:
        store.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in _shortened(tags).items()])
