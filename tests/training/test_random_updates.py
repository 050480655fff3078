"""A pass on random updates beside that of the gates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from skipw.data.prepared import load_split
from skipw.models.saved import load_model
from skipw.params import TrainSettings
from skipw.training import fit

Settings = Callable[..., TrainSettings]


@pytest.mark.parametrize("model", ["skipw", "thrrnn", "skiprnn"])
def test_cells_learn_what_gates_leave_out(
    model: str, settings: Settings, slopes: Path, tmp_path: Path
) -> None:
    """A price that no input is worth shuts the gates; the cells know the task all the same, from the pass beside."""
    split = load_split(slopes, "val")
    x, targets, lengths = (
        torch.from_numpy(np.array(one)) for one in (split.inputs, split.targets, split.lengths)
    )
    right = {}
    for share in (0.0, 0.5):
        chosen = settings(
            "har",
            model=model,
            steps=200,
            val_every=200,
            hidden_size=12,
            cost_per_input=5.0,
            random_updates=share,
        )
        out = tmp_path / f"{share}"
        best = fit(chosen, slopes, out, scratch=tmp_path, progress=False)
        assert best["val_inputs_processed"] < 0.25
        trained, _ = load_model(out)
        everything = torch.ones(x.shape[:2], dtype=torch.bool)
        scores = trained(x, lengths=lengths, updates=everything).scores
        right[share] = float((scores.argmax(-1) == targets).float().mean())
    assert right[0.5] > 0.95 > right[0.0] + 0.2, right
