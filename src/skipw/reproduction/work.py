"""What every analysis reads (experiments, their points, models, test sequences) and what it leaves (findings)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from skipw.data.atomic import write_json
from skipw.data.prepared import load_meta, load_split
from skipw.evaluation.table import write_table
from skipw.reproduction.experiments import Experiment, find_experiments
from skipw.reproduction.points import points_of
from skipw.settings import DATASETS

if TYPE_CHECKING:
    from skipw.evaluation.sequence_results import Sequences
    from skipw.models.task import SequenceModel

__all__ = ["REMEDY", "RESULT_FILE", "Findings", "Work"]

RESULT_FILE = "findings.json"
#: What to do where no model was evaluated.
REMEDY = (
    "train and evaluate the paper's experiments first: `make paper`, or with the models that came with the code "
    "`SKIPW_PRETRAINED=pretrained make paper TO=results`"
)


class Work:
    """The outputs of the stages before, read when they are asked for.

    Args:
        data: the root of all outputs.
        sequences: test sequences that analyses run models on, drawn once; None is all.
        batch_size, backend: as in ``run_sequences``.
    """

    def __init__(
        self, data: Path, *, sequences: int | None = 10_000, batch_size: int = 500, backend: str = "auto"
    ) -> None:
        self.data, self.sequences = data, sequences
        self.options: dict[str, Any] = {"batch_size": batch_size, "backend": backend}
        self._read: dict[str, Any] = {}

    @cached_property
    def datasets(self) -> list[str]:
        """Those that have a prepared folder and at least one evaluated model."""
        return [
            name
            for name in DATASETS
            if (self.data / "prepared" / name / "meta.json").exists() and self.experiments(name)
        ]

    def experiments(self, dataset: str, *models: str) -> list[Experiment]:
        """The experiments of a data set, of these kinds of model (all by default)."""
        found = self._once(f"experiments {dataset}", lambda: find_experiments(dataset, self.data))
        return [one for one in found if not models or one.model in models]

    def meta(self, dataset: str) -> dict[str, Any]:
        """meta.json of the prepared data set."""
        return self._once(f"meta {dataset}", lambda: load_meta(self.data / "prepared" / dataset))

    def title(self, dataset: str) -> str:
        """The data source's own name."""
        return str(self.meta(dataset)["title"])

    def points(self, dataset: str) -> pd.DataFrame:
        """All operating points of a data set, as ``points_of`` gives them."""
        return self._once(f"points {dataset}", lambda: points_of(self.experiments(dataset)))

    def table(self, experiment: Experiment, name: str) -> pd.DataFrame | None:
        """A table of the evaluate stage, such as patterns; None where there is none."""
        path = experiment.place.grid_folder / f"{name}.csv"
        return pd.read_csv(path) if path.exists() else None

    def history(self, experiment: Experiment) -> pd.DataFrame | None:
        """history.csv of the training."""
        path = experiment.place.model_folder / "history.csv"
        return pd.read_csv(path) if path.exists() else None

    def model(self, experiment: Experiment) -> SequenceModel:
        """The trained model, in evaluation mode; a fresh one at each call."""
        from skipw.models.saved import load_model

        return load_model(experiment.place.model_folder)[0]

    def test(self, dataset: str, limit: int | None = None) -> Sequences:
        """The test split, or as much of it as analyses run models on.

        Args:
            dataset: its name.
            limit: a smaller number of sequences than ``sequences``.
        """
        from skipw.evaluation.subsampling import some_sequences

        sizes = [size for size in (self.sequences, limit) if size is not None]
        split = load_split(self.data / "prepared" / dataset, "test")
        return some_sequences(split, min(sizes) if sizes else None)

    def _once(self, key: str, make: Any) -> Any:
        if key not in self._read:
            self._read[key] = make()
        return self._read[key]


class Findings:
    """Collects what an analysis found; ``write`` puts findings.json beside its tables and figures.

    Args:
        folder: an empty folder.
        name: of the analysis.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self._tables: list[dict[str, str]] = []
        self._figures: list[dict[str, str]] = []
        self._missing: list[str] = []
        self._notes: list[str] = []

    def table(self, name: str, table: pd.DataFrame, caption: str) -> None:
        """Write a table as ``name``.csv; one without rows is only noted by its absence."""
        if table.empty:
            return
        write_table(table, self.folder / f"{name}.csv")
        self._tables.append({"name": name, "caption": caption})

    def figure(self, name: str, figure: Any, caption: str, form: str = "svg") -> None:
        """Save a figure as ``name``.svg, or .png where it has very many marks."""
        from skipw.reproduction.drawing import save

        save(figure, self.folder / f"{name}.{form}")
        self._figures.append({"file": f"{name}.{form}", "caption": caption})

    def missing(self, what: str) -> None:
        """Something that was not run, so that the report can say so."""
        if what not in self._missing:
            self._missing.append(what)

    def note(self, text: str) -> None:
        """A sentence for the report."""
        self._notes.append(text)

    def write(self) -> Mapping[str, Sequence[Any]]:
        """Write findings.json and return its content."""
        content = {
            "analysis": self.name,
            "tables": self._tables,
            "figures": self._figures,
            "notes": self._notes,
            "missing": self._missing,
        }
        write_json(self.folder / RESULT_FILE, content)
        return content
