"""A model's constants as the C step reads them: the order and the layout of ``csrc/skipw.h``.

N hidden units, D inputs, L window. Used by the extension module and by the C sources of an edge bundle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from skipw.data.normaliser import Normaliser
from skipw.errors import BackendUnavailableError, DataFormatError
from skipw.runtime.weights import DENSE, Weights

__all__ = ["BLOCKS", "KINDS", "Matrix", "Packed", "pack", "pack_matrix", "why_not"]

Array = npt.NDArray[Any]
BLOCKS = (64, 32, 16, 8)
KINDS = {
    "dense": 0, "random": 0, "periodic": 0, "skipw": 1, "thrrnn": 2, "skiprnn": 3
}  # fmt: skip
CELLS = {"gru": 0, "lstm": 1, "fastgrnn": 2}
SELECTORS = {"topk": 0, "first": 1, "last": 2, "first_above": 3}
TIMES = {"steps": 0, "window": 1, "since_update": 2, "none": 3}
SEEN = {"since_update": 1, "importance": 2, "input": 4, "budget": 8}
NORMALISERS = {"none": 0, "standard": 1, "scale": 1, "pose": 2}


@dataclass(frozen=True)
class Matrix:
    """``values`` Float32[outputs, inputs]; :func:`pack_matrix` gives the order in which C reads them."""

    values: Array

    @property
    def outputs(self) -> int:
        return int(self.values.shape[0])

    @property
    def inputs(self) -> int:
        return int(self.values.shape[1])


@dataclass(frozen=True)
class Packed:
    """A ``skipw_model``.

    Attributes:
        sizes: its whole numbers by their names in C.
        cell: "gru", "lstm" or "fastgrnn".
        time_scale: what the time feature is divided by.
        normaliser: kind, has_missing, has_clip, missing, clip.
        arrays: matrices and Float32 vectors (the normaliser's are Float64, budgets Uint32) by their names, in the
            order in which the extension takes them; None where the model has none.
    """

    sizes: Mapping[str, int]
    cell: str
    time_scale: float
    normaliser: tuple[int, int, int, float, float]
    arrays: Mapping[str, Matrix | Array | None]


def why_not(weights: Weights) -> str | None:
    """Why the C step cannot serve this model; None if it can."""
    a = weights.architecture
    if weights.dtype != np.float32:
        return f"it computes in float32 and the weights are {weights.dtype}"
    if a.model == "skipw" and a.select not in SELECTORS:
        return f"select={a.select!r} draws random numbers"
    return None


def pack(weights: Weights) -> Packed:
    """The constants of a model.

    Raises:
        BackendUnavailableError: what ``why_not`` says.
    """
    if reason := why_not(weights):
        raise BackendUnavailableError(f"the C step cannot serve this model: {reason}; use the numpy engine.")
    a, arrays = weights.architecture, weights.arrays
    packed: dict[str, Matrix | Array | None] = {}
    for layer in range(a.num_layers):
        name = f"rnn.cells.{layer}"
        packed[f"input_{layer}"] = Matrix(arrays[f"{name}.weight_ih"])
        packed[f"state_{layer}"] = Matrix(arrays[f"{name}.weight_hh"])
        packed[f"input_bias_{layer}"], packed[f"state_bias_{layer}"] = _biases(weights, name)
        packed[f"mix_{layer}"] = _mix(weights, name)
    packed["initial"] = _initial(weights)
    packed |= _gate(weights) | _head(weights)
    normaliser, statistics = _normaliser(weights)
    sizes = {
        "kind": KINDS[a.model],
        "cell": CELLS[a.cell],
        "select": SELECTORS.get(a.select, 0),
        "time_feature": TIMES[a.time_feature],
        "gate_inputs": sum(SEEN[name] for name in a.gate_inputs),
        "bound": int(a.bound == "any"),
        "input_size": a.input_size,
        "hidden_size": a.hidden_size,
        "layers": a.num_layers,
        "window": a.window or 1,
        "largest_budget": a.largest_budget or a.window or 1,
        "gates": 0 if a.model in DENSE else 1 + len(a.gate_budgets),
        "gate_windows": a.gate_windows,
        "head_hidden": a.head_hidden if weights.has_head else 0,
        "outputs": a.num_outputs if weights.has_head else 0,
    }
    return Packed(sizes, a.cell, a.time_scale, normaliser, packed | statistics)


def pack_matrix(matrix: Array) -> Array:
    """Float32[outputs, inputs] in the order in which C reads it.

    Outputs, padded with zeros to a multiple of 8, are cut into blocks of 64 while 64 are left, then 32, 16, 8; a
    block holds for each input the weights of its outputs, one after the other.

    Returns:
        Float32[padded outputs * inputs].
    """
    outputs, inputs = matrix.shape
    padded = np.zeros((-(-outputs // 8) * 8, inputs), dtype=matrix.dtype)
    padded[:outputs] = matrix
    blocks, start = [], 0
    while start < len(padded):
        width = next(width for width in BLOCKS if width <= len(padded) - start)
        blocks.append(padded[start : start + width].T.ravel())
        start += width
    return np.concatenate(blocks)


def _biases(weights: Weights, name: str) -> tuple[Array, Array]:
    """Of one layer: of its input and its state product, or b_z and b_h - b_z of a FastGRNN."""
    arrays = weights.arrays
    if weights.architecture.cell != "fastgrnn":
        return arrays[f"{name}.bias_ih"], arrays[f"{name}.bias_hh"]
    of_gate, of_candidate = arrays[f"{name}.bias_z"], arrays[f"{name}.bias_h"]
    return of_gate, of_candidate - of_gate


def _mix(weights: Weights, name: str) -> Array | None:
    """ζ and ν of a FastGRNN's layer, Float32[2], in (0, 1); None for other cells."""
    if weights.architecture.cell != "fastgrnn":
        return None
    logits = [float(weights.arrays[f"{name}.{part}"].item()) for part in ("zeta", "nu")]
    return np.array([1 / (1 + math.exp(-logit)) for logit in logits], dtype=np.float32)


def _initial(weights: Weights) -> Array:
    """Float32[layers, 1 or 2, N]: h, and c of an LSTM."""
    a, arrays = weights.architecture, weights.arrays
    zeros = np.zeros((a.num_layers, 1, a.hidden_size), dtype=np.float32)
    parts = [arrays.get("rnn.initial_state", zeros)]
    if a.cell == "lstm":
        parts.append(arrays.get("rnn.initial_cell", zeros))
    return np.ascontiguousarray(np.concatenate(parts, axis=1))


def _gate(weights: Weights) -> dict[str, Matrix | Array | None]:
    """The budgets of gates of their own, Uint32, and each gate's parts."""
    a, arrays = weights.architecture, weights.arrays
    packed: dict[str, Matrix | Array | None] = {"gate_budgets": None}
    if a.model in DENSE:
        return packed
    count = 1 + len(a.gate_budgets)
    if a.gate_budgets:
        packed["gate_budgets"] = np.array(a.gate_budgets, dtype=np.uint32)
    seen = sum(a.gate_columns().values()) - a.gate_windows
    inputs = arrays["rnn.gate.weight"].shape[1] - a.gate_windows
    weights_of, biases = np.split(arrays["rnn.gate.weight"], count), np.split(arrays["rnn.gate.bias"], count)
    for i, (weight, bias) in enumerate(zip(weights_of, biases, strict=True)):
        timed = inputs > a.hidden_size + seen
        own = np.ascontiguousarray(weight[:, inputs:].T).ravel() if a.gate_windows else None
        packed |= {
            f"gate_{i}": Matrix(np.ascontiguousarray(weight[:, : a.hidden_size])),
            f"gate_bias_{i}": np.ascontiguousarray(bias),
            f"gate_time_{i}": np.ascontiguousarray(weight[:, a.hidden_size]) if timed else None,
            f"gate_seen_{i}": Matrix(np.ascontiguousarray(weight[:, inputs - seen : inputs]))
            if seen
            else None,
            f"gate_own_{i}": own,
        }
    return packed


def _head(weights: Weights) -> dict[str, Matrix | Array | None]:
    arrays = weights.arrays
    packed: dict[str, Matrix | Array | None] = {}
    for name in ("hidden", "output"):
        weight = arrays.get(f"head.{name}.weight")
        packed[name] = None if weight is None else Matrix(weight)
        packed[f"{name}_bias"] = arrays.get(f"head.{name}.bias")
    return packed


def _normaliser(
    weights: Weights,
) -> tuple[tuple[int, int, int, float, float], dict[str, Array | None]]:
    """Its settings, and ``mean`` and ``scale`` Float64[D]; word vectors and bare layers are taken as they are."""
    values = weights.description.get("normaliser")
    nothing: dict[str, Array | None] = {"mean": None, "scale": None}
    if values is None or weights.architecture.vocabulary_size:
        return (NORMALISERS["none"], 0, 0, 0.0, 0.0), nothing
    n = Normaliser.from_json(dict(values))
    if n.input_size != weights.architecture.input_size:
        raise DataFormatError(
            f"the normaliser takes {n.input_size} values, the model {weights.architecture.input_size}."
        )
    if n.kind == "none":
        return (NORMALISERS["none"], 0, 0, 0.0, 0.0), nothing
    settings = (
        NORMALISERS[n.kind],
        int(n.missing is not None),
        int(n.clip is not None),
        0.0 if n.missing is None else float(n.missing),
        0.0 if n.clip is None else float(n.clip),
    )
    if n.mean is None or n.scale is None:
        return settings, nothing
    return settings, {"mean": np.asarray(n.mean, dtype=np.float64), "scale": np.asarray(n.scale, np.float64)}
