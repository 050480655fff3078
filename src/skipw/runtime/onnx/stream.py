"""A stream whose arithmetic runs in ONNX Runtime: the verbs, answers and errors of skipw.Stream. Needs no torch."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skipw.errors import BudgetError, DataFormatError, StreamOrderError
from skipw.models.architecture import Architecture
from skipw.operating_point import OperatingPoint
from skipw.runtime.checksums import verify_where_listed
from skipw.runtime.encoding import encoder_of
from skipw.runtime.onnx.graphs import build_graphs
from skipw.runtime.onnx.hosts import Graph, host_of
from skipw.runtime.stream import Usage
from skipw.runtime.weights import DENSE, Weights, read_folder

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
        """
        folder = Path(folder)
        verify_where_listed(folder)
        weights = read_folder(folder)
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


class OnnxStream:
    """One sequence, input by input. Make one with :meth:`OnnxStreamModel.create_stream`."""

    __slots__ = ("_generator", "_host", "_model", "_point")

    def __init__(
        self, model: OnnxStreamModel, point: OperatingPoint | None, generator: np.random.Generator
    ) -> None:
        self._model, self._generator = model, generator
        self._point = self._checked(point)
        self._host = host_of(model._graphs, model.architecture, self._point, generator)

    @property
    def needs_input(self) -> bool:
        """Whether the next input is to be processed; if not, it need not even be recorded."""
        return self._host.due

    def process(self, x: Any) -> None:
        """The next input, read.

        Args:
            x: raw Float[D], normalised by the graph; for token models an id or a word.
        Raises:
            StreamOrderError: if the next input is to be skipped.
            ShapeError: for a wrong width, a value that is not finite, an id out of range; nothing has changed.
        """
        if not self._host.due:
            raise StreamOrderError(f"{self._where()} is to be skipped: call skip(); ask needs_input first.")
        self._host.process(self._model.read(x))

    def skip(self) -> None:
        """The next input, not read.

        Raises:
            StreamOrderError: if the next input is to be processed.
        """
        if self._host.due:
            raise StreamOrderError(
                f"{self._where()} is to be processed: call process(x); ask needs_input first."
            )
        self._host.skip()

    @property
    def plan(self) -> tuple[int, ...]:
        """Offsets still to be processed in this window, ascending; empty for models without windows."""
        return self._host.plan

    def output(self) -> npt.NDArray[np.float32]:
        """The head's output so far, Float[num_outputs]; without head the top layer's state Float[N]."""
        scores: npt.NDArray[np.float32] = self._host.memory["scores"].copy()
        return scores

    def set_operating_point(self, point: OperatingPoint | None) -> None:
        """Run at ``point`` from the next input on, also within a window.

        Raises:
            BudgetError: if the model cannot run there; nothing has changed then.
        """
        checked = self._checked(point)
        self._host.switch(checked)
        self._point = checked

    @property
    def operating_point(self) -> OperatingPoint | None:
        """Where the stream runs; None for dense models."""
        return self._point

    @property
    def usage(self) -> Usage:
        """What the stream has cost so far."""
        return Usage(self._host.inputs, self._host.processed, self._host.max_in_window)

    def reset(self) -> None:
        """Begin a new sequence at the same operating point; random draws go on."""
        self._host = host_of(self._model._graphs, self._model.architecture, self._point, self._generator)

    def _checked(self, point: OperatingPoint | None) -> OperatingPoint | None:
        if point is not None and not isinstance(point, OperatingPoint):
            raise BudgetError(f"expected an OperatingPoint, got {type(point).__name__}.")
        if self._model.architecture.model in DENSE:
            return point
        return OperatingPoint() if point is None else point

    def _where(self) -> str:
        window, inputs = self._model.window, self._host.inputs
        offset = "" if window is None else f" (offset {inputs % window} of its window)"
        return f"input {inputs}{offset}"
