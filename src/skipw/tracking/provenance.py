"""Whose models a front is made of: trained here at some scale, or shipped with the code.

Fronts of different provenance lie side by side in one journal, each with runs and versions of its own; only the three
aliases are common to them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Provenance", "front_tag", "is_shipped"]

SHIPPED_TAG = "shipped"


@dataclass(frozen=True)
class Provenance:
    """What the runs and versions of one front have in common.

    Attributes:
        scale: laptop, paper or tiny.
        shipped: whether they came with the code.
    """

    scale: str
    shipped: bool = False

    @property
    def tags(self) -> dict[str, str]:
        """As MLflow shows it."""
        return {"scale": self.scale, **({SHIPPED_TAG: "true"} if self.shipped else {})}

    def holds(self, tags: Mapping[str, str]) -> bool:
        """Whether a run or version with these tags is of this provenance."""
        return tags.get("scale") == self.scale and self.same_origin(tags)

    def same_origin(self, tags: Mapping[str, str]) -> bool:
        """The same but for the scale, which a run gets last."""
        return is_shipped(tags) == self.shipped


def is_shipped(tags: Mapping[str, str]) -> bool:
    """Whether a run or version came with the code."""
    return tags.get(SHIPPED_TAG) == "true"


def front_tag(front: Path) -> dict[str, str]:
    """The tag that tells the runs of this front.csv from those of any other; none where there is no file."""
    if not front.is_file():
        return {}
    return {"front_csv": hashlib.sha256(front.read_bytes()).hexdigest()[:16]}
