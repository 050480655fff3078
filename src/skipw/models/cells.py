"""Cells: which one a model wraps, how it begins, and what its state looks like."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from skipw.errors import ShapeError
from skipw.fastgrnn import FastGRNNCell

__all__ = ["CellSpec", "make_cell", "state_parts"]

CellSpec: TypeAlias = str | Callable[[int, int], nn.Module]
"""``"gru"``, ``"lstm"``, ``"fastgrnn"``, or a factory ``f(input_size, hidden_size)`` of a module
``cell(x, state) -> state``."""


def make_cell(cell: CellSpec, input_size: int, hidden_size: int) -> nn.Module:
    """A cell of torch.nn, begun as SkipRNN's code does, a FastGRNN, or the factory's own.

    GRU gates (reset and update) and the LSTM's forget gate have a bias of 1, all other biases are 0; a weight keeps
    torch's own initialisation.

    Raises:
        ShapeError: if ``cell`` is neither a known name nor a factory of modules.
    """
    if cell == "gru":
        gru = nn.GRUCell(input_size, hidden_size)
        _set_bias(gru, slice(0, 2 * hidden_size))
        return gru
    if cell == "lstm":
        lstm = nn.LSTMCell(input_size, hidden_size)
        _set_bias(lstm, slice(hidden_size, 2 * hidden_size))
        return lstm
    if cell == "fastgrnn":
        return FastGRNNCell(input_size, hidden_size)
    if isinstance(cell, str) or not callable(cell):
        raise ShapeError(
            f"cell must be 'fastgrnn', 'gru', 'lstm' or a factory f(input_size, hidden_size), got {cell!r}."
        )
    module = cell(input_size, hidden_size)
    if not isinstance(module, nn.Module):
        raise ShapeError(f"the cell factory must return a torch.nn.Module, got {type(module).__name__}.")
    return module


@torch.no_grad()
def _set_bias(cell: nn.GRUCell | nn.LSTMCell, ones: slice) -> None:
    cell.bias_ih.zero_()
    cell.bias_hh.zero_()
    cell.bias_ih[ones] = 1.0


def state_parts(cell: nn.Module, input_size: int, hidden_size: int) -> int:
    """How many tensors a cell's state has: 1 for a plain tensor, else the length of the tuple. Found by trying.

    Raises:
        ShapeError: if the cell accepts neither a Float[1, N] nor a tuple of two to four as its state.
    """
    if isinstance(cell, nn.LSTMCell):
        return 2
    example = next(iter(cell.parameters()), torch.zeros(()))
    x = torch.zeros(1, input_size, dtype=example.dtype, device=example.device)
    zero = x.new_zeros(1, hidden_size)
    failures = []
    for state in (zero, (zero,) * 2, (zero,) * 3, (zero,) * 4):
        try:
            with torch.no_grad():
                after = cell(x, state)
        except (TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
            failures.append(str(error))
            continue
        if isinstance(after, Tensor) == isinstance(state, Tensor) and _count(after) == _count(state):
            return _count(state)
    raise ShapeError(
        f"a cell maps (x Float[B, {input_size}], state) to a state of the same form, a Float[B, {hidden_size}] "
        f"or a tuple of two to four of them; {type(cell).__name__} did neither: "
        f"{'; '.join(failures) or 'the form changed'}."
    )


def _count(state: Tensor | tuple[Tensor, ...]) -> int:
    return 1 if isinstance(state, Tensor) else len(state)
