"""What a newcomer is told: which model is served, at which points, and how to ask it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skipw.tracking.serving.settings import ServeSettings
from skipw.tracking.serving.source import Source

__all__ = ["Card", "curl_line", "describe", "point_rows"]

EXAMPLE_NUMBERS = 40  # a line that can still be read


@dataclass(frozen=True)
class Card:
    """Attributes: ``facts``, JSON for programs; ``example``, a request's body."""

    facts: Mapping[str, Any]
    example: Mapping[str, Any]

    def text(self, address: str) -> str:
        """The page at ``/``."""
        facts = self.facts
        lines = [
            f"SkipW serves {facts['name']}"
            + (f" ({', '.join(facts['aliases'])})" if facts["aliases"] else ""),
            f"{facts['experiment']}: {facts['model']} on {facts['dataset']} (source {facts['data_source']})",
            "",
            f"sequence    {facts['sequence']}",
            f"prediction  {facts['prediction']}",
            *(f"{name:<11} {meaning}" for name, meaning in facts["params"].items()),
            f"default     {_point_text(facts['default'])}",
            "",
            *_table(point_rows(facts)),
            "",
            "Ask it:",
            "",
            curl_line(address, self.example),
            "",
            "GET /ready  /ping  /health  /version  /metrics; the same as JSON: GET / with Accept: application/json",
        ]
        return "\n".join(lines) + "\n"


def describe(source: Source, predictor: Any, settings: ServeSettings) -> Card:
    """The card of a model that was loaded."""
    description = source.description
    point = predictor.operating_point({})
    default = {"budget": None, "threshold": None}
    if point is not None:
        default = {"budget": point.budget, "threshold": point.threshold}
    if predictor.kind == "skipw" and default["budget"] is None:
        default["budget"] = predictor.model.architecture.window
    params = _params(predictor)
    facts = {
        "name": source.name,
        "uri": source.uri,
        "registered": source.uri.startswith("models:/"),
        "aliases": list(source.aliases),
        "experiment": description.get("experiment", source.name),
        "model": predictor.kind,
        "dataset": description.get("title", description.get("dataset", "unknown data")),
        "data_source": description.get("data_source", "unknown"),
        "sequence": _sequence(predictor),
        "prediction": _prediction(predictor.labels),
        "params": params,
        "default": default,
        "operating_points": list(source.points),
        "limits": {
            "body_bytes": settings.max_body,
            "sequences": settings.max_sequences,
            "inputs": settings.max_inputs,
            "body_timeout_s": settings.body_timeout_s,
        },
    }
    return Card(facts, _example(description, params, default))


def _example(
    description: Mapping[str, Any], params: Mapping[str, str], default: Mapping[str, Any]
) -> dict[str, Any]:
    from skipw.tracking.examples import input_example

    sequence = input_example(description, 1)["sequence"].iloc[0]
    if not isinstance(sequence, str):
        width = len(sequence[0])
        sequence = sequence[: max(2, EXAMPLE_NUMBERS // width)]
        if width == 1:
            sequence = [number for (number,) in sequence]
    body: dict[str, Any] = {"dataframe_records": [{"sequence": sequence}]}
    return body | ({"params": {name: default[name] for name in params}} if params else {})


def curl_line(address: str, example: Mapping[str, Any]) -> str:
    """A command for a shell."""
    body = json.dumps(example).replace("'", "'\\''")
    return f"curl {address}/invocations -H 'Content-Type: application/json' -d '{body}'"


def _params(predictor: Any) -> dict[str, str]:
    window = predictor.model.architecture.window
    if predictor.kind == "skipw":
        budget = f"0 to {window}: most inputs processed in each window of {window}, never exceeded"
        return {"budget": budget, "threshold": "0 to 1: least importance of a processed input"}
    if predictor.kind == "thrrnn":
        return {"threshold": "0 to 1: least importance of a processed input"}
    return {}


def _sequence(predictor: Any) -> str:
    if predictor.is_text:
        return "a text"
    width = predictor.normaliser.input_size
    return "a list of raw numbers" if width == 1 else f"a list of rows of {width} raw numbers"


def _prediction(labels: Any) -> str:
    if labels is None:
        return "a number"
    return "one of " + ", ".join(map(str, labels))


def point_rows(facts: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The operating points as a table of texts, its head first; empty if none is known."""
    points = facts["operating_points"]
    if not points:
        return []
    metric = points[0]["metric"]
    rows: list[tuple[str, ...]] = [("budget", "threshold", f"{metric} (test)", "inputs processed", "alias")]
    for point in points:
        value = f"{point['value']:.1%}" if metric == "accuracy" else f"{point['value']:.3g}"
        share = f"{point['inputs_processed']:.1%}"
        given = [_plain(point["budget"]), _plain(point["threshold"])]
        rows.append((*given, value, share, ", ".join(point["aliases"])))
    return rows


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    if not rows:
        return ["Operating points: no table was found beside the model."]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return [line.rstrip() for line in lines]


def _plain(value: Any) -> str:
    return "-" if value is None else f"{value:g}"


def _point_text(default: Mapping[str, Any]) -> str:
    given = [f"{name} {value:g}" for name, value in default.items() if value is not None]
    return ", ".join(given) or "every input"
