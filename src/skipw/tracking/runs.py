"""One MLflow run for each training, found again by what it trained, with history, grid and summary."""

from __future__ import annotations

import getpass
import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from skipw.tracking.store import Store, connect, git_commit

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

    from skipw.tracking.run_logger import RunLogger

__all__ = [
    "RUN_ID_FILE",
    "add_artifacts",
    "find_run",
    "log_dataset",
    "log_grid",
    "log_summary",
    "rebuild_run",
    "training_run",
]

log = logging.getLogger(__name__)
RUN_ID_FILE = "mlflow_run_id"
GRID_TABLE = "grid.json"
FIRST_COLUMNS = ("budget", "threshold", "split", "metric", "value", "inputs_processed", "pareto", "alias")
LONGEST_VALUE = 5000  # characters that MLflow takes as a parameter's or a tag's value
HISTORY_INDEX = ("epoch", "step")


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
        run_id = _create_run(store, experiment_id, experiment, params, {**tags, **_origin()})
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


def _create_run(
    store: Store,
    experiment_id: str,
    experiment: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    start_time: int | None = None,
) -> str:
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


def find_run(store: Store, experiment: str, dataset: str, sha256: str, history: pd.DataFrame) -> Run | None:
    """The newest run that trained this checkpoint: by its tag, else by the metrics in history.csv."""
    runs = store.client.search_runs(
        [store.experiment(dataset)],
        f"tags.experiment = '{experiment}'",
        order_by=["attributes.start_time DESC"],
        max_results=200,
    )
    for run in runs:
        if run.data.tags.get("checkpoint_sha256") == sha256:
            return run
    for run in runs:
        untagged = "checkpoint_sha256" not in run.data.tags and run.info.status == "FINISHED"
        if untagged and _same_history(run, history):
            store.client.set_tag(run.info.run_id, "checkpoint_sha256", sha256)
            return run
    return None


def _same_history(run: Run, history: pd.DataFrame) -> bool:
    """Whether the run's last metrics are those of the table's last row (which keeps 7 digits)."""
    if history.empty:
        return False
    last = history.iloc[-1]
    keys = [key for key in history.columns if str(key).startswith("val_") and math.isfinite(last[key])]
    logged = run.data.metrics
    same = all(
        key in logged and math.isclose(logged[key], last[key], rel_tol=1e-5, abs_tol=1e-9) for key in keys
    )
    return bool(keys) and same


def rebuild_run(
    store: Store,
    experiment: str,
    dataset: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    history: pd.DataFrame,
) -> str:
    """A finished run out of files alone: parameters, tags and every row of history.csv. Returns its id.

    The run begins when its training would have had to, to end now: the curves over time keep their shape.
    """
    from mlflow.entities import Metric

    has_times = "seconds" in history.columns and len(history) > 0
    seconds = history["seconds"].to_numpy() if has_times else [0.0] * len(history)
    now = int(time.time() * 1000)
    start = now - int(1000 * float(seconds[-1])) if len(seconds) else now
    origin = {"mlflow.source.name": "pipelines/register.py", "rebuilt": "true"}
    run_id = _create_run(store, store.experiment(dataset), experiment, params, {**tags, **origin}, start)
    metrics = []
    for place, row in enumerate(history.to_dict("records")):
        moment = start + int(1000 * float(seconds[place]))
        step = int(row.get("step", place))
        for key, value in row.items():
            if key not in HISTORY_INDEX and isinstance(value, int | float) and math.isfinite(value):
                metrics.append(Metric(str(key), float(value), moment, step))
    _log_metrics(store, run_id, metrics)
    store.client.set_terminated(run_id, "FINISHED", now)
    return run_id


def _log_metrics(store: Store, run_id: str, metrics: Sequence[Metric]) -> None:
    for start in range(0, len(metrics), 1000):
        store.client.log_batch(run_id, metrics=metrics[start : start + 1000])


def log_grid(store: Store, run: Run, grid: pd.DataFrame, files: Iterable[Path]) -> None:
    """Log the evaluation grid: as a table that the pages can filter, as files, and as curves over the budget.

    The curves ``test_<metric>_at_budget`` and ``test_inputs_at_budget`` take the budget for their step, so
    charts of several runs lie over one another. A grid that is there already is not logged again.

    Args:
        store: the journal.
        run: of the model.
        grid: the columns of grid.csv.
        files: grid.csv and what lies beside it.
    """
    from mlflow.entities import Metric

    first = [column for column in FIRST_COLUMNS if column in grid.columns]
    table = grid[[*first, *(column for column in grid.columns if column not in first)]]
    text = table.to_json(orient="split", index=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    if run.data.tags.get("grid_sha256") == digest:
        return
    client, run_id, now = store.client, run.info.run_id, int(time.time() * 1000)
    client.log_text(run_id, text, GRID_TABLE)
    for path in files:
        client.log_artifact(run_id, str(path), "grid")
    metrics = []
    curve = grid[(grid["split"] == "test") & grid["budget"].notna() & (grid["metric"] != "paper_mse")]
    nearest = (curve["threshold"] - 0.5).abs()
    for row in curve[nearest == nearest.min()].to_dict("records"):
        step = int(row["budget"])
        metrics.append(Metric(f"test_{row['metric']}_at_budget", float(row["value"]), now, step))
        metrics.append(Metric("test_inputs_at_budget", float(row["inputs_processed"]), now, step))
    _log_metrics(store, run_id, metrics)
    tables = json.dumps([{"path": GRID_TABLE, "type": "table"}])
    set_tags(store, run_id, {"mlflow.loggedArtifacts": tables, "grid_sha256": digest})


def log_summary(store: Store, run: Run, numbers: Mapping[str, float], tags: Mapping[str, str]) -> None:
    """The numbers and tags that the table of runs is sorted and filtered by; none is logged twice."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    new = {key: value for key, value in numbers.items() if run.data.metrics.get(key) != value}
    _log_metrics(store, run.info.run_id, [Metric(key, value, now, 0) for key, value in new.items()])
    set_tags(store, run.info.run_id, {k: v for k, v in tags.items() if run.data.tags.get(k) != v})


def log_dataset(store: Store, run: Run, title: str, data_source: str) -> None:
    """Name the data set of a run, so that the pages show and filter by it."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    if run.inputs is not None and run.inputs.dataset_inputs:
        return
    digest = hashlib.sha256(data_source.encode()).hexdigest()[:8]
    source = json.dumps({"data_source": data_source})
    used = DatasetInput(
        Dataset(title, digest, "skipw", source), [InputTag("mlflow.data.context", "training")]
    )
    store.client.log_inputs(run.info.run_id, [used])


def set_tags(store: Store, run_id: str, tags: Mapping[str, str]) -> None:
    """Set several tags of a run at once."""
    from mlflow.entities import RunTag

    if tags:
        store.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in _shortened(tags).items()])


def add_artifacts(store: Store, run: Run, files: Iterable[Path], tag: str) -> None:
    """Log files to a run unless the very same were logged under this tag before."""
    paths = [path for path in files if path.exists()]
    digest = hashlib.sha256(
        b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths)
    ).hexdigest()
    if run.data.tags.get(tag) == digest:
        return
    for path in paths:
        store.client.log_artifact(run.info.run_id, str(path))
    set_tags(store, run.info.run_id, {tag: digest})
