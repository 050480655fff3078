"""The whole grid of budgets, with shared prefixes, against one dense pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from skipw.benchmark.records import GridRecord
from skipw.benchmark.speed import dense_inference
from skipw.benchmark.timing import Rounds, interleave, ratios
from skipw.benchmark.workloads import Workload
from skipw.evaluation.shared_prefix import run_points
from skipw.models.architecture import Architecture
from skipw.models.saved import load_model
from skipw.models.skip_window import SkipW
from skipw.models.task import SequenceModel
from skipw.operating_point import OperatingPoint

__all__ = ["measure_grid", "random_model", "trained_model"]

CLASSES = 10
ROWS = 64  # that the share is adjusted on
SPREAD = 1.0  # of the logits between slots and between states


def measure_grid(
    model: SequenceModel, workload: Workload, x: Tensor, inputs: str, backend: str, rounds: Rounds
) -> GridRecord:
    """Evaluate budgets 1 .. L at threshold 0.5; compare time and answers with one run a budget.

    Args:
        model: from ``random_model`` or ``trained_model``.
        workload, x, inputs: Float32[B, T, D], and what it holds in words.
        backend: of the forward passes.
        rounds: how often.
    """
    rnn = model.rnn
    assert isinstance(rnn, SkipW)
    dense = rnn.to_dense()
    points = [OperatingPoint(budget, 0.5) for budget in range(1, rnn.window + 1)]
    lengths = torch.full((len(x),), x.shape[1])
    contestants = {
        "dense": lambda: dense_inference(dense, x),
        "shared": lambda: run_points(model, x, lengths, points, backend=backend),
    }
    seconds = interleave(contestants, rounds)
    single = {"dense": contestants["dense"], "alone": lambda: _one_by_one(model, x, points, backend)}
    alone = interleave(single, Rounds(1, 1), warm_up=0)
    scores, updates = run_points(model, x, lengths, points, backend=backend)
    expected_scores, expected_updates = _one_by_one(model, x, points, backend)
    same = (updates == expected_updates).all(-1)
    return GridRecord(
        workload=workload.name,
        inputs=inputs,
        backend=backend,
        budgets=len(points),
        share=float(updates[-1].float().mean()),
        rounds=len(seconds["dense"]),
        dense_passes=ratios(seconds["shared"], seconds["dense"]),
        one_by_one=alone["alone"][0] / alone["dense"][0],
        same_choices=float(same.float().mean()),
        largest_difference=float((scores - expected_scores)[same].abs().max()) if same.any() else math.inf,
    )


@torch.no_grad()
def random_model(workload: Workload, x: Tensor, share: float, backend: str, *, seed: int) -> SequenceModel:
    """A task model with random weights whose gate, driven by the state, opens about ``share`` of the slots.

    A task model starts all rows alike, so here nothing is held: the logits of a slot vary with the state and the
    time by as much as between slots, and one number is added to all of them, found by halving on a few rows.
    """
    architecture = Architecture(
        "skipw",
        workload.input_size,
        CLASSES,
        "classification",
        cell=workload.cell,
        hidden_size=workload.hidden_size,
        num_layers=workload.num_layers,
        window=workload.window,
    )
    torch.manual_seed(seed)
    model = architecture.build().eval()
    rnn = model.rnn
    assert isinstance(rnn, SkipW)
    slots = SPREAD * torch.randn(workload.window)
    rnn.gate.weight.normal_(0.0, 2 * SPREAD / math.sqrt(workload.hidden_size))
    low, high = -8 * SPREAD, 8 * SPREAD
    nearest = (float("inf"), 0.0)
    for _ in range(10):
        shift = (low + high) / 2
        rnn.gate.bias.copy_(slots + shift)
        got = float(model(x[:ROWS], backend=backend).rnn.inputs_processed.mean())
        nearest = min(nearest, (abs(got - share), shift))
        low, high = (low, shift) if got > share else (shift, high)
    rnn.gate.bias.copy_(slots + nearest[1])
    return model


def trained_model(workload: Workload, folder: Path) -> SequenceModel | None:
    """The model that the pipeline trained, where it has this workload's shape; else None."""
    if not (folder / "model.json").is_file():
        return None
    model, _ = load_model(folder)
    rnn = model.rnn
    wanted = (workload.cell, workload.hidden_size, workload.num_layers, workload.window)
    if isinstance(rnn, SkipW) and (rnn.cell, rnn.hidden_size, rnn.num_layers, rnn.window) == wanted:
        return model
    return None


@torch.inference_mode()
def _one_by_one(
    model: SequenceModel, x: Tensor, points: Sequence[OperatingPoint], backend: str
) -> tuple[Tensor, Tensor]:
    """Scores Float[P, B, C] and updates Bool[P, B, T] of a plain run a point."""
    answers = [model(x, at=point, backend=backend) for point in points]
    return torch.stack([a.scores for a in answers]), torch.stack([a.rnn.updates for a in answers])
