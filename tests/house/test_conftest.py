"""The test bench itself."""

from __future__ import annotations

import random

import torch

DRAWN: list[float] = []


def test_fresh_memory_is_poisoned() -> None:
    like = torch.zeros(3)
    for fresh in (
        torch.empty(2, 3),
        torch.empty_like(like),
        like.new_empty(4),
        torch.empty(2, dtype=torch.float64),
    ):
        assert fresh.isnan().all()
    assert torch.empty(3, dtype=torch.int64).shape == (3,)
    assert torch.empty(3, requires_grad=True).requires_grad
    assert torch.nn.Linear(2, 2).weight.isfinite().all()


def test_seeds_are_fixed_first() -> None:
    DRAWN.append(random.random() + torch.rand(()).item())
    assert DRAWN[0] == DRAWN[-1]


def test_seeds_are_fixed_again() -> None:
    DRAWN.append(random.random() + torch.rand(()).item())
    assert DRAWN[0] == DRAWN[-1]
