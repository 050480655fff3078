"""The arithmetic of one input, in numpy: the boundary behind which a faster step can take its place.

A :class:`Step` holds constants only; a state goes in and a new one comes out, so one step serves any number
of streams. N hidden units, D inputs, L window.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from skipw.runtime.weights import DENSE, Weights

__all__ = ["NumpyStep", "State", "Step"]

Array: TypeAlias = npt.NDArray[Any]
State: TypeAlias = tuple[tuple[Array, ...], ...]
"""A tuple a layer: (h,) of a GRU or FastGRNN, (h, c) of an LSTM, Float[N] each; never written to."""


class Step(Protocol):
    """What a stream asks of a backend."""

    initial: State

    def advance(self, x: Array, state: State) -> State:
        """S(s_{t-1}, x_t) through all layers (eqs. 4 and 5 where u_t = 1). ``x`` Float[D]."""

    def importance(self, state: State, time: float, extras: Array | None = None, gate: int = 0) -> Array:
        """ũ_W = σ(W_W [s_{t-1}; t] + b_W), Float[L] (eqs. 6 and 7).

        Args:
            state: s_{t-1}.
            time: the scaled time feature.
            extras: what else the gate sees (``gate_inputs``), Float[E]; None where that is nothing.
            gate: which of the model's gates (``skipw.gate_budgets``).
        """

    def probability(self, state: State) -> Any:
        """σ(W s_t + b), the increment of ThrRNN and SkipRNN (eq. 2), a numpy scalar."""

    def scores(self, state: State) -> Array:
        """The head's output Float[num_outputs], without head the top layer's Float[N]; a new array."""


class NumpyStep:
    """One input in the weights' own precision.

    Args:
        weights: of any model.
    """

    def __init__(self, weights: Weights) -> None:
        arrays, a = weights.arrays, weights.architecture
        cell = CELLS[a.cell]
        self._cells: tuple[Any, ...] = tuple(
            cell(arrays, f"rnn.cells.{layer}") for layer in range(a.num_layers)
        )
        zeros = np.zeros((a.num_layers, 1, a.hidden_size), dtype=weights.dtype)
        starts = [arrays.get("rnn.initial_state", zeros)]
        if a.cell == "lstm":
            starts.append(arrays.get("rnn.initial_cell", zeros))
        self.initial: State = tuple(
            tuple(start[layer, 0] for start in starts) for layer in range(a.num_layers)
        )
        if a.model not in DENSE:
            timed = a.model == "skipw" and a.time_feature != "none"
            self._gates = tuple(
                _GateWeights(weight, bias, a.hidden_size, timed)
                for weight, bias in zip(
                    np.split(arrays["rnn.gate.weight"], 1 + len(a.gate_budgets)),
                    np.split(arrays["rnn.gate.bias"], 1 + len(a.gate_budgets)),
                    strict=True,
                )
            )
        self._head = _linear(arrays, "head.output") if weights.has_head else None
        self._head_hidden = _linear(arrays, "head.hidden") if weights.has_head and a.head_hidden else None

    def advance(self, x: Array, state: State) -> State:
        """See :class:`Step`."""
        after = []
        with np.errstate(all="ignore"):
            for cell, old in zip(self._cells, state, strict=True):
                new = cell(x, old)
                after.append(new)
                x = new[0]
        return tuple(after)

    def importance(self, state: State, time: float, extras: Array | None = None, gate: int = 0) -> Array:
        """See :class:`Step`."""
        own = self._gates[gate]
        with np.errstate(all="ignore"):
            logits = own.state.dot(state[-1][-1])
            logits += own.bias
            if own.time is not None:
                logits += own.time * logits.dtype.type(time)
            if extras is not None:
                logits += own.extras.dot(extras)
            return _sigmoid(logits)

    def probability(self, state: State) -> Any:
        """See :class:`Step`."""
        with np.errstate(all="ignore"):
            logits = self._gates[0].state.dot(state[-1][-1])
            logits += self._gates[0].bias
            return _sigmoid(logits)[0]

    def scores(self, state: State) -> Array:
        """See :class:`Step`."""
        readout = state[-1][0]
        if self._head is None:
            return readout.copy()
        with np.errstate(all="ignore"):
            if self._head_hidden is not None:
                weight, bias = self._head_hidden
                readout = weight.dot(readout)
                readout += bias
                np.maximum(readout, 0, out=readout)
            weight, bias = self._head
            scores: Array = weight.dot(readout)
            scores += bias
        return scores


class _GateWeights:
    """One gate's weight Float[L, N + ...], by what its columns are for, and its bias Float[L]."""

    def __init__(self, weight: Array, bias: Array, hidden: int, timed: bool) -> None:
        self.state = np.ascontiguousarray(weight[:, :hidden])
        self.time = weight[:, hidden] if timed else None
        self.extras = np.ascontiguousarray(weight[:, hidden + timed :])
        self.bias = bias


class _GRUCell:
    """torch.nn.GRUCell on one row: blocks r, z, n; the reset gate after the product.

    σ(a) = tanh(a / 2) / 2 + 1/2 cannot overflow, so the rows of r and z carry the factor 1/2 (exact in
    binary).
    """

    def __init__(self, arrays: Any, name: str) -> None:
        hidden = arrays[f"{name}.weight_hh"].shape[1]
        halves = np.ones(3 * hidden, dtype=arrays[f"{name}.bias_ih"].dtype)
        halves[: 2 * hidden] = 0.5
        bias_hh = arrays[f"{name}.bias_hh"]
        bias = arrays[f"{name}.bias_ih"].copy()
        bias[: 2 * hidden] += bias_hh[: 2 * hidden]
        self._weight_ih = arrays[f"{name}.weight_ih"] * halves[:, np.newaxis]
        self._weight_hh = arrays[f"{name}.weight_hh"] * halves[:, np.newaxis]
        self._bias = bias * halves
        self._bias_n = bias_hh[2 * hidden :]
        self._gates, self._reset, self._update = slice(2 * hidden), slice(hidden), slice(hidden, 2 * hidden)
        self._new = slice(2 * hidden, None)

    def __call__(self, x: Array, state: tuple[Array, ...]) -> tuple[Array]:
        (h,) = state
        from_input = self._weight_ih.dot(x)
        from_input += self._bias
        from_state = self._weight_hh.dot(h)
        gates = from_state[self._gates]
        gates += from_input[self._gates]
        np.tanh(gates, out=gates)
        gates *= 0.5
        gates += 0.5
        new = from_state[self._new]
        new += self._bias_n
        new *= gates[self._reset]
        new += from_input[self._new]
        np.tanh(new, out=new)
        after = h - new
        after *= gates[self._update]
        after += new
        return (after,)


class _LSTMCell:
    """torch.nn.LSTMCell on one row: blocks i, f, g, o; the rows of i, f, o carry the 1/2 of ``_GRUCell``."""

    def __init__(self, arrays: Any, name: str) -> None:
        hidden = arrays[f"{name}.weight_hh"].shape[1]
        factor = np.full(4 * hidden, 0.5, dtype=arrays[f"{name}.bias_ih"].dtype)
        factor[2 * hidden : 3 * hidden] = 1.0
        self._weight_ih = arrays[f"{name}.weight_ih"] * factor[:, np.newaxis]
        self._weight_hh = arrays[f"{name}.weight_hh"] * factor[:, np.newaxis]
        self._bias = (arrays[f"{name}.bias_ih"] + arrays[f"{name}.bias_hh"]) * factor
        self._factor = factor
        self._shift = 1 - factor  # tanh(a) * 1/2 + 1/2 is σ, tanh(a) * 1 + 0 is tanh
        self._blocks = [slice(block * hidden, (block + 1) * hidden) for block in range(4)]

    def __call__(self, x: Array, state: tuple[Array, ...]) -> tuple[Array, Array]:
        h, c = state
        gates = self._weight_ih.dot(x)
        gates += self._weight_hh.dot(h)
        gates += self._bias
        np.tanh(gates, out=gates)
        gates *= self._factor
        gates += self._shift
        i, f, g, o = self._blocks
        cell = gates[f] * c
        cell += gates[i] * gates[g]
        output = np.tanh(cell)
        output *= gates[o]
        return output, cell


class _FastGRNNCell:
    """``skipw.fastgrnn.FastGRNNCell`` on one row; z from tanh as in ``_GRUCell``."""

    def __init__(self, arrays: Any, name: str) -> None:
        self._weight_ih, self._weight_hh = arrays[f"{name}.weight_ih"], arrays[f"{name}.weight_hh"]
        self._bias_z, self._bias_h = arrays[f"{name}.bias_z"], arrays[f"{name}.bias_h"]
        zeta, nu = (_sigmoid(arrays[f"{name}.{part}"].copy())[0] for part in ("zeta", "nu"))
        self._zeta, self._both = zeta, zeta + nu

    def __call__(self, x: Array, state: tuple[Array, ...]) -> tuple[Array]:
        (h,) = state
        shared = self._weight_ih.dot(x)
        shared += self._weight_hh.dot(h)
        z = shared + self._bias_z
        z *= 0.5
        np.tanh(z, out=z)
        z *= 0.5
        z += 0.5
        shared += self._bias_h
        after = np.tanh(shared, out=shared)
        after *= self._both - self._zeta * z  # ζ (1 - z) + ν
        z *= h
        after += z
        return (after,)


CELLS: dict[str, type] = {"gru": _GRUCell, "lstm": _LSTMCell, "fastgrnn": _FastGRNNCell}


def _linear(arrays: Any, name: str) -> tuple[Array, Array]:
    return arrays[f"{name}.weight"], arrays[f"{name}.bias"]


def _sigmoid(logits: Array) -> Array:
    """1 / (1 + exp(-z)), in place, as torch computes it: in Float32 exactly 1 from near 17 on, 0 below -89.

    The form with tanh would round small values to 0 and so make ties where there are none.
    """
    np.negative(logits, out=logits)
    np.exp(logits, out=logits)
    logits += 1
    return np.reciprocal(logits, out=logits)
