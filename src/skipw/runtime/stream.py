"""Streaming: one input at a time, asked for only when it will be processed (DESIGN, section 4).

A :class:`StreamModel` is immutable and shared; each :class:`Stream` it creates holds the state of one
sequence. Neither needs torch. ``docs/streaming.md`` shows how to use them.

Two engines serve them: "c", the C99 step that also runs on boards (``csrc``), and "numpy", for what the C step does not
do: weights in float64, selectors that draw random numbers, and machines where it was not built.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from skipw.errors import BackendUnavailableError, ShapeError
from skipw.models.architecture import Architecture
from skipw.operating_point import OperatingPoint
from skipw.runtime.c import packing
from skipw.runtime.c import stream as c_stream
from skipw.runtime.checksums import verify_where_listed
from skipw.runtime.encoding import Encoder, encoder_of
from skipw.runtime.numpy_stream import NumpyStream
from skipw.runtime.step import NumpyStep
from skipw.runtime.verbs import Stream, Usage
from skipw.runtime.weights import Weights, of_module, read_folder, write_folder

__all__ = ["ENGINES", "Stream", "StreamModel", "Usage"]

ENGINES = ("auto", "c", "numpy")
log = logging.getLogger(__name__)


class StreamModel:
    """A trained model, ready to stream: SkipW, ThrRNN, SkipRNN or a dense model, with or without a head.

    Make one with :meth:`load` or :meth:`from_model`. It never changes, so threads may share it.
    """

    __slots__ = ("_c", "_encode", "_numpy", "_weights")

    _c: c_stream.CModel | None
    _encode: Encoder
    _numpy: NumpyStep | None
    _weights: Weights

    def __init__(self, weights: Weights, engine: str = "auto") -> None:
        encode = encoder_of(weights)
        served = _serves_c(weights, engine)
        object.__setattr__(self, "_weights", weights)
        object.__setattr__(self, "_encode", encode)
        object.__setattr__(self, "_c", c_stream.CModel(weights, encode) if served else None)
        object.__setattr__(self, "_numpy", None if served else NumpyStep(weights))

    @classmethod
    def load(cls, folder: Path | str, *, engine: str = "auto") -> StreamModel:
        """The model in a folder with model.safetensors and model.json; needs no torch.

        Args:
            folder: of a trained model, or an edge bundle.
            engine: "c", "numpy", or "auto": C where it can serve the model.
        Raises:
            DataFormatError: if a file is missing, is not what its name says or has another format version.
            ParamsError: if the architecture holds an unknown key or a value outside its range.
            ChecksumError: if the weights are not those that were written, or don't fit the architecture; in an
                edge bundle, if any file differs from SHA256SUMS.
            BackendUnavailableError: if ``engine`` is "c" and it cannot serve.
        """
        verify_where_listed(Path(folder))
        return cls(read_folder(folder), engine)

    @classmethod
    def from_model(
        cls, model: Any, description: Mapping[str, Any] | None = None, *, engine: str = "auto"
    ) -> StreamModel:
        """A copy of a model in memory; or the model in a folder, as :meth:`load`.

        Args:
            model: a SkipW, ThrRNN, SkipRNN or DenseRNN, a ``skipw.models.task.SequenceModel``, or a folder.
            description: what ``skipw.models.saved.load_model`` returns beside a model; its normaliser and its
                vocabulary are applied to each input. Without it numbers are taken as they are.
            engine: as in :meth:`load`.
        Raises:
            ShapeError: if ``model`` is something else, or its cells are none of GRU, LSTM and FastGRNN.
            BackendUnavailableError: as :meth:`load`.
        """
        if isinstance(model, str | os.PathLike):
            if description is not None:
                raise ShapeError("a folder has its own description; pass a description with a module only.")
            return cls.load(Path(model), engine=engine)
        return cls(of_module(model, description), engine)

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
        if self._c is not None:
            return self._c.create_stream(point)
        assert self._numpy is not None
        generator = np.random.default_rng(seed)
        return NumpyStream(self.architecture, self._encode, self._numpy, point, generator)

    def with_bound(self, bound: str) -> StreamModel:
        """The same model with its budget held over other inputs, as in ``skipw.SkipW``.

        Args:
            bound: "aligned", at most K of each window, or "any", at most K of any L consecutive inputs.
        Raises:
            ParamsError: for another value.
            ShapeError: if the model has no windows.
        """
        w = self._weights
        if w.architecture.model != "skipw":
            raise ShapeError(f"only skipw has a bound, this model is {w.architecture.model}.")
        architecture = dataclasses.replace(w.architecture, bound=bound)
        return StreamModel(Weights(w.arrays, architecture, w.has_head, w.description))

    @property
    def engine(self) -> str:
        """What serves its streams: "c" or "numpy"."""
        return "numpy" if self._c is None else "c"

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
        return _rebuilt, (dict(w.arrays), w.architecture, w.has_head, dict(w.description), self.engine)

    def __repr__(self) -> str:
        a = self.architecture
        window = "" if a.window is None else f", window={a.window}"
        sizes = f"{a.input_size} -> {a.hidden_size} x {a.num_layers}"
        return f"StreamModel({a.model}, {a.cell}, {sizes}{window})"


def _rebuilt(
    arrays: Any, architecture: Architecture, has_head: bool, description: Any, engine: str
) -> StreamModel:
    chosen = "numpy" if engine == "numpy" else "auto"  # the other machine may not have the C step
    return StreamModel(Weights(arrays, architecture, has_head, description), chosen)


def _serves_c(weights: Weights, engine: str) -> bool:
    """Whether the C step serves this model.

    Raises:
        BackendUnavailableError: if it was asked for and cannot, or there is no such engine.
    """
    if engine not in ENGINES:
        raise BackendUnavailableError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}.")
    if engine == "numpy":
        return False
    reason = packing.why_not(weights) or c_stream.missing()
    if reason is None:
        return True
    if engine == "c":
        raise BackendUnavailableError(f"engine='c' cannot serve this model: {reason}")
    log.info("the stream runs in numpy: %s", reason)
    return False
