"""Run a model over a split at one operating point; keep each sequence's cost and how well it was answered."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from skipw.evaluation.progress import Advance, silent
from skipw.operating_point import OperatingPoint, Schedule

__all__ = ["SequenceResults", "Sequences", "inputs_per_window", "run_sequences"]

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
        measures: by metric, Float64[n]; a metric's value is the mean (accuracy: 1 right, 0 wrong; mse:
            squared error).
        task_loss: Float64[n], cross entropy in nats, or half the squared error.
        input_cost: Float64[n], Σ_t u_t.
        inputs_processed: Float64[n], share of the sequence's inputs.
        max_in_window: Int64[n], most inputs processed in any aligned window.
        wanted: Int64[n], the smallest budget at which the sequence runs exactly as it did here.
        updates: Bool[n, T].
    """

    measures: dict[str, NDArray[np.float64]]
    task_loss: NDArray[np.float64]
    input_cost: NDArray[np.float64]
    inputs_processed: NDArray[np.float64]
    max_in_window: NDArray[np.int64]
    wanted: NDArray[np.int64]
    updates: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.task_loss)

    def with_rows(self, index: NDArray[np.int64], other: SequenceResults) -> SequenceResults:
        """These results with the rows ``index`` replaced by ``other``'s."""
        if not len(index):
            return self

        def replaced(mine: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
            merged = mine.copy()
            merged[index] = new
            return merged

        names = [field.name for field in dataclasses.fields(self) if field.name != "measures"]
        merged = {name: replaced(getattr(self, name), getattr(other, name)) for name in names}
        measures = {name: replaced(mine, other.measures[name]) for name, mine in self.measures.items()}
        return SequenceResults(measures=measures, **merged)


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


@torch.inference_mode()
def run_sequences(
    model: torch.nn.Module,
    split: Sequences,
    *,
    window: int,
    at: OperatingPoint | Schedule | None = None,
    updates: NDArray[np.bool_] | None = None,
    index: NDArray[np.int64] | None = None,
    batch_size: int = 500,
    backend: str = "auto",
    advance: Advance = silent,
) -> SequenceResults:
    """Run ``model`` in evaluation mode.

    Args:
        model: a ``SequenceModel``.
        split: the sequences, in their own order.
        window: L of the count ``max_in_window``, for models that have no window of their own.
        at: the operating point; None for models without one.
        updates: Bool[n, T], process exactly those inputs.
        index: Int64[m], run only these sequences; the results have their order.
        batch_size: sequences at a time.
        backend: as in ``SkipW.forward``.
        advance: told after each batch how many sequences were run.
    Returns:
        one entry a sequence.
    """
    model.eval()
    rows = np.arange(len(split.targets)) if index is None else index
    generator = torch.Generator().manual_seed(CHOICE_SEED)
    batches: list[SequenceResults] = []
    for start in range(0, len(rows), batch_size):
        chosen = rows[start : start + batch_size]
        inputs = torch.from_numpy(np.array(split.inputs[chosen]))
        given: dict[str, Any] = {"lengths": torch.from_numpy(np.array(split.lengths[chosen], dtype=np.int64))}
        if updates is None:
            given |= {"at": at, "generator": generator}
        else:
            given["updates"] = torch.from_numpy(updates[chosen])
        inputs = inputs if inputs.is_floating_point() else inputs.long()
        answer = model(inputs, backend=backend, **given)
        batches.append(_results(answer, np.array(split.targets[chosen]), window, at))
        advance(len(chosen))
    return _joined(batches)


def _results(answer: Any, targets: NDArray[Any], window: int, at: object) -> SequenceResults:
    scores, goal = answer.scores.double(), torch.from_numpy(targets)
    if scores.shape[-1] == 1:
        squared = (scores[:, 0] - goal.double()) ** 2
        measures, loss = {"mse": squared, "paper_mse": squared / 2}, squared / 2
    else:
        measures = {"accuracy": (scores.argmax(-1) == goal).double()}
        loss = F.cross_entropy(scores, goal.long(), reduction="none")
    rnn = answer.rnn
    most = inputs_per_window(rnn.updates, window).amax(-1)
    return SequenceResults(
        measures={name: values.numpy() for name, values in measures.items()},
        task_loss=loss.numpy(),
        input_cost=rnn.input_cost.double().numpy(),
        inputs_processed=rnn.inputs_processed.double().numpy(),
        max_in_window=most.numpy(),
        wanted=torch.maximum(most, _wanted_at_the_end(rnn.state, most, at)).numpy(),
        updates=rnn.updates.bool().numpy(),
    )


def _wanted_at_the_end(state: Any, most: Tensor, at: object) -> Tensor:
    """Inputs that the last window would have processed had the sequence gone on to that window's end.

    A window cut short by the end of its sequence chooses among all its slots; those that never come still use
    up the budget. Counting only what was processed would overlook that a smaller budget drops one of those
    that did come.
    """
    if getattr(state, "selected", None) is None or not isinstance(at, OperatingPoint):
        return torch.zeros_like(most)
    return (state.selected & (state.importance >= at.threshold)).sum(-1)


def _joined(batches: list[SequenceResults]) -> SequenceResults:
    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(batch, name) for batch in batches])

    names = [field.name for field in dataclasses.fields(SequenceResults) if field.name != "measures"]
    measures = {
        name: np.concatenate([batch.measures[name] for batch in batches]) for name in batches[0].measures
    }
    return SequenceResults(measures=measures, **{name: joined(name) for name in names})
