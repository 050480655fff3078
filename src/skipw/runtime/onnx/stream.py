"""A stream whose arithmetic runs in ONNX Runtime: the verbs, answers and errors of skipw.Stream. Needs no torch."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skipw.errors import BackendUnavailableError, DataFormatError
from skipw.models.architecture import Architecture
from skipw.operating_point import OperatingPoint
from skipw.runtime.checksums import verify_where_listed
from skipw.runtime.encoding import encoder_of
from skipw.runtime.onnx.graphs import build_graphs, why_not
from skipw.runtime.onnx.hosts import Graph, host_of
from skipw.runtime.verbs import Stream, Usage, checked_point, refuse
from skipw.runtime.weights import Weights, read_folder

__all__ = ["GRAPHS_FOLDER", "OnnxStream", "OnnxStreamModel"]

GRAPHS_FOLDER = "onnx"


class OnnxStreamModel:
    """A model's step graphs in ONNX Runtime. Make one with :meth:`load` or :meth:`from_weights`.

    Threads may share it; each stream has a memory of its own.

    Args:
        weights: sizes, normaliser and vocabulary are read; the arithmetic is the graphs' own.
        graphs: start, process and, for SkipW, gate.
    """

    def __init__(self, weights: Weights, graphs: Mapping[str, Graph]) -> None:
        self._weights, self._graphs = weights, dict(graphs)
        self._encode = encoder_of(weights, normalise=False)
        self._dtype = np.float32 if weights.architecture.vocabulary_size else np.float64

    @classmethod
    def load(cls, folder: Path | str, *, threads: int = 1) -> OnnxStreamModel:
        """The model of an edge bundle, its checksums verified.

        Args:
            folder: of an edge bundle (``skipw pull``).
            threads: of one operator; a step is too small for more than one.
        Raises:
            ChecksumError: if a file was changed, is missing or cut short.
            DataFormatError: if the folder holds no model or no graphs.
            BackendUnavailableError: if there are no graphs of such a model.
        """
        folder = Path(folder)
        verify_where_listed(folder)
        weights = read_folder(folder)
        if reason := why_not(weights):
            raise BackendUnavailableError(
                f"ONNX graphs cannot serve this model: {reason}; use engine 'auto'."
            )
        names = ["start", "process", *(["gate"] if weights.architecture.model == "skipw" else [])]
        paths = {name: folder / GRAPHS_FOLDER / f"{name}.onnx" for name in names}
        for path in paths.values():
            if not path.is_file():
                raise DataFormatError(
                    f"{path} does not exist; expected an edge bundle: `skipw pull {folder} DIR` makes one."
                )
        return cls(weights, {name: Graph(path, threads) for name, path in paths.items()})

    @classmethod
    def from_weights(cls, weights: Weights, *, threads: int = 1) -> OnnxStreamModel:
        """Graphs built in memory; needs onnx."""
        graphs = {name: Graph(content, threads) for name, content in build_graphs(weights).items()}
        return cls(weights, graphs)

    def create_stream(
        self, point: OperatingPoint | None = None, *, seed: int | np.random.Generator | None = None
    ) -> OnnxStream:
        """A stream before its first input; arguments and errors as in ``skipw.StreamModel.create_stream``."""
        return OnnxStream(self, point, np.random.default_rng(seed))

    @property
    def architecture(self) -> Architecture:
        """Sizes and settings."""
        return self._weights.architecture

    @property
    def description(self) -> dict[str, Any]:
        """What model.json says, a copy."""
        return copy.deepcopy(dict(self._weights.description))

    @property
    def window(self) -> int | None:
        """L; None for models without windows."""
        return self.architecture.window

    @property
    def has_head(self) -> bool:
        """Whether a stream's output is the head's; else it is the top layer's state."""
        return self._weights.has_head

    def read(self, raw: Any) -> npt.NDArray[Any]:
        """One input as the graph takes it: raw Float64[D], or a word's row Float32[E].

        Raises:
            ShapeError: as ``skipw.Stream.process``.
        """
        return self._encode(raw).astype(self._dtype, copy=False)


class OnnxStream(Stream):
    """See :class:`skipw.runtime.verbs.Stream`. Make one with :meth:`OnnxStreamModel.create_stream`."""

    __slots__ = ("_generator", "_host", "_model", "_point")

    def __init__(
        self, model: OnnxStreamModel, point: OperatingPoint | None, generator: np.random.Generator
    ) -> None:
        self._model, self._generator = model, generator
        self._point = checked_point(model.architecture, point)
        self.reset()

    @property
    def needs_input(self) -> bool:
        return self._host.due

    def process(self, x: Any) -> None:
        if not self._host.due:
            raise refuse("process", self._host.inputs, self._model.window)
        self._host.process(self._model.read(x))

    def skip(self) -> None:
        if self._host.due:
            raise refuse("skip", self._host.inputs, self._model.window)
        self._host.skip()

    @property
    def plan(self) -> tuple[int, ...]:
        return self._host.plan

    def output(self) -> npt.NDArray[np.float32]:
        scores: npt.NDArray[np.float32] = self._host.memory["scores"].copy()
        return scores

    def set_operating_point(self, point: OperatingPoint | None) -> None:
        checked = checked_point(self._model.architecture, point)
        self._host.switch(checked)
        self._point = checked

    @property
    def operating_point(self) -> OperatingPoint | None:
        return self._point

    @property
    def usage(self) -> Usage:
        return Usage(self._host.inputs, self._host.processed, self._host.max_in_window)

    @property
    def window(self) -> int | None:
        return self._model.window

    def reset(self) -> None:
        self._host = host_of(self._model._graphs, self._model.architecture, self._point, self._generator)
