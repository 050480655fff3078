"""The state that a sequence leaves behind and the next chunk starts from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

__all__ = ["LayerState", "SkipState", "gate_view", "output_of"]

LayerState: TypeAlias = Tensor | tuple[Tensor, ...]
"""One layer's state: a Float[B, N], or a tuple whose first is the output and whose last drives the gate."""


def output_of(state: LayerState) -> Tensor:
    """What a layer hands upwards: h."""
    return state if isinstance(state, Tensor) else state[0]


def gate_view(state: LayerState) -> Tensor:
    """What drives the gate: h of a GRU, c of an LSTM."""
    return state if isinstance(state, Tensor) else state[-1]


def parts(state: LayerState) -> tuple[Tensor, ...]:
    """A layer's state as a tuple of tensors."""
    return (state,) if isinstance(state, Tensor) else state


def like(template: LayerState, tensors: tuple[Tensor, ...]) -> LayerState:
    """``tensors`` in the form of ``template``."""
    return tensors[0] if isinstance(template, Tensor) else tensors


@dataclass(frozen=True)
class SkipState:
    """Everything that the inputs still to come depend on, for each row of a batch. B rows, window L, N hidden units.

    Attributes:
        layers: one ``LayerState`` a layer, Float[B, N] each.
        step: Long[B], inputs seen so far, t.
        offset: Long[B], t mod L (eq. 8); 0 for models without a window.
        used: Long[B], inputs processed in the current window.
        last_update: Long[B], index of the last input processed, -1 before any.
        importance: Float[B, L], ũ_W of the current window; None for models without a window.
        selected: Bool[B, L], the selection of the current window.
        noise: Float[B, L], the current window's noise for the selectors that draw; else None.
        accumulated, increment: Float[B], ũ_t and Δũ_{t-1} of ThrRNN and SkipRNN; else None.
        budget, threshold: Long[B] and Float64[B], K and thr under which ``selected`` was made; -1 where the selection
            has to be made anew. None for models without a window.
        recent: Bool[B, L - 1], which of the last L - 1 inputs were processed, the latest last; None unless the bound
            is over any L inputs (``ops.any_window``).
        last_input: Float[B, D], the last input processed, 0 before any; None unless the gate sees it.
    """

    layers: tuple[LayerState, ...]
    step: Tensor
    offset: Tensor
    used: Tensor
    last_update: Tensor
    importance: Tensor | None = None
    selected: Tensor | None = None
    noise: Tensor | None = None
    accumulated: Tensor | None = None
    increment: Tensor | None = None
    budget: Tensor | None = None
    threshold: Tensor | None = None
    recent: Tensor | None = None
    last_input: Tensor | None = None

    @property
    def batch_size(self) -> int:
        return self.step.shape[0]

    def detach(self) -> SkipState:
        """The same values, cut from the graph (truncated backpropagation)."""
        return self._map(lambda tensor: tensor.detach())

    def to(self, device: torch.device | str) -> SkipState:
        """The same values on another device."""
        return self._map(lambda tensor: tensor.to(device))

    def rows(self, index: Tensor) -> SkipState:
        """The rows ``index`` (Long[b]) of the batch."""
        return self._map(lambda tensor: tensor[index])

    @classmethod
    def joined(cls, states: Sequence[SkipState]) -> SkipState:
        """The rows of several states of the same model, one after the other."""
        first = states[0]
        changes: dict[str, object] = {
            field.name: torch.cat([getattr(state, field.name) for state in states])
            for field in dataclasses.fields(cls)
            if isinstance(getattr(first, field.name), Tensor)
        }
        layers = [
            like(same[0], tuple(torch.cat(part) for part in zip(*map(parts, same), strict=True)))
            for same in zip(*(state.layers for state in states), strict=True)
        ]
        return dataclasses.replace(first, layers=tuple(layers), **changes)  # type: ignore[arg-type]

    def _map(self, function) -> SkipState:  # type: ignore[no-untyped-def]
        changes: dict[str, object] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                changes[field.name] = function(value)
        changes["layers"] = tuple(
            like(layer, tuple(function(part) for part in parts(layer))) for layer in self.layers
        )
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    @classmethod
    def initial(
        cls,
        layers: tuple[LayerState, ...],
        *,
        window: int | None,
        accumulates: bool,
        draws: bool,
        recalls: bool = False,
        remembered: int | None = None,
    ) -> SkipState:
        """The state before t = 0 for these layer states; ``remembered`` is D where the gate sees the last input."""
        first = output_of(layers[0])
        batch = first.shape[0]
        zeros = torch.zeros(batch, dtype=torch.long, device=first.device)
        grid = None if window is None else first.detach().new_zeros(batch, window)
        ones = first.detach().new_ones(batch) if accumulates else None
        return cls(
            layers=layers,
            step=zeros,
            offset=zeros,
            used=zeros,
            last_update=zeros - 1,
            importance=grid,
            selected=None if grid is None else grid.bool(),
            noise=grid if draws else None,
            accumulated=ones,
            increment=ones,
            budget=None if grid is None else zeros - 1,
            threshold=None if grid is None else zeros.double() - 1,
            recent=grid[:, 1:].bool() if grid is not None and recalls else None,
            last_input=None if remembered is None else first.detach().new_zeros(batch, remembered),
        )
