"""What a study has found so far, read from its storage alone: points, front, hypervolume, states."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from skipw.evaluation.pareto import hypervolume, non_dominated
from skipw.studies.backlog import FINISHED, Counts, count, origin_of
from skipw.studies.plan import error_of

__all__ = ["Outcome", "plain", "read_outcome"]

POINT_COLUMNS = (
    "trial", "experiment", "model", "cell", "hidden_size", "num_layers", "window", "cost_per_input",
    "budget", "threshold", "inputs_processed", "value", "error", "front",
)  # fmt: skip
SHAPE = ("model", "cell", "hidden_size", "num_layers", "window", "cost_per_input")


@dataclass(frozen=True)
class Outcome:
    """A study's results on val.

    Attributes:
        name, dataset, title, data_source, metric: of the study.
        constant: error of the constant predictor.
        counts: trials by state.
        trials: one row a finished trial, in the order in which they ended.
        points: one row an operating point of a complete trial; ``front`` marks those on the study's front.
        hypervolumes: after each finished trial, of all points so far; the share of the rectangle between
            (every input processed, the constant predictor's error) and (no input, no error) that they dominate.
        facts: what the study is, see ``Plan.facts``.
        run_id: the study's run in MLflow.
        called: the options ``params``, ``data`` and ``storage`` of the last search, those that were not the defaults.
    """

    name: str
    dataset: str
    title: str
    data_source: str
    metric: str
    constant: float
    counts: Counts
    trials: pd.DataFrame
    points: pd.DataFrame
    hypervolumes: list[float]
    facts: dict[str, Any]
    run_id: str | None
    called: Mapping[str, str]

    @property
    def hypervolume(self) -> float:
        """The last one; 0 before any trial has finished."""
        return self.hypervolumes[-1] if self.hypervolumes else 0.0

    @property
    def front(self) -> pd.DataFrame:
        """The points on the front, by ascending cost."""
        return self.points[self.points["front"]].sort_values("inputs_processed", ignore_index=True)


def read_outcome(study: Study) -> Outcome:
    """Read a study; takes part in nothing, so it may be called while workers run."""
    attributes = study.user_attrs
    facts, metric = dict(attributes["facts"]), str(attributes["metric"])
    constant = float(attributes["constant"])
    done = [trial for trial in study.get_trials(deepcopy=False) if trial.state in FINISHED]
    done.sort(key=lambda trial: (trial.datetime_complete or trial.datetime_start, trial.number))
    points = _points(done, facts["fixed"], metric, constant)
    return Outcome(
        name=study.study_name,
        dataset=str(facts["dataset"]),
        title=str(attributes["title"]),
        data_source=str(facts["data_source"]),
        metric=metric,
        constant=constant,
        counts=count(study),
        trials=_trials(done),
        points=points,
        hypervolumes=_hypervolumes(done, points, constant, metric),
        facts=facts,
        run_id=attributes.get("run_id"),
        called=dict(attributes.get("called", {})),
    )


def _trials(done: list[FrozenTrial]) -> pd.DataFrame:
    rows = []
    for trial in done:
        values = trial.values or [None, None]
        rows.append(
            {
                "trial": trial.number,
                "experiment": trial.user_attrs.get("experiment", ""),
                "state": "complete" if trial.state == TrialState.COMPLETE else "stopped",
                "error": values[0],
                "inputs_processed": values[1],
                "points": len(trial.user_attrs.get("points", [])),
                "seconds": trial.user_attrs.get("seconds"),
                "init_from": trial.user_attrs.get("init_from") or "",
                "continues": "" if origin_of(trial) == trial.number else str(origin_of(trial)),
                "reason": trial.user_attrs.get("reason", ""),
                **trial.params,
            }
        )
    return pd.DataFrame(rows)


def _points(done: list[FrozenTrial], fixed: Mapping[str, Any], metric: str, constant: float) -> pd.DataFrame:
    rows = []
    for trial in done:
        if trial.state != TrialState.COMPLETE:
            continue
        shape = {key: trial.params.get(key, fixed.get(key)) for key in SHAPE}
        if shape["model"] != "skipw":
            shape["window"] = None
        for budget, threshold, inputs, value in trial.user_attrs.get("points", []):
            rows.append(
                {
                    "trial": trial.number,
                    "experiment": trial.user_attrs["experiment"],
                    **shape,
                    "budget": budget,
                    "threshold": threshold,
                    "inputs_processed": inputs,
                    "value": value,
                    "error": error_of(value, metric),
                }
            )
    table = pd.DataFrame(rows, columns=list(POINT_COLUMNS[:-1]))
    whole = dict.fromkeys(("trial", "hidden_size", "num_layers", "window", "budget"), "Int64")
    real = dict.fromkeys(("cost_per_input", "threshold", "inputs_processed", "value", "error"), "float64")
    table = table.astype(whole | real)
    return table.assign(front=_on_front(table, constant))


def _on_front(points: pd.DataFrame, constant: float) -> np.ndarray:
    """Not dominated, better than the constant predictor, and something is processed."""
    marks = np.zeros(len(points), dtype=bool)
    allowed = (points["budget"] != 0).fillna(True) & (points["inputs_processed"] > 0)
    rows = np.flatnonzero((allowed & (points["error"] < constant)).to_numpy(dtype=bool))
    cost = points["inputs_processed"].to_numpy()[rows]
    marks[rows[non_dominated(cost, -points["error"].to_numpy()[rows])]] = True
    return marks


def _hypervolumes(done: list[FrozenTrial], points: pd.DataFrame, constant: float, metric: str) -> list[float]:
    """After each finished trial. Points enter in the trials' order, so each is looked at once."""
    if constant <= 0:
        return [0.0] * len(done)
    order = {trial.number: place for place, trial in enumerate(done)}
    usable = points[(points["budget"] != 0).fillna(True) & (points["inputs_processed"] > 0)]
    place = usable["trial"].map(order).to_numpy(dtype=int)
    costs, gains = usable["inputs_processed"].to_numpy(), -usable["error"].to_numpy()
    kept = np.zeros((0, 2))
    volumes = []
    for number in range(len(done)):
        new = np.stack([costs[place == number], gains[place == number]], axis=1)
        kept = np.concatenate([kept, new])
        kept = kept[non_dominated(kept[:, 0], kept[:, 1])]
        volumes.append(hypervolume(kept[:, 0], kept[:, 1], (1.0, -constant), (0.0, 0.0)))
    return volumes


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as a journal takes them: nested ones as JSON."""
    return {
        key: json.dumps(value) if isinstance(value, dict | list) else value for key, value in values.items()
    }
