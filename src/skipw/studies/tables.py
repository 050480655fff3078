"""A study's tables as text: what it is, its front, its trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from optuna import Study
from optuna.trial import FrozenTrial

from skipw.evaluation.page import metric_text, share_text, shown
from skipw.studies.display import clock
from skipw.studies.outcome import Outcome
from skipw.studies.plan import error_of
from skipw.studies.wording import (
    SHAPE,
    STATES,
    lineage_of,
    model_text,
    reason_of,
    sampler_text,
    settings_text,
    state_text,
    wanted,
)

__all__ = ["front_cells", "metric_heading", "plan_cells", "summary_cells", "trial_cells"]


def metric_heading(metric: str) -> str:
    """The metric and its unit."""
    return "accuracy (%)" if metric == "accuracy" else "MSE"


def front_cells(outcome: Outcome) -> list[list[str]]:
    """The study's own front on val: a heading, then one row a point by ascending cost."""
    heading = ["trial", "model", "λ", "K", "thr", "inputs (%)", metric_heading(outcome.metric),
               "experiment"]  # fmt: skip
    rows = [heading]
    for point in outcome.front.to_dict("records"):
        rows.append([
            str(point["trial"]), model_text({key: point[key] for key in SHAPE}),
            shown(point["cost_per_input"], ".2g"), shown(point["budget"], "d"), shown(point["threshold"], "g"),
            share_text(point["inputs_processed"]), metric_text(point["value"], outcome.metric),
            str(point["experiment"]),
        ])  # fmt: skip
    return rows


def trial_cells(study: Study, outcome: Outcome) -> list[list[str]]:
    """All trials by number, in whatever state: a heading, then one row a trial."""
    heading = ["trial", "state", "model", "λ", "batch", "rate", metric_heading(outcome.metric), "inputs (%)",
               "points (on the front)", "time", "began with", "why it ended, or what else it drew"]  # fmt: skip
    on_front = Counter(map(int, outcome.front["trial"]))
    fixed = outcome.facts["fixed"]
    rows = [_trial_row(trial, fixed, outcome.metric, on_front) for trial in study.get_trials(deepcopy=False)]
    return [heading, *rows]


def _trial_row(
    trial: FrozenTrial, fixed: Mapping[str, Any], metric: str, on_front: Mapping[int, int]
) -> list[str]:
    params, attributes = trial.params, trial.user_attrs
    value, inputs = "", ""
    if trial.values:
        value, inputs = metric_text(error_of(trial.values[0], metric), metric), share_text(trial.values[1])
    seconds = attributes.get("seconds")
    shape = {key: params.get(key, fixed.get(key)) for key in SHAPE}
    remark = reason_of(trial) or settings_text({key: params[key] for key in EXTRA if key in params})
    return [
        str(trial.number), STATES[trial.state], model_text(shape) if params else "",
        _number(params.get("cost_per_input"), ".2g"), _number(params.get("batch_size"), "d"),
        _number(params.get("learning_rate"), ".2g"), value, inputs,
        _points(len(attributes.get("points", [])), on_front.get(trial.number, 0)),
        "" if seconds is None else clock(seconds), lineage_of(trial), remark,
    ]  # fmt: skip


EXTRA = ("weight_decay", "dropout")


def _points(points: int, on_front: int) -> str:
    return f"{points} ({on_front})" if on_front else str(points or "")


def _number(value: Any, form: str) -> str:
    return "" if value is None else format(value, form)


def summary_cells(study: Study, outcome: Outcome) -> list[list[str]]:
    """How far the study is: name and value a row."""
    metric = outcome.metric
    level = metric_text(error_of(outcome.constant, metric), metric)
    return [
        ["study", outcome.name],
        ["trials", state_text(outcome, wanted(study))],
        ["front", f"{len(outcome.front)} of {len(outcome.points)} operating points"],
        ["hypervolume", f"{outcome.hypervolume:.4f}"],
        ["constant predictor", f"{level} %" if metric == "accuracy" else f"MSE {level}"],
    ]


def plan_cells(study: Study, outcome: Outcome) -> list[list[str]]:
    """What is searched and how: name and value a row."""
    facts = outcome.facts
    search, space = facts["search"], facts["space"]
    judged = "all sequences" if search["val_limit"] is None else f"{search['val_limit']} sequences"
    passes = f"{search['epochs']:g} pass{'' if search['epochs'] == 1 else 'es'} over the data"
    rows = [
        ["sampler", f"{sampler_text(study)}, seed {search['seed']}"],
        ["a trial", f"{passes}, {search['validations']} validations on {judged}"],
        ["space", str(search["space"])],
    ]
    rows += [[name, _range(distribution)] for name, distribution in space.items()]
    fixed = {key: value for key, value in facts["fixed"].items() if key not in space}
    rows.append(["fixed by the recipe", ", ".join(f"{key} {value}" for key, value in fixed.items())])
    options = {
        "warm_start": "a trial may begin with the model of another",
        "from_recipe": "the recipes' values are tried first",
        "stop_early": "hopeless trials are stopped",
    }
    rows.append(["extras", "; ".join(text for key, text in options.items() if search[key]) or "none"])
    return [row for row in rows if row[1]]


def _range(entry: Mapping[str, Any]) -> str:
    """A distribution, as Optuna writes it to JSON, in words."""
    attributes = entry["attributes"]
    if "choices" in attributes:
        return ", ".join(map(str, attributes["choices"]))
    text = f"{attributes['low']:g} to {attributes['high']:g}"
    if attributes.get("log"):
        return f"{text}, logarithmic"
    step = attributes.get("step")
    return text if step in (None, 1) else f"{text} in steps of {step:g}"
