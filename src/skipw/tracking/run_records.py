"""What is written into a run after its training: history, grid, summary, front; or all of it anew."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from skipw.tracking.provenance import Provenance
from skipw.tracking.runs import create_run, set_tags
from skipw.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

__all__ = ["add_artifacts", "find_run", "log_dataset", "log_grid", "log_summary", "rebuild_run"]

GRID_TABLE = "grid.json"
FIRST_COLUMNS = ("budget", "threshold", "split", "metric", "value", "inputs_processed", "pareto", "alias")
HISTORY_INDEX = ("epoch", "step")


def find_run(
    store: Store, experiment: str, dataset: str, sha256: str, history: pd.DataFrame, whose: Provenance
) -> Run | None:
    """The newest run that trained this checkpoint: by its tag, else by the metrics in history.csv.

    The run of a model that was shipped is never the run of one that was trained here, though both may be the same.

    The name alone does not tell: an experiment may be trained again, and every study has a trial 3.
    """

    def newest(filters: str, at_most: int) -> list[Run]:
        runs = store.client.search_runs(
            [store.experiment(dataset)],
            f"tags.experiment = '{experiment}'{filters}",
            order_by=["attributes.start_time DESC"],
            max_results=at_most,
        )
        return [run for run in runs if whose.same_origin(run.data.tags)]

    if tagged := newest(f" AND tags.checkpoint_sha256 = '{sha256}'", 200):
        return tagged[0]
    for run in newest("", 200):
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
    run_id = create_run(store, store.experiment(dataset), experiment, params, {**tags, **origin}, start)
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
