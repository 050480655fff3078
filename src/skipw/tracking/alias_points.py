"""Where an alias runs: one version may hold several aliases, each at an operating point of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["point_of_alias"]


def point_of_alias(alias: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """``budget`` and ``threshold`` of an alias, as far as it has them.

    Args:
        alias: such as ``knee``.
        tags: of the registered model; a model without a budget has an empty one.
    """
    budget, threshold = tags.get(f"{alias}.budget"), tags.get(f"{alias}.threshold")
    found = {"budget": int(budget) if budget else None, "threshold": float(threshold) if threshold else None}
    return {name: value for name, value in found.items() if value is not None}
