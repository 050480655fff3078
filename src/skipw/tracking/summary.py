"""registry.json: what was registered, from the files alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skipw.tracking.cards import point_text
from skipw.tracking.front_models import ALIASES, TrainedModel

__all__ = ["registry_summary"]


def registry_summary(name: str, models: Sequence[TrainedModel]) -> dict[str, Any]:
    """Content of registry.json, without version numbers: those depend on how often something was registered."""
    versions = []
    aliases: dict[str, dict[str, Any]] = {}
    for model in models:
        best = model.best
        holds = [alias for point in model.front for alias in point.aliases]
        versions.append(
            {
                "experiment": model.experiment,
                "model": model.kind,
                "checkpoint_sha256": model.sha256,
                "front_points": len(model.front),
                "aliases": holds,
                "budget": best.budget,
                "threshold": best.threshold,
                "inputs_processed": best.test_inputs,
                model.metric: best.test,
            }
        )
        for point in model.front:
            for alias in point.aliases:
                aliases[alias] = {
                    "experiment": model.experiment,
                    "uri": f"models:/{name}@{alias}",
                    "operating_point": point_text(point),
                    "budget": point.budget,
                    "threshold": point.threshold,
                    "rate": point.rate,
                    "inputs_processed": point.test_inputs,
                    model.metric: point.test,
                }
    source = str(models[0].description["data_source"]) if models else None
    ordered = {alias: aliases[alias] for alias in ALIASES if alias in aliases}
    return {"registered_model": name, "data_source": source, "versions": versions, "aliases": ordered}
