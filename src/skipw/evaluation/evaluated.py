"""The evaluated experiments of a data set: where the model and the grid of each lie, and which a search tried.

The experiments of params.yaml have their model in ``data/models/<ds>/<exp>`` and their grid in
``data/evaluation/<ds>/<exp>``. A search leaves both in one folder, ``data/studies/<ds>/trials/<ds>-trial-<n>``,
of each trial on its own front.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from skipw.errors import DataFormatError

__all__ = ["HISTORY_FILE", "Evaluated", "describe_settings", "evaluated", "trial_number"]

GRID_FILE = "grid.csv"
HISTORY_FILE = "history.csv"
TRIAL = re.compile(r".+-trial-(\d+)")
KINDS = {"skipw": "SkipW", "thrrnn": "ThrRNN", "skiprnn": "SkipRNN", "dense": "Dense"}


@dataclass(frozen=True)
class Evaluated:
    """One experiment.

    Attributes:
        experiment: its name.
        model_folder: of model.safetensors, model.json and history.csv.
        grid_folder: of grid.csv and the evaluation's other tables.
    """

    experiment: str
    model_folder: Path
    grid_folder: Path

    @property
    def grid(self) -> Path:
        """grid.csv."""
        return self.grid_folder / GRID_FILE

    @property
    def tables(self) -> list[Path]:
        """grid.csv and the evaluation's other tables, by name."""
        return [path for path in sorted(self.grid_folder.glob("*.csv")) if path.name != HISTORY_FILE]

    @property
    def owns_model(self) -> bool:
        """False where the model of another experiment was evaluated."""
        return self.model_folder.name == self.experiment


def evaluated(dataset: str, data: Path) -> list[Evaluated]:
    """Every experiment of a data set that has a grid, by name, those of params.yaml first. Reads no file.

    Args:
        dataset: har, mnist, ...
        data: the root of all outputs; it need not hold a study.
    Raises:
        DataFormatError: if a trial of the search has the name of an experiment.
    """
    models = data / "models" / dataset
    named = [
        Evaluated(folder.name, _model_folder(models, folder.name), folder)
        for folder in _grid_folders(data / "evaluation" / dataset)
    ]
    tried = [
        Evaluated(folder.name, folder, folder)
        for folder in _grid_folders(data / "studies" / dataset / "trials")
    ]
    if twice := {one.experiment for one in named} & {one.experiment for one in tried}:
        raise DataFormatError(
            f"{', '.join(sorted(twice))} is the name of an experiment in params.yaml and of a trial of the search; "
            "rename the experiment."
        )
    return named + tried


def _grid_folders(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob(f"*/{GRID_FILE}"))


def _model_folder(models: Path, experiment: str) -> Path:
    """Its own, but periodic evaluates the model of random."""
    folder = models / experiment
    if not folder.exists() and experiment.endswith("-periodic"):
        return models / f"{experiment.removesuffix('-periodic')}-random"
    return folder


def trial_number(experiment: str) -> int | None:
    """The number of a search's trial, 7 of har-trial-007; None for any other experiment."""
    found = TRIAL.fullmatch(experiment)
    return int(found[1]) if found else None


def describe_settings(facts: Mapping[str, Any] | pd.Series) -> str:
    """What a trial tried, for people: ``SkipW 2 × GRU 60, L 8, λ 5e-3``.

    Args:
        facts: model, cell, num_layers, hidden_size, window, cost_per_input and select, as in grid.csv; what a
            model lacks is None or NaN.
    """
    layers = "" if facts["num_layers"] == 1 else f"{facts['num_layers']} × "
    kind = KINDS.get(str(facts["model"]), str(facts["model"]))
    parts = [f"{kind} {layers}{str(facts['cell']).upper()} {facts['hidden_size']}"]
    if not pd.isna(facts["window"]):
        parts.append(f"L {int(facts['window'])}")
    parts.append(f"λ {_short(float(facts['cost_per_input']))}")
    select = facts.get("select")
    if isinstance(select, str) and select not in ("", "topk"):
        parts.append(select)
    return ", ".join(parts)


def _short(value: float) -> str:
    """Two digits; small numbers as 1.2e-3."""
    if value == 0 or not math.isfinite(value) or abs(value) >= 0.01:
        return f"{value:.2g}"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{float(digits):g}e{int(exponent)}"
