"""The report on the paper's experiments as a run of the MLflow experiment ``skipw-paper``."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path

from skipw.tracking.runs import create_run
from skipw.tracking.store import connect, git_commit

__all__ = ["PAPER", "log_results"]

PAPER = "paper"
HASH_TAG = "results_sha256"


def log_results(
    title: str,
    scale: str,
    metrics: Mapping[str, float],
    pages: Mapping[str, str],
    folders: Mapping[str, Path],
) -> tuple[str, bool]:
    """Log a report once: one that is there already, word for word, is not logged again.

    Args:
        title: of the report, the run's name.
        scale: laptop, paper or tiny.
        metrics: how many claims hold, and the like.
        pages: texts by file name.
        folders: of figures and tables, by the name they get among the artifacts.
    Returns:
        the run's id, and whether it is new.
    """
    from mlflow.entities import Metric

    store = connect()
    experiment = store.experiment(PAPER)
    digest = hashlib.sha256("\n".join(pages[name] for name in sorted(pages)).encode()).hexdigest()
    known = store.client.search_runs([experiment], f"tags.{HASH_TAG} = '{digest}'", max_results=1)
    if known:
        return str(known[0].info.run_id), False
    tags = {"kind": "results", "scale": scale, HASH_TAG: digest, "mlflow.source.name": "pipelines/results.py"}
    if commit := git_commit():
        tags |= {"git_commit": commit, "mlflow.source.git.commit": commit}
    run_id = create_run(store, experiment, title, {"scale": scale}, tags)
    now = int(time.time() * 1000)
    store.client.log_batch(run_id, metrics=[Metric(name, value, now, 0) for name, value in metrics.items()])
    for name, text in pages.items():
        store.client.log_text(run_id, text, name)
    for name, folder in folders.items():
        store.client.log_artifacts(run_id, str(folder), name)
    store.client.set_terminated(run_id, "FINISHED")
    return run_id, True
