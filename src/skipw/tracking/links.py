"""Addresses of MLflow's pages."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import quote

from skipw.tracking.provenance import front_tag, is_shipped
from skipw.tracking.store import connect, exists, experiment_name

__all__ = ["compare_link", "run_link"]


def compare_link(
    dataset: str, server: str = "http://127.0.0.1:5000", front: Path | None = None, *, shipped: bool = False
) -> str | None:
    """The page that compares the runs on a data set's front; None if there are none. Creates nothing.

    Args:
        dataset: har, mnist, ...
        server: where ``make ui`` answers; MLFLOW_TRACKING_URI wins if it is a server's address.
        front: a front.csv; only the runs that were registered with it, so that nothing is mixed where a journal
            holds several fronts of the data set. By default all that are on some front.
        shipped: whether that is the front of the models that came with the code.
    """
    if not exists():
        return None
    store = connect()
    experiment = store.client.get_experiment_by_name(experiment_name(dataset))
    if experiment is None:
        return None
    wanted = "tags.pareto = 'true'"
    for key, value in (front_tag(front) if front is not None else {}).items():
        wanted += f" AND tags.{key} = '{value}'"
    runs = list(store.client.search_runs([experiment.experiment_id], wanted, max_results=50))
    if front is not None:
        runs = [run for run in runs if is_shipped(run.data.tags) == shipped]
    if not runs:
        return None
    base = _base(server)
    if len(runs) == 1:  # nothing to compare it with
        return f"{base}/#/experiments/{experiment.experiment_id}/runs?searchFilter={quote(wanted)}"
    chosen = quote(json.dumps([run.info.run_id for run in runs], separators=(",", ":")))
    return f"{base}/#/compare-runs?runs={chosen}&experiments={quote(json.dumps([experiment.experiment_id]))}"


def run_link(dataset: str, run_id: str, server: str = "http://127.0.0.1:5000") -> str | None:
    """The page of a run; None if its experiment is not in this journal. Creates nothing.

    Args:
        dataset: har, mnist, ...
        run_id: of the run.
        server: as in ``compare_link``.
    """
    if not exists():
        return None
    experiment = connect().client.get_experiment_by_name(experiment_name(dataset))
    if experiment is None:
        return None
    return f"{_base(server)}/#/experiments/{experiment.experiment_id}/runs/{run_id}"


def _base(server: str) -> str:
    """MLFLOW_TRACKING_URI if it is a server's address, else ``server``."""
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    return (address if address.startswith("http") else server).rstrip("/")
