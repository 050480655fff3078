"""How many floating-point operations the inputs that are processed cost at least, products only."""

from __future__ import annotations

from skipw.benchmark.workloads import Workload
from skipw.models.architecture import GATES

__all__ = ["inference_flops", "training_flops"]


def inference_flops(workload: Workload, inputs: float) -> float:
    """FLOPs of the matrix products of a forward pass over ``inputs`` processed inputs (rows times steps).

    A layer with G gates (GRU 3, LSTM 4, FastGRNN 1), N units and D inputs computes W_ih x and W_hh h for each processed
    input:

        forward = 2 G N (D + N)

    Elementwise work, biases and the gate (2 L (N + 1) a window) are left out: this is a lower bound.
    """
    return inputs * sum(2 * _gates(workload) * workload.hidden_size * width for width in _widths(workload))


def training_flops(workload: Workload, inputs: float) -> float:
    """FLOPs of the matrix products of a training step over ``inputs`` processed inputs.

    To the forward products, 2 G N (D + N), the backward pass adds for each processed input

        gradient of the state    2 G N N
        gradient of the input    2 G N D, for layers above the first only (data needs no gradient)
        gradient of the weights  2 G N (D + N)

    For one GRU layer that is 18 N² + 12 N D, for one LSTM layer 24 N² + 16 N D; a GRU layer above another of the
    same width adds 36 N². Left out are elementwise work, the gate, and what a backend computes for skipped inputs
    as well (the input products of layers above the first): this is a lower bound for every exact method.
    """
    n = workload.hidden_size
    state = 2 * _gates(workload) * n * n * workload.num_layers
    into_lower_layers = 2 * _gates(workload) * n * n * (workload.num_layers - 1)
    return 2 * inference_flops(workload, inputs) + inputs * (state + into_lower_layers)


def _gates(workload: Workload) -> int:
    return GATES[workload.cell]


def _widths(workload: Workload) -> list[int]:
    """D + N of each layer."""
    n = workload.hidden_size
    return [workload.input_size + n] + [2 * n] * (workload.num_layers - 1)
