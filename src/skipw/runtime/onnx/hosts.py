"""What the host keeps between graph runs: the memory, the counters, and whether the next input is due.

One class for each family of models, as in skipw.runtime.gate; here the graphs decide, the host follows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from skipw.models.architecture import Architecture
from skipw.operating_point import OperatingPoint
from skipw.runtime.onnx.graphs import NEXT
from skipw.runtime.selection import DRAWING, draw_noise
from skipw.runtime.weights import DENSE

__all__ = ["Accumulating", "Dense", "Graph", "Host", "Windowed", "host_of"]

Memory = dict[str, Any]


class Graph:
    """One ONNX file in a session of one thread.

    Args:
        content: the file, or where it lies.
        threads: of one operator.
    """

    def __init__(self, content: bytes | Path, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        source = content if isinstance(content, bytes) else str(content)
        self.session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        self.inputs = [one.name for one in self.session.get_inputs()]
        self.outputs = [one.name for one in self.session.get_outputs()]
        self._kept = [name.removeprefix(NEXT) for name in self.outputs]

    def __call__(self, memory: Memory) -> None:
        """Run on what ``memory`` holds and put the results there."""
        results = self.session.run(self.outputs, {name: memory[name] for name in self.inputs})
        memory.update(zip(self._kept, results, strict=True))


class Host(Protocol):
    """What a stream asks for.

    Attributes:
        due: whether the next input is to be processed.
        inputs, processed: how many there were since the start.
        memory: what goes from graph to graph.
    """

    due: bool
    inputs: int
    processed: int
    memory: Memory

    @property
    def max_in_window(self) -> int | None:
        """Most inputs processed in any window so far, None without windows."""

    @property
    def plan(self) -> tuple[int, ...]:
        """Offsets still to be processed in this window, ascending."""

    def skip(self) -> None:
        """The next input was skipped."""

    def process(self, x: npt.NDArray[Any]) -> None:
        """The next input, as the graph takes it."""

    def switch(self, point: OperatingPoint | None) -> None:
        """From the next input on, run at ``point``."""


def host_of(
    graphs: dict[str, Graph], a: Architecture, point: OperatingPoint | None, generator: np.random.Generator
) -> Host:
    """The host of a model before its first input; ``point`` was checked by ``skipw.runtime.verbs``."""
    if a.model in DENSE:
        return Dense(graphs)
    assert point is not None
    return Windowed(graphs, a, point, generator) if a.model == "skipw" else Accumulating(graphs, point)


class Windowed:
    """SkipW. A skipped input runs no graph, except that the last of a window opens the next one."""

    def __init__(
        self, graphs: dict[str, Graph], a: Architecture, point: OperatingPoint, generator: np.random.Generator
    ) -> None:
        assert a.window is not None
        self._window, self._select, self._generator = a.window, a.select, generator
        self._process, self._gate = graphs["process"], graphs["gate"]
        self.memory: Memory = {}
        self.inputs = self.processed = self._most = self._offset = self._used = 0
        self._switched_at = -1
        self._set(point)
        self._draw()
        self._before = np.zeros(a.window, dtype=np.float32)
        graphs["start"](self.memory)
        self._open()

    @property
    def max_in_window(self) -> int:
        return self._most

    @property
    def plan(self) -> tuple[int, ...]:
        return self._plan[self._next :]

    def skip(self) -> None:
        self.inputs += 1
        self._offset += 1
        if self._offset == self._window:
            self._draw()
            self.memory["step"] = np.array(self.inputs)
            self._before = self.memory["importance"]
            self._gate(self.memory)
            self._open()
        else:
            self.due = self._next < len(self._plan) and self._plan[self._next] == self._offset

    def process(self, x: npt.NDArray[Any]) -> None:
        ends = self._offset + 1 == self._window
        if ends:
            self._draw()
            self._before = self.memory["importance"]
        self.memory["x"], self.memory["step"] = x, np.array(self.inputs)
        self._process(self.memory)
        self.inputs += 1
        self.processed += 1
        self._used += 1
        self._next += 1
        self._most = max(self._most, self._used)
        if ends:
            self._open()
        else:
            self._offset += 1
            self.due = self._next < len(self._plan) and self._plan[self._next] == self._offset

    def switch(self, point: OperatingPoint | None) -> None:
        """The graph plans the slots still to come anew; of several switches before one input, the last counts."""
        assert point is not None
        if self._switched_at != self.inputs:
            kept = {name: self.memory[name] for name in ("due", "importance")}
            self._switched_at, self._base = self.inputs, (self._point, self.plan, kept)
        self._set(point)
        before, plan, kept = self._base
        if point == before:
            self.memory |= kept
        else:
            self.memory["step"] = np.array(self.inputs)
            if self._offset == 0:  # the graph opens the window anew, and its gate may see the one before it
                self.memory["importance"] = self._before
            self._gate(self.memory)
            plan = tuple(np.flatnonzero(self.memory["due"]).tolist())
        self._follow(plan)

    def _set(self, point: OperatingPoint) -> None:
        self._point = point
        self.memory["budget"] = np.array(point.budget_in(self._window))
        self.memory["threshold"] = np.array(point.threshold, dtype=np.float32)

    def _draw(self) -> None:
        if self._select in DRAWING:
            dtype = np.dtype(np.float32)
            self.memory["noise"] = draw_noise(self._generator, self._window, self._select, dtype)

    def _open(self) -> None:
        """A window begins; a graph has planned it."""
        self._offset = self._used = 0
        self._switched_at = -1
        self._follow(tuple(np.flatnonzero(self.memory["due"]).tolist()))

    def _follow(self, plan: tuple[int, ...]) -> None:
        self._plan, self._next = plan, 0
        self.due = bool(plan) and plan[0] == self._offset


class Accumulating:
    """ThrRNN and SkipRNN; a skipped input costs an addition and runs no graph."""

    max_in_window = None
    plan: tuple[int, ...] = ()

    def __init__(self, graphs: dict[str, Graph], point: OperatingPoint) -> None:
        self._process = graphs["process"]
        self.memory: Memory = {"threshold": np.array(point.threshold, dtype=np.float32)}
        self.inputs = self.processed = 0
        self._one = np.float32(1)
        graphs["start"](self.memory)
        self.switch(point)

    def skip(self) -> None:
        self.inputs += 1
        accumulated = self.memory["accumulated"] + self.memory["increment"]
        self.memory["accumulated"] = self._one if accumulated > self._one else accumulated
        self._compare()

    def process(self, x: npt.NDArray[Any]) -> None:
        self.memory["x"] = x
        self._process(self.memory)
        self.inputs += 1
        self.processed += 1
        self._compare()

    def switch(self, point: OperatingPoint | None) -> None:
        assert point is not None
        self._threshold = np.float32(point.threshold)
        self._compare()

    def _compare(self) -> None:
        self.due = bool(self.memory["accumulated"] >= self._threshold)


class Dense:
    """A dense model: every input is due, and there are no operating points."""

    due = True
    max_in_window = None
    plan: tuple[int, ...] = ()

    def __init__(self, graphs: dict[str, Graph]) -> None:
        self._process = graphs["process"]
        self.memory: Memory = {}
        self.inputs = self.processed = 0
        graphs["start"](self.memory)

    def process(self, x: npt.NDArray[Any]) -> None:
        self.memory["x"] = x
        self._process(self.memory)
        self.inputs += 1
        self.processed += 1

    def skip(self) -> None:
        self.inputs += 1

    def switch(self, point: OperatingPoint | None) -> None:
        assert point is None
