"""The mean of the weights is what a training validates and keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pandas as pd
import pytest
import torch
from torch import Tensor

from skipw.models.saved import load_model
from skipw.params import TrainSettings
from skipw.training import fit
from skipw.training.averaging import Averaging, restart_averages

Settings = Callable[..., TrainSettings]


def trained(settings: TrainSettings, prepared: Path, folder: Path) -> dict[str, Tensor]:
    fit(settings, prepared, folder, scratch=folder.parent / "scratch", progress=False)
    return load_model(folder)[0].state_dict()


def test_the_model_is_the_running_mean_of_the_weights(
    settings: Settings, slopes: Path, tmp_path: Path
) -> None:
    constant = {"schedule": "constant", "cost_per_input": 1e-3}
    after = [
        trained(settings("har", steps=steps, val_every=steps, **constant), slopes, tmp_path / f"after{steps}")
        for steps in (1, 2, 3)
    ]
    chosen = settings("har", steps=3, val_every=3, average=0.75, **constant)
    mean = trained(chosen, slopes, tmp_path / "mean")
    moved = 0
    for name, weight in mean.items():
        one, two, three = (weights[name] for weights in after)
        expected = 0.75 * (0.75 * one + 0.25 * two) + 0.25 * three
        torch.testing.assert_close(weight, expected, rtol=1e-5, atol=1e-7)
        moved += int(not torch.equal(weight, three))
    assert moved > 3
    validated = [
        pd.read_csv(tmp_path / name / "history.csv").val_loss.iloc[-1] for name in ("mean", "after3")
    ]
    assert validated[0] != validated[1], "the validation is the mean's too"


class OneWeight(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))


def test_weights_that_were_taken_back_begin_a_new_mean() -> None:
    module, averaging = OneWeight(), Averaging(0.9)
    averaging.setup(Any, module, "fit")  # type: ignore[arg-type]

    def step(count: int, value: float) -> float:
        module.weight.data.fill_(value)
        averaging.on_train_batch_end(SimpleNamespace(global_step=count), module, None, None, 0)  # type: ignore[arg-type]
        assert averaging._average_model is not None
        return float(averaging._average_model.module.weight.detach())  # type: ignore[union-attr, arg-type]

    assert step(1, 1.0) == 1.0
    assert step(2, 100.0) == pytest.approx(0.9 + 10.0)
    restart_averages([averaging, pl.Callback()])
    assert step(3, 2.0) == 2.0
    assert step(4, 3.0) == pytest.approx(2.1)
