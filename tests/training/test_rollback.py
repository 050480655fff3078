"""Gates that a price has shut are taken back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from skipw.params import TrainSettings
from skipw.training import fit
from skipw.training.lightning_module import DivergedError


def test_shut_gates_go_back_to_the_validation_before(
    settings: Callable[..., TrainSettings], slopes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # First free inputs, then a price that closes every gate.
    common = {"steps": 500, "val_every": 25, "cost_per_input": 1.0, "checkpoint_from": 0.99}
    common |= {
        "cost_schedule": [(0.0, 0.0), (0.4, 0.0), (0.4, 1.0)],
        "schedule": "constant",
        "learning_rate": 3e-2,
    }
    with caplog.at_level(logging.WARNING, logger="skipw.training.rollback"):
        for limit in (0, 8):
            chosen = settings("har", rollbacks=limit, **common)
            fit(chosen, slopes, tmp_path / str(limit), scratch=tmp_path / "scratch", progress=False)
    shut, saved = (pd.read_csv(tmp_path / str(limit) / "history.csv") for limit in (0, 8))
    assert shut.val_inputs_processed.iloc[-1] < 0.2
    assert shut.val_loss.iloc[-1] > 2 * shut.val_loss.min()
    assert saved.val_inputs_processed.iloc[-1] > 0.2
    assert saved.val_loss.iloc[-1] < 2 * saved.val_loss.min()
    times = sum("the gates have shut" in record.message for record in caplog.records)
    assert 1 <= times <= 8
    assert saved.cost_per_input.iloc[-1] == pytest.approx(0.5**times)


def test_gates_that_shut_before_the_first_validation_go_back_to_the_start(
    settings: Callable[..., TrainSettings], slopes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    common = {"schedule": "constant", "learning_rate": 3e-2}
    donor = settings("har", steps=300, val_every=100, cost_per_input=1e-3, target_inputs=0.4, **common)
    fit(donor, slopes, tmp_path / "donor", scratch=tmp_path / "scratch", progress=False)
    start = pd.read_csv(tmp_path / "donor" / "history.csv").iloc[-1]
    assert 0.2 < start.val_inputs_processed < 0.7
    common |= {"steps": 200, "val_every": 100, "cost_per_input": 30.0, "checkpoint_from": 0.99}
    with caplog.at_level(logging.WARNING, logger="skipw.training.rollback"):
        for limit in (0, 1):
            fit(
                settings("har", rollbacks=limit, **common),
                slopes,
                tmp_path / str(limit),
                init_from=tmp_path / "donor",
                scratch=tmp_path / "scratch",
                progress=False,
            )
    left, saved = (pd.read_csv(tmp_path / str(limit) / "history.csv") for limit in (0, 1))
    assert left.val_inputs_processed.iloc[0] < 0.6 * start.val_inputs_processed, "nothing shut"
    assert len(left) == len(saved) == 2, "the look before the first step is no row"
    said = [record.message for record in caplog.records if "the gates have shut" in record.message]
    assert len(said) == 1 and f"{100 * start.val_inputs_processed:.1f} %" in said[0]
    assert saved.cost_per_input.tolist() == pytest.approx([30.0, 15.0])


def test_a_gradient_without_bound_goes_back_too(
    settings: Callable[..., TrainSettings],
    slopes: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured, calls = torch.nn.utils.clip_grad_norm_, []

    def clip(*args: Any, **options: Any) -> torch.Tensor:
        calls.append(None)
        return torch.tensor(float("inf")) if len(calls) == 60 else measured(*args, **options)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", clip)
    common = {"steps": 100, "val_every": 25, "cost_per_input": 1e-3}
    with pytest.raises(DivergedError, match="norm is inf at step 59"):
        fit(settings("har", **common), slopes, tmp_path / "0", scratch=tmp_path / "scratch", progress=False)
    calls.clear()
    with caplog.at_level(logging.WARNING, logger="skipw.training.rollback"):
        fit(
            settings("har", rollbacks=1, **common),
            slopes,
            tmp_path / "1",
            scratch=tmp_path / "other",
            progress=False,
        )
    history = pd.read_csv(tmp_path / "1" / "history.csv")
    assert len(calls) == 100 and len(history) == 4
    assert ["norm is inf; going on" in record.message for record in caplog.records] == [True]
    assert history.cost_per_input.tolist() == pytest.approx([1e-3, 1e-3, 5e-4, 5e-4])
    assert history.val_loss.iloc[-1] < history.val_loss.iloc[0]
