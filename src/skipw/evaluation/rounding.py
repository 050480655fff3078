"""A model that was written anew against the one that was trained: the same answers, or how many others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from skipw.data.prepared import load_split
from skipw.evaluation.evaluated import Evaluated
from skipw.evaluation.table import POINT_COLUMNS, read_grid
from skipw.evaluation.terms import ShippingError
from skipw.params import Evaluate

if TYPE_CHECKING:
    import torch

__all__ = ["Agreement", "compare_answers", "evaluate_again", "largest_change"]

SEQUENCES = 500
DEFAULT_WINDOW = 10  # that inputs are counted in, as in the evaluate stage
MOST_CHANGED = 0.1  # share of the answers that rounded vectors may change; far below what other vectors give


@dataclass(frozen=True)
class Agreement:
    """How two models answer the same sequences.

    Attributes:
        sequences: how many.
        changed: of these with another class (regression: with another number).
        largest: difference of any two scores.
    """

    sequences: int
    changed: int
    largest: float

    def __str__(self) -> str:
        return (
            f"{self.changed} of {self.sequences} answers differ, scores by at most {self.largest:.2g}, "
            "from the trained model's"
        )

    def require(self, name: str, *, rounded: bool) -> None:
        """Raise unless the two are the same, or nearly so where vectors were rounded.

        Raises:
            ShippingError: otherwise.
        """
        allowed = MOST_CHANGED * self.sequences if rounded else 0
        if self.changed > allowed or (not rounded and self.largest > 0):
            raise ShippingError(f"{name} was written, but {self}; nothing was shipped.")


def compare_answers(trained: Path, written: Path, prepared: Path) -> Agreement:
    """Run both models over the first val sequences, every input open to them.

    Args:
        trained: folder of the one.
        written: folder of the other.
        prepared: data/prepared/<dataset>.
    """
    from skipw.models.saved import load_model

    split = load_split(prepared, "val", SEQUENCES)
    scores = [_scores(load_model(folder)[0], split.inputs, split.lengths) for folder in (trained, written)]
    largest = float((scores[0] - scores[1]).abs().max())
    answers = [table.argmax(dim=1) if table.shape[1] > 1 else table[:, 0] for table in scores]
    return Agreement(len(split), int((answers[0] != answers[1]).sum()), largest)


def _scores(model: torch.nn.Module, inputs: object, lengths: object) -> torch.Tensor:
    import numpy as np
    import torch

    with torch.inference_mode():
        batch = torch.from_numpy(np.array(inputs))
        answer = model(batch, lengths=torch.from_numpy(np.array(lengths)), backend="auto")
    return torch.as_tensor(answer.scores)


def evaluate_again(one: Evaluated, folder: Path, prepared: Path, how: Evaluate) -> pd.DataFrame:
    """grid.csv of a model in another folder.

    Args:
        one: the experiment, whose grid says of which kind it is.
        folder: of the model to evaluate.
        prepared: data/prepared/<dataset>.
        how: the section ``evaluate`` of params.yaml.
    """
    import torch

    from skipw.evaluation.experiment import evaluate_experiment
    from skipw.models.saved import load_model

    torch.set_num_threads(how.num_threads)
    torch.set_flush_denormal(True)
    model, description = load_model(folder)
    settings = description.get("settings") or {}
    return evaluate_experiment(
        model, description, prepared, how,
        experiment=one.experiment, kind=str(read_grid(one.grid)["model"].iloc[0]),
        count_window=int(settings.get("window") or DEFAULT_WINDOW),
    )["grid"]  # fmt: skip


def largest_change(before: Path, after: Path) -> tuple[str, float]:
    """The metric's name, and by how much it differs at most, over all points on test."""
    tables = [read_grid(path) for path in (before, after)]
    tests = [table[table["split"] == "test"] for table in tables]
    both = tests[0].merge(tests[1], on=[*POINT_COLUMNS, "metric"], suffixes=("", "_after"))
    return str(both["metric"].iloc[0]), float((both["value"] - both["value_after"]).abs().max())
