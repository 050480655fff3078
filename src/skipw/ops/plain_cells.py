"""The cells whose equations the backends know: those that they need not call."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from skipw.fastgrnn import FastGRNNCell
from skipw.ops.call import Call

__all__ = ["PlainCell", "plain_cell"]


@dataclass(frozen=True)
class PlainCell:
    """One kind of cell.

    Attributes:
        name: "gru", "lstm" or "fastgrnn".
        weights: its parameters, W and U first, in the order in which backends pass them on.
        blocks: of N rows in W and U.
        parts: tensors of its state.
    """

    name: str
    weights: tuple[str, ...]
    blocks: int
    parts: int = 1

    def shapes(self, width: int, hidden: int) -> tuple[tuple[int, ...], ...]:
        """Of the weights of a layer that reads ``width`` values, in their order."""
        rows = self.blocks * hidden
        if self.name == "fastgrnn":
            return ((rows, width), (rows, hidden), (hidden,), (hidden,), (1,), (1,))
        return ((rows, width), (rows, hidden), (rows,), (rows,))


_BIASES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_KINDS: dict[type[nn.Module], PlainCell] = {
    nn.GRUCell: PlainCell("gru", _BIASES, 3),
    nn.LSTMCell: PlainCell("lstm", _BIASES, 4, 2),
    FastGRNNCell: PlainCell("fastgrnn", ("weight_ih", "weight_hh", "bias_z", "bias_h", "zeta", "nu"), 1),
}


def plain_cell(call: Call) -> PlainCell | None:
    """What every layer of the call is, exactly; None where layers differ, or a cell has to be called itself.

    That is so with hooks (pruning makes its weights in one), with a ``forward`` of its own, under autocast, and without
    biases.
    """
    kind = type(call.cells[0])
    if kind not in _KINDS or torch.is_autocast_enabled(call.x.device.type):
        return None
    return _KINDS[kind] if all(_is_plain(cell, kind) for cell in call.cells) else None


def _is_plain(cell: nn.Module, kind: type[nn.Module]) -> bool:
    hooks = cell._forward_pre_hooks or cell._forward_hooks or cell._backward_hooks or cell._backward_pre_hooks
    own = hooks or "forward" in vars(cell)
    return type(cell) is kind and bool(getattr(cell, "bias", True)) and not own
