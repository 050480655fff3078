from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from skipw.data.prepared import load_split
from skipw.models.saved import load_model
from skipw.params import TrainSettings
from skipw.training import fit
from skipw.training.gate_margin import gate_margin_at, indecision

Settings = Callable[..., TrainSettings]


def test_indecision_is_the_distance_to_the_margins_and_pushes_away_from_the_threshold() -> None:
    importance = torch.tensor([[0.0, 0.3, 0.45], [0.5, 0.6, 0.9]], requires_grad=True)
    value = indecision(importance, 0.25)
    assert value.tolist() == pytest.approx([0.05 + 0.2, 0.25 + 0.15])
    value.sum().backward()
    assert importance.grad is not None
    assert importance.grad.tolist() == [[0.0, 1.0, 1.0], [-1.0, -1.0, 0.0]]


def test_it_begins_after_its_share_of_the_training(settings: Settings) -> None:
    chosen = settings("adding", steps=10, gate_margin=0.5, gate_margin_from=0.3)
    assert [gate_margin_at(step, chosen) for step in range(5)] == [0.0, 0.0, 0.0, 0.5, 0.5]


def test_a_training_with_it_leaves_no_importance_near_the_threshold(
    settings: Settings, adding: Path, tmp_path: Path
) -> None:
    near = {}
    for price in (0.0, 1.0):
        chosen = settings(
            "adding",
            steps=60,
            val_every=60,
            gate_bias=0.0,
            gate_margin=price,
            gate_margin_from=0.1,
        )
        out = tmp_path / str(price)
        fit(chosen, adding, out, scratch=tmp_path / "scratch", progress=False)
        model, _ = load_model(out)
        with torch.no_grad():
            importance = model(torch.tensor(load_split(adding, "val").inputs)).rnn.importance
        near[price] = float(((importance - 0.5).abs() < 0.15).float().mean())
    assert near[0.0] > 0.3
    assert near[1.0] == 0.0
