"""Floating-point operations of a sequence, counted: matrix products, a multiplication and an addition each.

A layer with G gates (GRU 3, LSTM 4, FastGRNN 1), N units and D inputs takes 2 G N (D + N) for a processed input and
nothing for a skipped one. SkipW's gate takes 2 L (N + 1) a window (2 L N without a time feature; 2 L more for each
further value that it sees), whether its inputs are then processed or not; the gate of ThrRNN and SkipRNN 2 N a
processed input. The head runs once a sequence. A dense model takes the layers for every input, and the head. Left out
everywhere: elementwise work, biases, the sorting of L numbers, and looking up an embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skipw.gate_inputs import columns
from skipw.models.architecture import GATES

__all__ = ["dense_flops", "input_flops", "sequence_flops"]


def input_flops(architecture: Mapping[str, Any]) -> int:
    """Of one processed input, all layers.

    Args:
        architecture: as in model.json.
    """
    n = int(architecture["hidden_size"])
    widths = [int(architecture["input_size"]) + n] + [2 * n] * (int(architecture["num_layers"]) - 1)
    return sum(2 * GATES[architecture["cell"]] * n * width for width in widths)


def _head_flops(architecture: Mapping[str, Any]) -> int:
    n, hidden, outputs = (int(architecture[key]) for key in ("hidden_size", "head_hidden", "num_outputs"))
    return 2 * n * outputs if not hidden else 2 * hidden * (n + outputs)


def sequence_flops(architecture: Mapping[str, Any], length: float, processed: float) -> float:
    """Of a sequence.

    Args:
        architecture: as in model.json.
        length: its inputs; a mean over sequences gives a mean.
        processed: how many of them are processed.
    """
    n, model = int(architecture["hidden_size"]), architecture["model"]
    gate = 0.0
    if model == "skipw":
        window = int(architecture["window"])
        width = n + (architecture.get("time_feature", "steps") != "none")
        seen = columns(architecture.get("gate_inputs", ()), window, int(architecture["input_size"]))
        width += sum(seen.values())
        own = bool(architecture.get("gate_windows", 0))  # biases of their own: one more addition a slot
        gate = window * (2 * width + own) * -(-length // window)
    elif model in ("thrrnn", "skiprnn"):
        gate = 2 * n * processed
    return processed * input_flops(architecture) + gate + _head_flops(architecture)


def dense_flops(architecture: Mapping[str, Any], length: float) -> float:
    """Of a sequence, by a dense model with the same layers and head."""
    return length * input_flops(architecture) + _head_flops(architecture)
