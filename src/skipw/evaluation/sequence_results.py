"""Run a model over a split at one operating point; keep each sequence's cost and how well it was answered."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from skipw.evaluation.progress import Advance, silent
from skipw.operating_point import OperatingPoint, Schedule

__all__ = [
    "SequenceResults",
    "Sequences",
    "inputs_per_window",
    "joined",
    "most_in_window",
    "results_of",
    "run_sequences",
    "tensors",
]

CHOICE_SEED = 0  # of the noise for the selectors that draw


class Sequences(Protocol):
    """A split: inputs [n, T, D] or token ids [n, T], targets [n], lengths [n], all NumPy."""

    @property
    def inputs(self) -> NDArray[Any]: ...
    @property
    def targets(self) -> NDArray[Any]: ...
    @property
    def lengths(self) -> NDArray[np.int64]: ...


@dataclass(frozen=True)
class SequenceResults:
    """What n sequences gave at one operating point.

    Attributes:
        measures: by metric, Float64[n]; the metric is its mean (accuracy: 1 right, 0 wrong; mse: squared
            error).
        task_loss: Float64[n], cross entropy in nats, or half the squared error.
        input_cost: Float64[n], Σ_t u_t.
        inputs_processed: Float64[n], share of the sequence's inputs.
        max_in_window: Int64[n], most inputs processed in any aligned window; in any L consecutive inputs for a model
            whose bound is over those.
        updates: Bool[n, T], or None where they were let go to save memory.
    """

    measures: dict[str, NDArray[np.float64]]
    task_loss: NDArray[np.float64]
    input_cost: NDArray[np.float64]
    inputs_processed: NDArray[np.float64]
    max_in_window: NDArray[np.int64]
    updates: NDArray[np.bool_] | None

    def __len__(self) -> int:
        return len(self.task_loss)

    def without_updates(self) -> SequenceResults:
        """The same numbers; nothing that grows with the sequences' length."""
        return dataclasses.replace(self, updates=None)


def inputs_per_window(updates: Tensor, window: int) -> Tensor:
    """Inputs processed in each aligned window.

    Args:
        updates: Bool[B, T].
        window: L, at least 1; the last window may be shorter.
    Returns:
        Long[B, ceil(T / L)].
    """
    missing = -updates.shape[1] % window
    return F.pad(updates.long(), (0, missing)).unflatten(1, (-1, window)).sum(-1)


def most_in_window(updates: Tensor, window: int, bound: str = "aligned") -> Tensor:
    """The most inputs processed in what a bound is about.

    Args:
        updates: Bool[B, T].
        window: L, at least 1.
        bound: "aligned", windows of L inputs one after the other; "any", all runs of L consecutive inputs.
    Returns:
        Long[B]; 0 for T = 0.
    """
    if updates.shape[1] == 0:
        return updates.new_zeros(len(updates), dtype=torch.long)
    if bound == "aligned":
        return inputs_per_window(updates, window).amax(-1)
    seen = F.pad(updates.long().cumsum(-1), (window, 0))
    return (seen[:, window:] - seen[:, :-window]).amax(-1)


@torch.inference_mode()
def run_sequences(
    model: torch.nn.Module,
    split: Sequences,
    *,
    window: int,
    at: OperatingPoint | Schedule | None = None,
    updates: NDArray[np.bool_] | None = None,
    batch_size: int = 500,
    backend: str = "auto",
    advance: Advance = silent,
) -> SequenceResults:
    """Run ``model`` in evaluation mode.

    Args:
        model: a ``SequenceModel``.
        split: the sequences, in their own order.
        window: L of the count ``max_in_window``.
        at: the operating point; None for models without one.
        updates: Bool[n, T], process exactly those inputs.
        batch_size: sequences at a time.
        backend: as in ``SkipW.forward``.
        advance: told after each batch how many sequences were run.
    Returns:
        one entry a sequence.
    """
    model.eval()
    generator = torch.Generator().manual_seed(CHOICE_SEED)
    bound = getattr(getattr(model, "rnn", None), "bound", "aligned")
    batches: list[SequenceResults] = []
    for start in range(0, len(split.targets), batch_size):
        rows = slice(start, start + batch_size)
        inputs, lengths, targets = tensors(split, rows)
        given: dict[str, Any] = {"lengths": lengths, "backend": backend}
        if updates is None:
            given |= {"at": at, "generator": generator}
        else:
            given["updates"] = torch.from_numpy(updates[rows])
        answer = model(inputs, **given)
        batches.append(results_of(answer.scores, answer.rnn.updates, lengths, targets, window, bound))
        advance(len(targets))
    return joined(batches)


def tensors(split: Sequences, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs Float[B, T, D] or Long[B, T], lengths Long[B] and targets [B] of these rows."""
    inputs = torch.from_numpy(np.array(split.inputs[rows]))
    lengths = torch.from_numpy(np.array(split.lengths[rows], dtype=np.int64))
    targets = torch.from_numpy(np.array(split.targets[rows]))
    return inputs if inputs.is_floating_point() else inputs.long(), lengths, targets


def results_of(
    scores: Tensor, updates: Tensor, lengths: Tensor, targets: Tensor, window: int, bound: str = "aligned"
) -> SequenceResults:
    """What a batch gave.

    Args:
        scores: Float[B, C]; C = 1 for regression.
        updates: Bool[B, T], the inputs that were processed.
        lengths: Long[B].
        targets: Long[B] classes, or Float[B].
        window: L of the count ``max_in_window``.
        bound: what that count is about, "aligned" or "any".
    """
    scores = scores.double()
    if scores.shape[-1] == 1:
        squared = (scores[:, 0] - targets.double()) ** 2
        measures, loss = {"mse": squared, "paper_mse": squared / 2}, squared / 2
    else:
        measures = {"accuracy": (scores.argmax(-1) == targets).double()}
        loss = F.cross_entropy(scores, targets.long(), reduction="none")
    cost = updates.sum(-1).double()
    return SequenceResults(
        measures={name: values.numpy() for name, values in measures.items()},
        task_loss=loss.numpy(),
        input_cost=cost.numpy(),
        inputs_processed=(cost / lengths.clamp(min=1)).numpy(),
        max_in_window=most_in_window(updates, window, bound).numpy(),
        updates=updates.numpy(),
    )


def joined(batches: Sequence[SequenceResults]) -> SequenceResults:
    """The results of batches that follow one another."""

    def concatenated(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(batch, name) for batch in batches])

    kept = all(batch.updates is not None for batch in batches)
    return SequenceResults(
        measures={
            name: np.concatenate([batch.measures[name] for batch in batches]) for name in batches[0].measures
        },
        task_loss=concatenated("task_loss"),
        input_cost=concatenated("input_cost"),
        inputs_processed=concatenated("inputs_processed"),
        max_in_window=concatenated("max_in_window"),
        updates=concatenated("updates") if kept else None,
    )
