"""The arithmetic of one input as ONNX nodes: normaliser, cells, head, gate. Sizes as in skipw.runtime.step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from skipw.data.normaliser import SMALLEST_SIZE, Normaliser
from skipw.gate_inputs import columns
from skipw.models.architecture import Architecture
from skipw.runtime.onnx.builder import Builder

__all__ = ["GateNodes", "Past", "add_cells", "add_head", "add_normaliser", "add_sigmoid"]

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
LOWEST = float(np.finfo(np.float32).min)


def add_normaliser(b: Builder, x: str, normaliser: Normaliser | None, width: int) -> str:
    """Raw Float64[D] to Float32[D], in double precision as skipw.data.normaliser computes it."""
    value = x
    if normaliser is not None and normaliser.kind != "none":
        seen = _seen(b, x, normaliser.missing, width)
        if normaliser.kind == "pose":
            value = _by_own_size(b, x, seen, width)
        else:
            mean, scale = (b.constant(v, np.float64) for v in (normaliser.mean or (), normaliser.scale or ()))
            value = b.node("Div", b.node("Sub", x, mean), scale)
            if seen is not None:
                zeros = b.constant(np.zeros((width // 2, 2)), np.float64)
                value = b.node("Where", seen, _reshaped(b, value, (width // 2, 2)), zeros)
                value = _reshaped(b, value, (width,))
        if normaliser.clip is not None:
            low, high = (b.constant(v, np.float64) for v in (-normaliser.clip, normaliser.clip))
            value = b.node("Clip", value, low, high)
    return str(b.node("Cast", value, to=_kind(np.float32)))


def _seen(b: Builder, x: str, missing: float | None, width: int) -> str | None:
    """Bool[D / 2, 1]: False where both coordinates of a joint say that it is missing."""
    if missing is None:
        return None
    absent = b.node("Equal", _reshaped(b, x, (width // 2, 2)), b.constant(missing, np.float64))
    counts = b.node("Cast", absent, to=_kind(np.float64))
    both = b.node("ReduceSum", counts, b.constant([1], np.int64), keepdims=1)
    return str(b.node("Less", both, b.constant(1.5, np.float64)))


def _by_own_size(b: Builder, x: str, seen: str | None, width: int) -> str:
    """A pose by its own centre and size."""
    joints, zero = _reshaped(b, x, (width // 2, 2)), b.constant(0.0, np.float64)
    rows, everything = b.constant([0], np.int64), b.constant([0, 1], np.int64)
    if seen is None:
        count = b.constant(float(max(width // 2, 1)), np.float64)
    else:
        found = b.node("ReduceSum", b.node("Cast", seen, to=_kind(np.float64)), everything, keepdims=0)
        count = b.node("Max", found, b.constant(1.0, np.float64))
    kept = joints if seen is None else b.node("Where", seen, joints, zero)
    centre = b.node("Div", b.node("ReduceSum", kept, rows, keepdims=1), count)
    offset = b.node("Sub", joints, centre)
    if seen is not None:
        offset = b.node("Where", seen, offset, zero)
    squares = b.node("ReduceSum", b.node("Mul", offset, offset), everything, keepdims=0)
    size = b.node("Sqrt", b.node("Div", squares, count))
    has_size = b.node("Greater", size, b.constant(SMALLEST_SIZE, np.float64))
    divisor = b.node("Where", has_size, size, b.constant(np.inf, np.float64))
    return _reshaped(b, b.node("Div", offset, divisor), (width,))


def add_cells(
    b: Builder, x: str, states: Sequence[Sequence[str]], arrays: Arrays, a: Architecture
) -> list[list[str]]:
    """All layers on one input.

    Args:
        b: the graph.
        x: Float[D].
        states: for each layer h, or h and c, Float[1, 1, N] each.
        arrays: the weights.
        a: sizes.
    Returns:
        The new states, in the same form.
    """
    value, after = _reshaped(b, x, (1, 1, a.input_size)), []
    # torch's blocks are r z n and i f g o, ONNX's are z r n and i o f g
    order = (1, 0, 2) if a.cell == "gru" else (0, 3, 1, 2)
    for layer, old in enumerate(states):
        name = f"rnn.cells.{layer}"
        if a.cell == "fastgrnn":
            after.append([_fastgrnn(b, value, old[0], arrays, name)])
            value = after[-1][0]
            continue
        biases = [_reordered(arrays[f"{name}.{bias}"], order) for bias in ("bias_ih", "bias_hh")]
        constants = [
            b.constant(_reordered(arrays[f"{name}.weight_ih"], order)[np.newaxis], np.float32),
            b.constant(_reordered(arrays[f"{name}.weight_hh"], order)[np.newaxis], np.float32),
            b.constant(np.concatenate(biases)[np.newaxis], np.float32),
        ]
        if a.cell == "gru":  # torch resets after the product
            results = b.node(
                "GRU",
                value,
                *constants,
                "",
                *old,
                outputs=2,
                hidden_size=a.hidden_size,
                linear_before_reset=1,
            )
        else:
            results = b.node("LSTM", value, *constants, "", *old, outputs=3, hidden_size=a.hidden_size)
        new = results[1:]  # the first holds all steps of this sequence of one
        after.append(new)
        value = new[0]
    return after


def _fastgrnn(b: Builder, x: str, h: str, arrays: Arrays, name: str) -> str:
    """h Float[1, 1, N] after x Float[1, 1, D]: ``skipw.fastgrnn.FastGRNNCell``."""
    weights = [b.constant(arrays[f"{name}.{part}"].T, np.float32) for part in ("weight_ih", "weight_hh")]
    shared = b.node("Add", b.node("MatMul", x, weights[0]), b.node("MatMul", h, weights[1]))
    of_gate, of_candidate = (
        b.constant(arrays[f"{name}.{part}"], np.float32) for part in ("bias_z", "bias_h")
    )
    zeta, nu = (
        b.constant(1 / (1 + np.exp(-arrays[f"{name}.{part}"].reshape(()))), np.float32)
        for part in ("zeta", "nu")
    )
    z = add_sigmoid(b, b.node("Add", shared, of_gate))
    candidate = b.node("Tanh", b.node("Add", shared, of_candidate))
    fresh = b.node("Add", b.node("Mul", zeta, b.node("Sub", b.constant(1.0, np.float32), z)), nu)
    return str(b.node("Add", b.node("Mul", fresh, candidate), b.node("Mul", z, h)))


def _reordered(array: npt.NDArray[Any], order: Sequence[int]) -> npt.NDArray[Any]:
    blocks = array.reshape(len(order), -1, *array.shape[1:])[list(order)]
    return blocks.reshape(array.shape)


def add_head(b: Builder, h: str, arrays: Arrays, a: Architecture, has_head: bool) -> str:
    """Scores Float[num_outputs] of the top layer's h Float[1, 1, N]; without head h itself, Float[N]."""
    if not has_head:
        return _reshaped(b, h, (a.hidden_size,))
    value = _reshaped(b, h, (1, a.hidden_size))
    if a.head_hidden:
        value = b.node("Relu", _linear(b, value, arrays, "head.hidden"))
    return _reshaped(b, _linear(b, value, arrays, "head.output"), (a.num_outputs,))


def _linear(b: Builder, value: str, arrays: Arrays, name: str) -> str:
    weight, bias = (b.constant(arrays[f"{name}.{part}"], np.float32) for part in ("weight", "bias"))
    return str(b.node("Gemm", value, weight, bias, transB=1))


def add_sigmoid(b: Builder, logits: str) -> str:
    """1 / (1 + exp(-z)), NaN for NaN.

    The operator Sigmoid is no choice: ONNX Runtime's is flat below -18 and so makes ties where there are none.
    """
    denominator = b.node("Add", b.node("Exp", b.node("Neg", logits)), b.constant(1.0, np.float32))
    return str(b.node("Where", b.node("IsNaN", logits), logits, b.node("Reciprocal", denominator)))


class Past(NamedTuple):
    """What a gate may see of what came before its window; each is read by those gates alone that see it.

    Attributes:
        last_update: index of the last input that was processed, Int64, -1 before any.
        importance: ũ_W Float[L] of the window before, 0 at the first.
        last_input: Float[D], normalised, 0 before any.
    """

    last_update: str
    importance: str
    last_input: str


class GateNodes:
    """The gate of SkipW (eqs. 6 to 10) over constants that one graph and its branches share.

    Args:
        b: the graph.
        arrays: the weights.
        a: of a SkipW.
    """

    def __init__(self, b: Builder, arrays: Arrays, a: Architecture) -> None:
        assert a.window is not None
        self._a, self.window = a, a.window
        weight = arrays["rnn.gate.weight"]
        inputs = weight.shape[1] - a.gate_windows
        seen = sum(a.gate_columns().values()) - a.gate_windows
        self._weight = self._constant(b, weight[:, : a.hidden_size])
        self._bias = self._constant(b, arrays["rnn.gate.bias"])
        self._seen = self._constant(b, weight[:, inputs - seen : inputs]) if seen else None
        self._own = self._constant(b, weight[:, inputs:]) if a.gate_windows else None
        self._last_own = b.constant(a.gate_windows - 1, np.int64) if a.gate_windows else ""
        self._time = self._constant(b, weight[:, a.hidden_size]) if a.time_feature != "none" else None
        self._limits = b.constant(np.array(a.gate_budgets), np.int64) if a.gate_budgets else None
        self._most = None if a.largest_budget is None else b.constant(a.largest_budget, np.int64)
        self._scale = b.constant(a.time_scale, np.float32)
        self.slots = b.constant(np.arange(a.window), np.int64)
        self.length = b.constant(a.window, np.int64)
        self.zero, self.one = b.constant(0, np.int64), b.constant(1, np.int64)

    def _constant(self, b: Builder, values: Array) -> str:
        """Of one gate, a matrix transposed; of several stacked ones each so, along a new first axis."""
        gates = np.stack(np.split(values, 1 + len(self._a.gate_budgets)))
        turned = gates.transpose(0, 2, 1) if gates.ndim == 3 else gates
        return str(b.constant(turned if self._a.gate_budgets else turned[0], np.float32))

    def _ruling(self, b: Builder) -> Callable[[str], str]:
        """What picks, of a constant, the part of the gate that rules under the budget in force."""
        if self._limits is None:
            return lambda constant: constant
        passed = b.node("Cast", b.node("Greater", self.budget(b), self._limits), to=_kind(np.int64))
        count = len(self._a.gate_budgets)
        above = b.node("ReduceSum", passed, keepdims=0)
        # The gates of their own stand behind the first, which rules above them all.
        index = b.node("Mod", b.node("Add", above, self.one), b.constant(count + 1, np.int64))
        return lambda constant: str(b.node("Gather", constant, index, axis=0))

    def budget(self, b: Builder) -> str:
        """K in force: what was asked for, or the largest that the model is meant for."""
        return "budget" if self._most is None else str(b.node("Min", "budget", self._most))

    def importance(self, b: Builder, driver: str, step: str, past: Past) -> str:
        """ũ_W Float[L] (eqs. 6 and 7).

        Args:
            b: the graph or a branch of it.
            driver: Float[1, 1, N], the part of the top layer's state that drives the gate.
            step: index of the window's first input, Int64.
            past: what came before the window.
        """
        own = self._ruling(b)
        logits = b.node("MatMul", _reshaped(b, driver, (self._a.hidden_size,)), own(self._weight))
        logits = b.node("Add", logits, own(self._bias))
        if self._time is not None:
            value = step
            if self._a.time_feature == "window":
                value = b.node("Div", step, self.length)
            elif self._a.time_feature == "since_update":
                value = self._since_update(b, step, past)
            logits = b.node("Add", logits, b.node("Mul", own(self._time), self._scaled(b, value)))
        if self._seen is not None:
            logits = b.node("Add", logits, b.node("MatMul", self._extras(b, step, past), own(self._seen)))
        if self._own is not None:
            index = b.node("Min", b.node("Div", step, self.length), self._last_own)
            logits = b.node("Add", logits, b.node("Gather", own(self._own), index, axis=0))
        return add_sigmoid(b, logits)

    def _extras(self, b: Builder, step: str, past: Past) -> str:
        """What the gate sees beside state and time, Float[E], in the order of its weight's columns."""
        parts = []
        for name in self._a.gate_inputs:
            if name == "since_update":
                parts.append(_reshaped(b, self._scaled(b, self._since_update(b, step, past)), (1,)))
            elif name == "budget":
                parts.append(self._halvings(b))
            else:
                parts.append(past.importance if name == "importance" else past.last_input)
        return str(b.node("Concat", *parts, axis=0))

    def _halvings(self, b: Builder) -> str:
        """How far K has gone down from L, ``skipw.gate_inputs.halvings``."""
        count = columns(("budget",), self.window, 0)["budget"]
        doubled = b.constant([2.0 ** (j + 1) for j in range(count)], np.float32)
        budget = b.node("Mul", b.node("Cast", self.budget(b), to=_kind(np.float32)), doubled)
        left = b.node(
            "Sub", b.constant(2.0, np.float32), b.node("Div", budget, b.constant(self.window, np.float32))
        )
        low, high = b.constant(0.0, np.float32), b.constant(1.0, np.float32)
        return str(b.node("Min", b.node("Max", left, low), high))

    def _since_update(self, b: Builder, step: str, past: Past) -> str:
        return str(b.node("Sub", step, b.node("Max", past.last_update, self.zero)))

    def _scaled(self, b: Builder, steps: str) -> str:
        return str(b.node("Div", b.node("Cast", steps, to=_kind(np.float32)), self._scale))

    def plan(
        self,
        b: Builder,
        importance: str,
        limit: str,
        threshold: str,
        noise: str | None,
        offset: str | None = None,
    ) -> str:
        """The slots to be processed, Bool[L] (eqs. 9 and 10): never more than ``limit`` of them.

        ONNX's TopK puts the earlier of two equal slots first.

        Args:
            b: the graph or a branch of it.
            importance: Float[L].
            limit: K, or what is left of it, Int64; cut to [0, L].
            threshold: thr.
            noise: Float[L] for the selectors that draw.
            offset: slots before it have passed.
        """
        key = self._key(b, importance, threshold, noise)
        key = b.node("Where", b.node("IsNaN", importance), b.constant(LOWEST, np.float32), key)
        reached = b.node("GreaterOrEqual", importance, threshold)
        if offset is not None:
            to_come = b.node("GreaterOrEqual", self.slots, offset)
            key = b.node("Where", to_come, key, b.constant(-np.inf, np.float32))
            reached = b.node("And", reached, to_come)
        count = b.node("Min", b.node("Max", limit, self.zero), self.length)
        count = _reshaped(b, count, (1,))
        _, order = b.node("TopK", key, count, outputs=2, largest=1, sorted=1)
        marks = b.node("ConstantOfShape", count, value=_tensor(True))
        empty = b.constant(np.zeros(self.window), np.bool_)
        return str(b.node("And", b.node("ScatterElements", empty, order, marks, axis=0), reached))

    def _key(self, b: Builder, importance: str, threshold: str, noise: str | None) -> str:
        """What the slots are ranked by, largest first (eq. 9 and Appendix H)."""
        slots = np.arange(self.window)
        match self._a.select:
            case "topk":
                return importance
            case "first":
                return b.constant(-slots, np.float32)
            case "last":
                return b.constant(slots, np.float32)
            case "first_above":
                above = b.node("GreaterOrEqual", importance, threshold)
                late = b.constant(-float(self.window), np.float32)
                return str(b.node("Where", above, b.constant(-slots, np.float32), late))
            case "random":
                assert noise is not None
                return noise
            case _:
                assert noise is not None
                key = b.node("Add", b.node("Log", importance), noise)
                return str(b.node("Max", key, b.constant(LOWEST / 2, np.float32)))


def _reshaped(b: Builder, value: str, shape: tuple[int, ...]) -> str:
    return str(b.node("Reshape", value, b.constant(shape, np.int64)))


def _kind(dtype: type) -> int:
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _tensor(value: bool) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.array([value]))
