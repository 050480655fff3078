from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from skipw.params import TrainSettings
from skipw.training.data_module import PreparedDataModule, TrainBatches


def batches(**changes: int) -> list[list[int]]:
    values = {"seed": 0, "steps": 100, "count": 100, "first": 0, **changes}
    first = values.pop("first")
    return [rows.tolist() for rows in TrainBatches(10, 3, next_step=lambda: first, **values)]


def test_a_pass_shows_every_row_once_but_the_incomplete_batch() -> None:
    first_pass, second_pass = batches(count=6)[:3], batches(count=6)[3:]
    assert len({row for rows in first_pass for row in rows}) == 9
    assert first_pass != second_pass


def test_batches_depend_on_seed_and_step_alone() -> None:
    assert batches(count=20)[7:] == batches(count=13, first=7)
    assert batches(count=3) != batches(count=3, seed=1)
    assert len(batches(steps=5)) == 5
    assert len(batches(steps=5, first=4)) == 1


def test_a_set_smaller_than_a_batch_is_one_batch() -> None:
    sampler = TrainBatches(2, 64, seed=0, steps=3, count=3, next_step=lambda: 0)
    assert [sorted(rows.tolist()) for rows in sampler] == [[0, 1]] * 3


def test_validation_keeps_the_last_batch_and_trims_to_the_longest(
    settings: Callable[..., TrainSettings], slopes: Path
) -> None:
    module = PreparedDataModule(slopes, settings("har"))
    parts = list(module.val_dataloader())
    assert [len(part.targets) for part in parts] == [16, 16, 1]
    assert parts[2].inputs.shape[1] == int(parts[2].lengths[0])
    assert torch.equal(torch.cat([part.rows for part in parts]), torch.arange(33))
    assert all(part.inputs.dtype == torch.float32 for part in parts)
