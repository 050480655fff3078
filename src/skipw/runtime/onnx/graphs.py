"""The step graphs of a model: start, process and gate, from its weights alone.

A stream's memory is a set of named tensors that goes from one graph to the next: the output ``next_<name>`` of one
is the input ``<name>`` of those after it.

| name | | |
|---|---|---|
| `h_<layer>`, `c_<layer>` | Float[1, 1, N] | state of a layer; c of an LSTM |
| `scores` | Float[num_outputs] | the head's output, without head h of the top layer Float[N] |
| `step` | Int64 | SkipW: index of the next input; the host adds 1 for each input that it skips |
| `last_update` | Int64 | SkipW whose gate sees "since_update": index of the last input processed, -1 before any |
| `last_input` | Float[D] | SkipW whose gate sees "input": the last input processed, normalised; 0 before any |
| `used` | Int64 | SkipW: inputs processed in this window |
| `importance` | Float[L] | SkipW: ũ_W of this window |
| `due` | Bool[L] | SkipW: slots of this window that are still to be processed |
| `accumulated`, `increment` | Float | ThrRNN, SkipRNN: ũ and Δũ; the host adds them up for each input that it skips |
| `budget`, `threshold` | Int64, Float | K and thr, where the model has them |
| `noise` | Float[L] | of a window, for the selectors "sample" and "random" |
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from skipw.data.normaliser import Normaliser
from skipw.errors import BackendUnavailableError
from skipw.models.architecture import Architecture
from skipw.runtime.onnx.builder import Builder, Declared
from skipw.runtime.onnx.layers import GateNodes, Past, add_cells, add_head, add_normaliser, add_sigmoid
from skipw.runtime.selection import DRAWING
from skipw.runtime.weights import DENSE, Weights

__all__ = ["NEXT", "build_graphs", "why_not", "write_graphs"]

NEXT = "next_"  # a graph may not call an output like an input
X_TEXT = "one raw input, as it was measured; normalised inside"


def why_not(weights: Weights) -> str | None:
    """Why there are no graphs of this model; None if there are."""
    if weights.architecture.bound != "aligned":
        return "they bound aligned windows, not any L consecutive inputs"
    return None


def build_graphs(weights: Weights) -> dict[str, bytes]:
    """Every graph that the model needs, as an ONNX file's content.

    - ``start``: the memory of a stream before its first input.
    - ``process``: one input through cells and head; if it ends a window, the next one's importance and plan.
    - ``gate`` (SkipW): opens the window that begins at ``step``, or plans the rest of one anew after a switch.

    Args:
        weights: of any model; Float64 weights are rounded to Float32.
    Returns:
        Content by name.
    Raises:
        BackendUnavailableError: for a model that :func:`why_not` refuses.
    """
    if reason := why_not(weights):
        raise BackendUnavailableError(
            f"ONNX graphs cannot serve this model: {reason}; use skipw.StreamModel."
        )
    maker = _Maker(weights)
    graphs = {"start": maker.start(), "process": maker.process()}
    return graphs | {"gate": maker.gate()} if weights.architecture.model == "skipw" else graphs


def write_graphs(weights: Weights, folder: Path) -> None:
    """Write ``start.onnx``, ``process.onnx`` and, for SkipW, ``gate.onnx``; errors as ``build_graphs``."""
    graphs = build_graphs(weights)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in graphs.items():
        (folder / f"{name}.onnx").write_bytes(content)


class _Maker:
    """What all graphs of one model share."""

    def __init__(self, weights: Weights) -> None:
        self.weights, self.a = weights, weights.architecture
        a = self.a
        parts = ("h", "c") if a.cell == "lstm" else ("h",)
        shape = (1, 1, a.hidden_size)
        self.states: list[list[Declared]] = [
            [(f"{part}_{layer}", np.float32, shape, f"state of layer {layer}") for part in parts]
            for layer in range(a.num_layers)
        ]
        width = a.num_outputs if weights.has_head else a.hidden_size
        self.scores: Declared = ("scores", np.float32, (width,), "the model's answer so far")
        window = (a.window or 1,)
        self.step: Declared = ("step", np.int64, (), "index of the next input")
        self.last: Declared = (
            "last_update",
            np.int64,
            (),
            "index of the last input processed, -1 before any",
        )
        self.last_input: Declared = (
            "last_input",
            np.float32,
            (a.input_size,),
            "the last input processed, normalised, 0 before any",
        )
        self.used: Declared = ("used", np.int64, (), "inputs processed in this window")
        self.importance: Declared = ("importance", np.float32, window, "of this window's inputs, in [0, 1]")
        self.due: Declared = ("due", np.bool_, window, "this window's inputs that are still to be processed")
        self.accumulated: Declared = ("accumulated", np.float32, (), "an input is due once this reaches thr")
        self.increment: Declared = ("increment", np.float32, (), "added for each input that is skipped")
        meant = "" if a.largest_budget is None else f"; above {a.largest_budget} it counts as that"
        self.budget: Declared = (
            "budget",
            np.int64,
            (),
            f"K: most inputs processed in a window, 0 to L{meant}",
        )
        self.threshold: Declared = ("threshold", np.float32, (), "thr: least importance processed, 0 to 1")
        self.noise: Declared = (
            "noise",
            np.float32,
            window,
            "what the selector draws for the window that begins",
        )

    @property
    def point(self) -> list[Declared]:
        """K, thr and noise, where the model has them."""
        match self.a.model:
            case "skipw":
                return [self.budget, self.threshold, *([self.noise] if self.a.select in DRAWING else [])]
            case "thrrnn":
                return [self.threshold]
            case _:
                return []

    @property
    def remembered(self) -> list[Declared]:
        """What the gate sees of the past beside state and importance."""
        a = self.a
        update = a.model == "skipw" and "since_update" in (a.time_feature, *a.gate_inputs)
        return [*([self.last] if update else []), *([self.last_input] if "input" in a.gate_inputs else [])]

    def start(self) -> bytes:
        b, a = Builder(), self.a
        zeros = np.zeros((a.num_layers, 1, a.hidden_size), dtype=np.float32)
        sources = ("rnn.initial_state", "rnn.initial_cell")
        outputs: dict[Declared, str] = {}
        values = []
        for layer, parts in enumerate(self.states):
            for part, source in zip(parts, sources, strict=False):
                initial = self.weights.arrays.get(source, zeros)[layer].reshape(part[2])
                outputs[part] = b.constant(initial, np.float32)
            values.append([outputs[part] for part in parts])
        outputs[self.scores] = add_head(b, values[-1][0], self.weights.arrays, a, self.weights.has_head)
        if a.model == "skipw":
            gate = GateNodes(b, self.weights.arrays, a)
            before = b.constant(-1, np.int64)
            nothing = b.constant(np.zeros(a.input_size), np.float32)
            none_before = b.constant(np.zeros(gate.window), np.float32)
            importance = gate.importance(b, values[-1][-1], gate.zero, Past(before, none_before, nothing))
            plan = gate.plan(b, importance, gate.budget(b), "threshold", self._noise())
            outputs |= {
                self.importance: importance,
                self.due: plan,
                self.step: gate.zero,
                self.used: gate.zero,
            }
            first = {self.last: before, self.last_input: nothing}
            outputs |= {one: first[one] for one in self.remembered}
        elif a.model not in DENSE:
            outputs |= dict.fromkeys((self.accumulated, self.increment), b.constant(1.0, np.float32))
        return self._finish(b, "start", self.point, outputs, "The memory of a stream before its first input.")

    def process(self) -> bytes:
        b, a = Builder(), self.a
        words = bool(a.vocabulary_size)
        x: Declared = (
            ("x", np.float32, (a.input_size,), "the word's row of the embedding")
            if words
            else ("x", np.float64, (a.input_size,), X_TEXT)
        )
        values = self.weights.description.get("normaliser")
        normaliser = None if words or values is None else Normaliser.from_json(values)
        ready = "x" if words else add_normaliser(b, "x", normaliser, a.input_size)
        names = [[part[0] for part in parts] for parts in self.states]
        after = add_cells(b, ready, names, self.weights.arrays, a)
        outputs = {
            part: value
            for parts, new in zip(self.states, after, strict=True)
            for part, value in zip(parts, new, strict=True)
        }
        outputs[self.scores] = add_head(b, after[-1][0], self.weights.arrays, a, self.weights.has_head)
        inputs = [x, *(part for parts in self.states for part in parts)]
        if a.model == "skipw":
            inputs += [self.step, self.used, self.importance, self.due, *self.point]
            outputs |= self._after_input(b, after[-1][-1], ready)
        elif a.model not in DENSE:
            probability = self._probability(b, after[-1][-1])
            outputs |= dict.fromkeys((self.accumulated, self.increment), probability)
        return self._finish(
            b, "process", inputs, outputs, "One input through cells and head, and the gate after it."
        )

    def gate(self) -> bytes:
        b, a = Builder(), self.a
        gate = GateNodes(b, self.weights.arrays, a)
        driver = self.states[-1][-1]
        offset = b.node("Mod", "step", gate.length)
        opens = b.node("Equal", offset, gate.zero)
        past = Past("last_update", "importance", "last_input")
        importance = b.node("Where", opens, gate.importance(b, driver[0], "step", past), "importance")
        used = b.node("Where", opens, gate.zero, "used")
        left = b.node("Sub", gate.budget(b), used)
        plan = gate.plan(b, importance, left, "threshold", self._noise(), offset)
        inputs = [driver, self.step, *self.remembered, self.used, self.importance, *self.point]
        outputs = {self.importance: importance, self.used: used, self.due: plan}
        return self._finish(
            b, "gate", inputs, outputs,
            "Opens the window that begins at `step`; within a window, plans the rest of it at the new K and thr.",
        )  # fmt: skip

    def _after_input(self, b: Builder, driver: str, x: str) -> dict[Declared, str]:
        """The gate's memory after a processed input ``x``; at the end of a window the next one opens."""
        gate = GateNodes(b, self.weights.arrays, self.a)
        offset = b.node("Mod", "step", gate.length)
        following = b.node("Add", "step", gate.one)
        opens = b.node("Equal", b.node("Mod", following, gate.length), gate.zero)
        then, other = Builder(b), Builder(b)
        importance = gate.importance(then, driver, following, Past("step", "importance", x))
        plan = gate.plan(then, importance, gate.budget(then), "threshold", self._noise())
        rest = other.node("And", "due", other.node("Greater", gate.slots, offset))
        importance, plan, used = b.choose(
            opens,
            (then, [importance, plan, gate.zero]),
            (other, ["importance", rest, other.node("Add", "used", gate.one)]),
        )
        memory = {self.importance: importance, self.due: plan, self.used: used, self.step: following}
        latest = {self.last: "step", self.last_input: x}
        return memory | {one: latest[one] for one in self.remembered}

    def _probability(self, b: Builder, driver: str) -> str:
        """σ(W s + b), the increment of ThrRNN and SkipRNN (eq. 2)."""
        arrays = self.weights.arrays
        weight = b.constant(arrays["rnn.gate.weight"][0], np.float32)
        flat = b.node("Reshape", driver, b.constant((self.a.hidden_size,), np.int64))
        logit = b.node(
            "Add", b.node("MatMul", flat, weight), b.constant(arrays["rnn.gate.bias"][0], np.float32)
        )
        return add_sigmoid(b, logit)

    def _noise(self) -> str | None:
        return "noise" if self.a.select in DRAWING else None

    def _finish(
        self, b: Builder, name: str, inputs: list[Declared], outputs: dict[Declared, str], text: str
    ) -> bytes:
        labelled = {
            declared if declared == self.scores else (f"{NEXT}{declared[0]}", *declared[1:]): value
            for declared, value in outputs.items()
        }
        return b.model(name, inputs, labelled, _facts(self.a, self.weights), text)


def _facts(a: Architecture, weights: Weights) -> dict[str, str]:
    """What a program in any language can ask the file for."""
    facts = {
        "model": a.model,
        "cell": a.cell,
        "window": a.window or "",
        "select": a.select if a.model == "skipw" else "",
        "threshold": 0.5 if a.model == "skiprnn" else "",
        "checkpoint_sha256": weights.description.get("checkpoint_sha256", ""),
    }
    return {key: str(value) for key, value in facts.items()}
