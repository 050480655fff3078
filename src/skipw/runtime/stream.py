"""Streaming: one input at a time, asked for only when it will be processed (DESIGN, section 4).

A :class:`StreamModel` is immutable and shared; each :class:`Stream` it creates holds the state of one
sequence. Neither needs torch. ``docs/streaming.md`` shows how to use them.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skipw.errors import BudgetError, ShapeError, StreamOrderError
from skipw.models.architecture import Architecture
from skipw.operating_point import OperatingPoint
from skipw.runtime.checksums import verify_where_listed
from skipw.runtime.encoding import Encoder, encoder_of
from skipw.runtime.gate import AccumulatingGate, Gate, OpenGate, WindowGate
from skipw.runtime.step import NumpyStep, Step
from skipw.runtime.weights import DENSE, Weights, of_module, read_folder, write_folder

__all__ = ["Stream", "StreamModel", "Usage"]


@dataclass(frozen=True)
class Usage:
    """What a stream has cost since it began or was reset.

    Attributes:
        inputs: seen, processed or skipped.
        processed: of these, processed.
        max_in_window: most inputs processed in any window, the current one included; None without windows.
    """

    inputs: int
    processed: int
    max_in_window: int | None

    @property
    def fraction(self) -> float:
        """Share of the inputs that was processed, in [0, 1]; 0 before any."""
        return self.processed / self.inputs if self.inputs else 0.0


class StreamModel:
    """A trained model, ready to stream: SkipW, ThrRNN, SkipRNN or a dense model, with or without a head.

    Make one with :meth:`load` or :meth:`from_model`. It never changes, so threads may share it.
    """

    __slots__ = ("_encode", "_step", "_weights")

    _encode: Encoder
    _step: Step
    _weights: Weights

    def __init__(self, weights: Weights) -> None:
        object.__setattr__(self, "_weights", weights)
        object.__setattr__(self, "_encode", encoder_of(weights))
        object.__setattr__(self, "_step", NumpyStep(weights))

    @classmethod
    def load(cls, folder: Path | str) -> StreamModel:
        """The model in a folder with model.safetensors and model.json; needs no torch.

        Raises:
            DataFormatError: if a file is missing, is not what its name says or has another format version.
            ParamsError: if the architecture holds an unknown key or a value outside its range.
            ChecksumError: if the weights are not those that were written, or don't fit the architecture; in an
                edge bundle, if any file differs from SHA256SUMS.
        """
        verify_where_listed(Path(folder))
        return cls(read_folder(folder))

    @classmethod
    def from_model(cls, model: Any, description: Mapping[str, Any] | None = None) -> StreamModel:
        """A copy of a model in memory; or the model in a folder, as :meth:`load`.

        Args:
            model: a SkipW, ThrRNN, SkipRNN or DenseRNN, a ``skipw.models.task.SequenceModel``, or a folder.
            description: what ``skipw.models.saved.load_model`` returns beside a model; its normaliser and its
                vocabulary are applied to each input. Without it numbers are taken as they are.
        Raises:
            ShapeError: if ``model`` is something else, or its cells are neither GRU nor LSTM cells.
        """
        if isinstance(model, str | os.PathLike):
            if description is not None:
                raise ShapeError("a folder has its own description; pass a description with a module only.")
            return cls.load(Path(model))
        return cls(of_module(model, description))

    def save(self, folder: Path | str) -> dict[str, Any]:
        """Write model.safetensors and model.json for :meth:`load`; returns the description as written."""
        return write_folder(folder, self._weights)

    def create_stream(
        self, point: OperatingPoint | None = None, *, seed: int | np.random.Generator | None = None
    ) -> Stream:
        """A stream before its first input.

        Args:
            point: where it runs; None means OperatingPoint(), the whole window at 0.5. Dense models take None
                only.
            seed: what the selectors "sample" and "random" draw from; None draws a seed.
        Raises:
            BudgetError: if the model cannot run there.
        """
        return Stream(self, point, np.random.default_rng(seed))

    @property
    def architecture(self) -> Architecture:
        """Sizes and settings."""
        return self._weights.architecture

    @property
    def description(self) -> dict[str, Any]:
        """What model.json says, a copy; empty for a module without description."""
        return copy.deepcopy(dict(self._weights.description))

    @property
    def window(self) -> int | None:
        """L; None for models without windows."""
        return self.architecture.window

    @property
    def has_head(self) -> bool:
        """Whether a stream's output is the head's; else it is the top layer's state."""
        return self._weights.has_head

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a StreamModel never changes; cannot set {name!r}.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a StreamModel never changes; cannot delete {name!r}.")

    def __reduce__(self) -> tuple[Any, ...]:
        w = self._weights
        return _rebuilt, (dict(w.arrays), w.architecture, w.has_head, dict(w.description))

    def __repr__(self) -> str:
        a = self.architecture
        window = "" if a.window is None else f", window={a.window}"
        sizes = f"{a.input_size} -> {a.hidden_size} x {a.num_layers}"
        return f"StreamModel({a.model}, {a.cell}, {sizes}{window})"


def _rebuilt(arrays: Any, architecture: Architecture, has_head: bool, description: Any) -> StreamModel:
    return StreamModel(Weights(arrays, architecture, has_head, description))


class Stream:
    """One sequence, input by input, at constant memory. Make one with :meth:`StreamModel.create_stream`.

    For each input call :meth:`process` if :attr:`needs_input`, else :meth:`skip`.
    """

    __slots__ = ("_encode", "_gate", "_generator", "_model", "_point", "_state", "_step")

    def __init__(
        self, model: StreamModel, point: OperatingPoint | None, generator: np.random.Generator
    ) -> None:
        self._model, self._generator = model, generator
        self._encode, self._step = model._encode, model._step
        self._state = self._step.initial
        self._point = _checked_point(model.architecture, point)
        self._gate = self._new_gate(self._point)

    @property
    def needs_input(self) -> bool:
        """Whether the next input is to be processed; if not, it need not even be recorded."""
        return self._gate.due

    def process(self, x: Any) -> None:
        """The next input, read.

        Args:
            x: raw Float[D], normalised here; for token models an id or a word.
        Raises:
            StreamOrderError: if the next input is to be skipped.
            ShapeError: (a ValueError) for a wrong width, a value that is not finite, an id out of range;
                nothing has changed then.
        """
        if not self._gate.due:
            raise StreamOrderError(f"{self._where()} is to be skipped: call skip(); ask needs_input first.")
        self._state = state = self._step.advance(self._encode(x), self._state)
        self._gate.process(state)

    def skip(self) -> None:
        """The next input, not read.

        Raises:
            StreamOrderError: if the next input is to be processed.
        """
        gate = self._gate
        if gate.due:
            raise StreamOrderError(
                f"{self._where()} is to be processed: call process(x); ask needs_input first."
            )
        gate.skip()

    @property
    def plan(self) -> tuple[int, ...]:
        """Offsets still to be processed in this window, ascending: a device can sleep until then.

        Between two windows it is the next one's. Always empty for models without windows, which decide anew
        after each input.
        """
        return self._gate.plan

    def output(self) -> npt.NDArray[Any]:
        """The head's output so far, Float[num_outputs]; without head the top layer's state Float[N]."""
        return self._step.scores(self._state)

    def set_operating_point(self, point: OperatingPoint | None) -> None:
        """Run at ``point`` from the next input on, also within a window.

        No window ever holds more processed inputs than the largest budget that was set in it.

        Raises:
            BudgetError: if the model cannot run there; nothing has changed then.
        """
        checked = _checked_point(self._model.architecture, point)
        self._gate.switch(checked)
        self._point = checked

    @property
    def operating_point(self) -> OperatingPoint | None:
        """Where the stream runs; None for dense models."""
        return self._point

    @property
    def usage(self) -> Usage:
        """What the stream has cost so far."""
        gate = self._gate
        return Usage(gate.inputs, gate.processed, gate.max_in_window)

    def reset(self) -> None:
        """Begin a new sequence at the same operating point: state, window and usage; random draws go on."""
        self._state = self._step.initial
        self._gate = self._new_gate(self._point)

    def _new_gate(self, point: OperatingPoint | None) -> Gate:
        architecture = self._model.architecture
        if point is None:
            return OpenGate(None)
        if architecture.model == "skipw":
            return WindowGate(self._step, architecture, point, self._generator)
        return AccumulatingGate(self._step, point, fixed=architecture.model == "skiprnn")

    def _where(self) -> str:
        window, inputs = self._model.window, self._gate.inputs
        offset = "" if window is None else f" (offset {inputs % window} of its window)"
        return f"input {inputs}{offset}"


def _checked_point(architecture: Architecture, point: OperatingPoint | None) -> OperatingPoint | None:
    """``point`` as the model's gate takes it: None for dense models, never None for the others."""
    if point is not None and not isinstance(point, OperatingPoint):
        raise BudgetError(f"expected an OperatingPoint, got {type(point).__name__}.")
    if architecture.model in DENSE:
        OpenGate(point)
        return None
    return OperatingPoint() if point is None else point
