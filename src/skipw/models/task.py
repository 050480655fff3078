"""A recurrent model with what a task needs around it: embedding, recurrent layers, readout, head."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from skipw.errors import ShapeError
from skipw.models.architecture import Architecture
from skipw.models.heads import Head

if TYPE_CHECKING:
    from skipw.models.recurrent import SkipOutput
    from skipw.operating_point import OperatingPoint, Schedule
    from skipw.ops.state import SkipState

__all__ = ["Architecture", "SequenceModel", "TaskOutput"]


class TaskOutput(NamedTuple):
    """``scores`` Float[B, num_outputs]; ``rnn``, what the recurrent layers returned (``outputs="last"``)."""

    scores: Tensor
    rnn: SkipOutput


class SequenceModel(nn.Module):
    """Embedding (for token ids), recurrent layers and a head on their last output.

    Args:
        architecture: what to build.

    Attributes:
        embedding: a frozen ``nn.Embedding`` [V, E] (id 0 is padding, a zero row), or ``None`` for numbers.
        rnn: ``SkipW``, ``ThrRNN``, ``SkipRNN`` or ``DenseRNN``.
        head: :class:`skipw.models.heads.Head`.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.embedding: nn.Embedding | None = None
        if architecture.vocabulary_size:
            self.embedding = nn.Embedding(
                architecture.vocabulary_size, architecture.embedding_size, padding_idx=0
            )
            self.embedding.weight.requires_grad_(False)
        self.rnn = _build_rnn(architecture)
        self.head = Head(
            architecture.hidden_size,
            architecture.num_outputs,
            hidden=architecture.head_hidden,
            dropout=architecture.dropout,
        )

    def forward(
        self,
        inputs: Tensor,
        *,
        at: OperatingPoint | Schedule | None = None,
        lengths: Tensor | None = None,
        state: SkipState | Tensor | tuple[Tensor, Tensor] | None = None,
        updates: Tensor | None = None,
        backend: str = "auto",
        generator: torch.Generator | None = None,
    ) -> TaskOutput:
        """Scores of a batch of sequences.

        Args:
            inputs: Float[B, T, D], normalised, or token ids Int[B, T] where there is a vocabulary.
            at: operating point or schedule (skipw: budget and threshold; thrrnn: threshold).
            lengths: Long[B], inputs that each row has; all by default.
            state: where a former call ended.
            updates: Bool[B, T]; process exactly these inputs.
            backend: as in ``skipw.SkipW``.
            generator: noise of the selectors that draw.
        Raises:
            ShapeError: if the inputs don't fit the architecture.
        """
        features = self._features(inputs)
        options = {} if self.architecture.model in ("dense", "random", "periodic") else {"at": at}
        output = self.rnn(
            features,
            lengths=lengths,
            state=state,
            updates=updates,
            backend=backend,
            outputs="last",
            generator=generator,
            **options,
        )
        return TaskOutput(self.head(output.output), output)

    def follow(self, inputs: Tensor, chosen: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
        """Scores Float[B, num_outputs] after the same inputs of every sequence, and ``SkipW.follow``'s logits."""
        rnn: Any = self.rnn
        output, logits = rnn.follow(self._features(inputs), chosen, **options)
        return self.head(output), logits

    def set_bound(self, bound: str) -> None:
        """From now on bound aligned windows or any L consecutive inputs, as ``skipw.SkipW(bound=...)``.

        The architecture says it too, so it is saved with the model.

        Raises:
            ParamsError: for another value.
            ShapeError: if the model has no windows.
        """
        rnn: Any = self.rnn
        if self.architecture.model != "skipw":
            raise ShapeError(f"only skipw has a bound, this model is {self.architecture.model}.")
        self.architecture = dataclasses.replace(self.architecture, bound=bound)
        rnn.bound = bound

    def _features(self, inputs: Tensor) -> Tensor:
        """Float[B, T, D] from numbers or token ids, with the input dropout of training."""
        if self.embedding is not None:
            features = self._embed(inputs, self.embedding)
        elif inputs.ndim != 3 or inputs.shape[2] != self.architecture.input_size:
            raise ShapeError(
                f"expected inputs [B, T, {self.architecture.input_size}], got {list(inputs.shape)}; "
                "a single sequence needs a leading batch dimension of 1."
            )
        else:
            features = inputs
        if self.training and self.architecture.input_dropout:
            features = nn.functional.dropout(features, self.architecture.input_dropout)
        return features

    def _embed(self, tokens: Tensor, embedding: nn.Embedding) -> Tensor:
        if tokens.ndim != 2 or tokens.is_floating_point():
            raise ShapeError(f"expected token ids Int[B, T], got {tokens.dtype} {list(tokens.shape)}.")
        if tokens.numel():
            low, high = (int(bound) for bound in tokens.aminmax())
            if low < 0 or high >= embedding.num_embeddings:
                raise ShapeError(
                    f"token ids must lie in [0, {embedding.num_embeddings}), got {low} to {high}; "
                    "encode the text with this model's own vocabulary."
                )
        return nn.functional.embedding(tokens.long(), embedding.weight)


def _build_rnn(architecture: Architecture) -> nn.Module:
    """The recurrent layers, with the gate's bias at its start values."""
    from skipw.models.baselines import DenseRNN
    from skipw.models.skip_rnn import SkipRNN, ThrRNN
    from skipw.models.skip_window import SkipW

    a = architecture
    sizes = (a.cell, a.input_size, a.hidden_size, a.num_layers)
    if a.model in ("dense", "random", "periodic"):
        return DenseRNN(*sizes, initial_state=a.initial_state)
    biases = a.gate_bias_per_slot()
    common: dict[str, Any] = {
        "initial_state": a.initial_state,
        "gate_state_gradient": a.gate_state_gradient,
        "gate_bias": biases[0],
    }
    rnn: SkipW | ThrRNN | SkipRNN
    match a.model:
        case "skipw":
            rnn = SkipW(
                *sizes,
                window=a.window or 1,
                time_feature=a.time_feature,
                time_scale=a.time_scale,
                select=a.select,
                bound=a.bound,
                gate_inputs=a.gate_inputs,
                gate_windows=a.gate_windows,
                gate_budgets=a.gate_budgets,
                largest_budget=a.largest_budget,
                **common,
            )
        case "thrrnn":
            rnn = ThrRNN(*sizes, **common)
        case _:
            rnn = SkipRNN(*sizes, **common)
    with torch.no_grad():
        rnn.gate.bias.copy_(torch.tensor(biases).repeat(1 + len(a.gate_budgets)))
    return rnn
