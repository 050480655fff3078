"""The analyses by name, with their titles, in the order of the report."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skipw.reproduction.work import Findings, Work

__all__ = ["ANALYSES", "analyse"]

#: The title of each; its module has the same name.
ANALYSES = {
    "trained": "What was trained",
    "tradeoff": "Accuracy and inputs processed",
    "bound": "The bound at work",
    "patterns": "Which inputs are processed",
    "parts": "Adding Task: parts of the sequence and missed markers",
    "ablations": "Ablations: the index t and the threshold",
    "selectors": "Other ways to select inputs (Appendix H)",
    "switching": "Changing the operating point in mid-sequence",
    "convergence": "Convergence",
    "table2": "Sequential MNIST beside the literature (Table 2)",
    "costs": "Floating-point operations",
    "seeds": "Several seeds",
    "anytime": "One model for the whole front",
}


def analyse(name: str, work: Work, folder: Path) -> Mapping[str, Sequence[Any]]:
    """Run one analysis into an empty folder; returns the content of its findings.json."""
    module = importlib.import_module(f"skipw.reproduction.{name}")
    findings = Findings(folder, name)
    module.run(work, findings)
    return findings.write()
