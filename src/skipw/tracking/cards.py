"""The texts that a person reads on the pages of a registered model and of its versions (markdown)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from skipw.evaluation.source_notes import announcement
from skipw.tracking.front_models import Point, TrainedModel

__all__ = ["experiment_card", "model_card", "point_text", "version_card"]


def point_text(point: Point) -> str:
    """``budget 3, threshold 0.5``; what a model without gates does instead."""
    if point.rate is not None:
        return f"a share of {point.rate:g} of the inputs"
    parts = [] if point.budget is None else [f"budget {point.budget}"]
    parts += [] if point.threshold is None else [f"threshold {point.threshold:g}"]
    return ", ".join(parts) or "every input"


def _value(metric: str, value: float) -> str:
    return f"{100 * value:.2f} %" if metric == "accuracy" else f"{value:.3g}"


def _source(description: Mapping[str, Any]) -> list[str]:
    source = str(description["data_source"])
    note = announcement(source)
    return [f"Data: **{description['title']}** (source `{source}`)."] + ([f"**{note}**"] if note else [])


def experiment_card(description: Mapping[str, Any], searched: bool = False) -> str:
    """For the page of the runs; ``searched``: a search's trials are among them."""
    trials = (
        "A search is a run too, its trials are runs inside it: search for `tags.experiment LIKE '%-trial-%'`."
    )
    lines = [
        f"Trainings on {description['title']}, one run each.",
        *_source(description),
        *([trials] if searched else []),
        "Pareto-optimal models: search for `tags.pareto = 'true'`. Each of their runs holds `front.html`, "
        "the page of all operating points.",
    ]
    return "\n\n".join(lines)


def model_card(name: str, models: Sequence[TrainedModel], versions: Mapping[str, str]) -> str:
    """For the page of a registered model.

    Args:
        name: of the registered model.
        models: those on the front.
        versions: version by experiment.
    """
    holders = [(alias, model, point) for model in models for point in model.front for alias in point.aliases]
    metric = models[0].metric
    lines = [
        f"Models on the Pareto front of {models[0].description['title']}: no other has both a better "
        f"{metric} and fewer inputs processed (chosen on validation data, numbers below are from test data).",
        *_source(models[0].description),
        _table(
            ("alias", "version", "model", "operating point", metric, "inputs processed"),
            (
                (
                    f"`{alias}`", versions.get(model.experiment, ""), _named(model), point_text(point),
                    _value(metric, point.test), f"{100 * point.test_inputs:.1f} %",
                )
                for alias, model, point in sorted(holders, key=lambda holder: -holder[2].val_inputs)
            ),
        ),
        "Every version serves every operating point of its model: pass `budget` (most inputs processed in "
        "each window, a strict limit) and `threshold` as params. Left out, the version's most accurate point "
        "on the front is used. An alias' own point stands in the tags `<alias>.budget` and "
        "`<alias>.threshold` of this model.",
        f'```python\nmodel = mlflow.pyfunc.load_model("models:/{name}@knee")\n'
        'model.predict(pandas.DataFrame({"sequence": [rows]}), params={"budget": 3})\n```',
    ]  # fmt: skip
    return "\n\n".join(lines)


def _named(model: TrainedModel) -> str:
    """The experiment; a trial's number says little, so its settings follow."""
    return model.experiment if model.trial is None else f"{model.experiment} ({model.settings})"


def version_card(model: TrainedModel) -> str:
    """For the page of one version."""
    architecture = model.description["architecture"]
    window = f", window {architecture['window']}" if architecture.get("window") else ""
    cost = model.description.get("cost_per_input")
    lines = [
        f"**{model.experiment}**: {model.kind}, {architecture['num_layers']} × "
        f"{architecture['cell'].upper()} of {architecture['hidden_size']}{window}, cost per input {cost:.4g}.",
        *_search(model),
        *_source(model.description),
        f"Its points on the front (test data). Without params it runs the most accurate of them: "
        f"{point_text(model.best)}.",
        _table(
            ("operating point", model.metric, "inputs processed", "alias"),
            (
                (
                    point_text(p),
                    _value(model.metric, p.test),
                    f"{100 * p.test_inputs:.1f} %",
                    ", ".join(p.aliases),
                )
                for p in model.front
            ),
        ),
        _usage(model),
    ]
    return "\n\n".join(lines)


def _search(model: TrainedModel) -> list[str]:
    """Where a trial comes from."""
    if model.trial is None:
        return []
    started = model.description.get("init_from")
    return [
        f"Trial {model.trial} of a search; the run of this version holds its settings and its curves."
        + (f" It started from the weights of {started}." if started else "")
    ]


def _usage(model: TrainedModel) -> str:
    text = "a text" if model.description.get("vocabulary") else "rows of raw numbers, one an input"
    if model.kind == "skipw":
        window = model.description["architecture"]["window"]
        params = f"`budget` 0 to {window} (inputs in each window of {window}) and `threshold` 0 to 1"
    else:
        params = "`threshold` 0 to 1, no budget" if model.kind == "thrrnn" else "none"
    return (
        f"Input: column `sequence`, {text}; lengths may differ. Params: {params}. Output: `prediction`, "
        "`scores`, `inputs_processed` (fraction of the inputs processed). All points: `operating_points.csv`."
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table; MLflow's pages leave no room between columns, so each cell ends in a wide space."""
    lines = [[f"{cell}&emsp;" for cell in head], ["---" for _ in head]]
    lines += [[f"{cell}&emsp;" for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
