"""Matrices as int8 with one scale an output, for boards with little memory (``-DSKIPW_INT8``).

Inputs, states, biases, gates' thresholds and sums stay Float32: only the storage of the weights is rounded.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from skipw.runtime.weights import Weights

__all__ = ["dequantise", "quantise", "rounded_weights"]

Array = npt.NDArray[Any]
LARGEST = 127


def quantise(matrix: Array) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """The nearest int8 matrix, symmetric, each output by its own largest weight.

    Args:
        matrix: Float32[outputs, inputs].
    Returns:
        Int8[outputs, inputs] and Float32[outputs], whose product is near ``matrix``: within half a scale.
    """
    largest = np.abs(matrix).max(axis=1)
    scale = np.where(largest > 0, largest / LARGEST, 1.0).astype(np.float32)
    values = np.clip(np.rint(matrix / scale[:, np.newaxis]), -LARGEST, LARGEST)
    return values.astype(np.int8), scale


def dequantise(values: npt.NDArray[np.int8], scale: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Float32[outputs, inputs], what the C step computes with."""
    matrix: npt.NDArray[np.float32] = values.astype(np.float32) * scale[:, np.newaxis]
    return matrix


def rounded_weights(weights: Weights) -> Weights:
    """The same model with the matrices that an int8 build computes with, for measuring what the rounding costs.

    The column of the gate's time feature, biases and word vectors stay as they are.
    """
    a, arrays = weights.architecture, dict(weights.arrays)
    for name, array in arrays.items():
        if name.endswith(("weight_ih", "weight_hh")) or (
            name.startswith("head.") and name.endswith("weight")
        ):
            arrays[name] = dequantise(*quantise(array))
        elif name == "rnn.gate.weight":
            seen = sum(a.gate_columns().values())
            timed, inputs = array.shape[1] - seen, array.shape[1] - a.gate_windows
            ends = [0, a.hidden_size, timed, inputs, array.shape[1]]
            parts = [array[:, start:end] for start, end in pairwise(ends)]
            # C has the columns of gate_inputs as a matrix of their own; windows' biases are biases.
            for part in (0, 2):
                parts[part] = dequantise(*quantise(parts[part])) if parts[part].size else parts[part]
            arrays[name] = np.concatenate(parts, axis=1)
    return replace(weights, arrays=arrays)
