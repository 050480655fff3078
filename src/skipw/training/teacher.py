"""Knowledge distillation: a training that goes on from a model also learns from that model's scores.

The model it goes on from may read more than the new one: at a lower threshold, or because it was trained to. Its scores
tell more of a sequence than the label does (Hinton et al., 2015), so that a model at half of the inputs is taught by
one that read nearly all of them (docs/teacher.md).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from skipw.errors import ParamsError
from skipw.models.saved import load_model
from skipw.models.task import SequenceModel
from skipw.operating_point import OperatingPoint
from skipw.training.data_module import Batch

if TYPE_CHECKING:
    from skipw.params import TrainSettings

__all__ = ["Teacher", "distance", "teacher_of"]


@dataclass(frozen=True)
class Teacher:
    """A model that is not trained.

    Attributes:
        model: in eval mode.
        at: where it runs; None is its own operating point.
        share: of the task loss that is the distance to its scores instead, in (0, 1].
        temperature: what both models' scores are divided by before they are compared.
    """

    model: SequenceModel
    at: OperatingPoint | None
    share: float
    temperature: float

    @torch.no_grad()
    def scores(self, batch: Batch, backend: str) -> Tensor:
        """What it says of a batch, Float[B, outputs]."""
        model = self.model.to(batch.inputs.device)
        return model(batch.inputs, at=self.at, lengths=batch.lengths, backend=backend).scores

    def blended(self, task_loss: Tensor, scores: Tensor, taught: Tensor) -> Tensor:
        """(1 - share) · task loss + share · ``distance``."""
        regression = self.model.architecture.task == "regression"
        return (1 - self.share) * task_loss + self.share * distance(
            scores, taught, regression=regression, temperature=self.temperature
        )


def distance(scores: Tensor, taught: Tensor, *, regression: bool, temperature: float = 1.0) -> Tensor:
    """How far scores are from a teacher's.

    τ² times the cross entropy of the two models' probabilities at temperature τ, so that its gradient is of the size of
    the labels' (Hinton et al., 2015, section 2); on a regression half the MSE.

    Args:
        scores, taught: Float[B, outputs].
        regression: what the scores are.
        temperature: τ.
    """
    if regression:
        return 0.5 * torch.nn.functional.mse_loss(scores, taught)
    probabilities = (taught / temperature).softmax(-1)
    return temperature**2 * torch.nn.functional.cross_entropy(scores / temperature, probabilities)


def teacher_of(settings: TrainSettings, init_from: Path | None) -> Teacher | None:
    """The teacher that the settings ask for, or None.

    Raises:
        ParamsError: if they ask for a threshold that the model in ``init_from`` does not have.
    """
    if not settings.teacher or init_from is None:
        return None
    model, _ = load_model(init_from)
    at = None
    if settings.teacher_threshold is not None:
        model = _with_threshold(model, settings)
        at = OperatingPoint(threshold=settings.teacher_threshold)
    return Teacher(model, at, settings.teacher, settings.teacher_temperature)


def _with_threshold(model: SequenceModel, settings: TrainSettings) -> SequenceModel:
    """The same model, one of SkipRNN as the ThrRNN that it is at other thresholds."""
    kind = model.architecture.model
    if kind in ("skipw", "thrrnn"):
        return model
    if kind != "skiprnn":
        raise ParamsError(
            f"teacher_threshold: {settings.init_from} is a {kind} model and has no threshold; leave it out."
        )
    moved = dataclasses.replace(model.architecture, model="thrrnn").build()
    moved.load_state_dict(model.state_dict())
    return moved.eval()
