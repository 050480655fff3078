"""What all recurrent models here share: cells, the initial state, checks of a call, and the way to a backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from skipw import equations
from skipw.errors import BudgetError, ShapeError
from skipw.models.call_checks import (
    check_counters,
    check_generator,
    check_input,
    check_kind,
    checked_lengths,
    checked_updates,
)
from skipw.models.cells import CellSpec, make_cell, state_parts
from skipw.models.setting_checks import checked_size
from skipw.operating_point import OperatingPoint, Schedule
from skipw.ops import dispatch
from skipw.ops.call import Call, Gate
from skipw.ops.state import LayerState, SkipState, parts

__all__ = ["Recurrent", "SkipOutput"]


@dataclass(frozen=True)
class SkipOutput:
    """What a model returns. B sequences of T inputs, N hidden units.

    Attributes:
        output: Float[B, T, N] of the top layer, or Float[B, N] with ``outputs="last"``; repeats beyond a length.
        updates: Bool[B, T], the inputs that were processed.
        importance: Float[B, T], the value that each gate compared.
        input_cost: Float[B], Σ_t u_t (eq. 11), differentiable.
        inputs_processed: Float[B], the share of each sequence's inputs that was processed, in [0, 1].
        state: where each row ends; hand it in as ``state=`` to go on.
    """

    output: Tensor
    updates: Tensor
    importance: Tensor
    input_cost: Tensor
    inputs_processed: Tensor
    state: SkipState


class Recurrent(nn.Module, ABC):
    """A stack of cells with one shared gate. Use SkipW, ThrRNN, SkipRNN or DenseRNN.

    Args:
        cell: "gru", "lstm", "fastgrnn" or a factory ``f(input_size, hidden_size)`` of a module
            ``cell(x, state) -> state``.
        input_size: D.
        hidden_size: N.
        num_layers: cells on top of each other.
        initial_state: "trainable" (one learnt N(0, 1)-initialised state) or "zeros".

    Raises:
        ShapeError: for sizes below 1 or an unknown setting.
    """

    def __init__(
        self,
        cell: CellSpec,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        initial_state: str = "trainable",
    ) -> None:
        super().__init__()
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        input_size, hidden_size, num_layers = (checked_size(size, name) for name, size in sizes.items())
        if initial_state not in ("trainable", "zeros"):
            raise ShapeError(f"initial_state must be 'trainable' or 'zeros', got {initial_state!r}.")
        self.cell = cell
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        widths = [input_size] + [hidden_size] * (num_layers - 1)
        self.cells = nn.ModuleList(make_cell(cell, width, hidden_size) for width in widths)
        self._parts = state_parts(self.cells[0], input_size, hidden_size)
        self.initial_state: nn.Parameter | None = None
        self.initial_cell: nn.Parameter | None = None
        if initial_state == "trainable":
            self.initial_state = nn.Parameter(torch.randn(num_layers, 1, hidden_size))
            if self._parts > 1:
                self.initial_cell = nn.Parameter(torch.randn(num_layers, 1, hidden_size))

    @property
    def window(self) -> int | None:
        """L, or None for a model without windows."""
        return None

    @abstractmethod
    def _gate(self) -> Gate | None:
        """The gate of this model; None processes every input."""

    def _budget_gates(self, gate: Gate) -> tuple[tuple[int, Gate], ...]:
        """The gates of small budgets, each as ``gate`` but for its weights, after the largest budget of each."""
        return ()

    def _checked_schedule(self, at: OperatingPoint | Schedule | None) -> Schedule:
        """``at`` as a schedule that this model can follow."""
        if at is not None:
            raise BudgetError(f"{type(self).__name__} has no operating points; call it without `at`.")
        return Schedule.of(None)

    def _noise(
        self, state: SkipState, lengths: Tensor, x: Tensor, window: int, generator: torch.Generator | None
    ) -> Tensor | None:
        """Float[W, B, L] for selectors that draw; None for the others."""
        return None

    @property
    def _draws(self) -> bool:
        return False

    @property
    def _accumulates(self) -> bool:
        return False

    @property
    def _recalls(self) -> bool:
        """Whether a state has to hold which of the last L - 1 inputs were processed."""
        return False

    @property
    def _remembered(self) -> int | None:
        """D where the gate sees the last input that was processed, so that a state has to hold it."""
        return None

    def forward(
        self,
        x: Tensor,
        *,
        at: OperatingPoint | Schedule | None = None,
        lengths: Tensor | Sequence[int] | None = None,
        state: SkipState | Tensor | tuple[Tensor, Tensor] | None = None,
        updates: Tensor | None = None,
        backend: str = "auto",
        outputs: str = "all",
        generator: torch.Generator | None = None,
    ) -> SkipOutput:
        """Run a batch of sequences.

        Args:
            x: Float[B, T, D], batch first.
            at: operating point, or a schedule that counts from this call's first input.
            lengths: Long[B], 0 <= length <= T; inputs beyond are never processed. Default: all T.
            state: where to go on, a ``SkipState``; or torch.nn's form of the state before t = 0, Float[layers, B, N]
                (LSTM: a pair of them).
            updates: Bool[B, T]; process exactly those inputs, without gates.
            backend: "reference", "compact", "native", "triton" or "auto".
            outputs: "all", or "last" to keep only the last output.
            generator: what ``select="sample"`` and ``"random"`` draw from.
        Returns:
            A ``SkipOutput``.
        Raises:
            ShapeError: for a wrong shape, dtype or device of x, lengths, state or updates.
            BudgetError: for an operating point that the model cannot follow.
            BackendUnavailableError: if the named backend cannot serve this call.
        """
        check_input(x, self.input_size, self._a_weight(x), outputs)
        check_generator(generator)
        full = checked_lengths(lengths, x)
        mask = checked_updates(updates, at, x)
        schedule = Schedule.of(None) if mask is not None else self._checked_schedule(at)
        start = self._start(state, x)
        gate = None if mask is not None else self._gate()
        noise = None
        if gate is not None and self.window is not None:
            noise = self._noise(start, full, x, self.window, generator)
        call = Call(
            x=x,
            cells=tuple(self.cells),
            gate=gate,
            state=start,
            lengths=full,
            schedule=schedule,
            updates=mask,
            noise=noise,
            window=self.window,
            outputs=outputs,
            budget_gates=() if gate is None else self._budget_gates(gate),
        )
        result = dispatch.run(call, backend)
        cost = equations.input_cost(result.updates)
        return SkipOutput(
            output=result.output.clone()
            if outputs == "last"
            else result.output,  # never the state's own memory
            updates=result.updates.detach().bool(),
            importance=result.importance,
            input_cost=cost,
            inputs_processed=cost.detach() / (max(x.shape[1], 1) if lengths is None else full.clamp(min=1)),
            state=result.state,
        )

    def _a_weight(self, x: Tensor) -> Tensor:
        """Any weight; x itself where the cells have none."""
        own = self.cells[0].__dict__["_parameters"]  # parameters() walks through all modules
        for weight in own.values():
            if weight is not None:
                return weight
        return next(self.parameters(), x)

    def _start(self, state: Any, x: Tensor) -> SkipState:
        """The state that a call starts from."""
        batch = x.shape[0]
        if isinstance(state, SkipState):
            self._check_state(state, x)
            return state
        if state is None:
            layers = tuple(self._initial_layer(layer, batch, x) for layer in range(self.num_layers))
        else:
            layers = self._given_layers(state, x)
        return SkipState.initial(
            layers,
            window=self.window,
            accumulates=self._accumulates,
            draws=self._draws,
            recalls=self._recalls,
            remembered=self._remembered,
        )

    def _initial_layer(self, layer: int, batch: int, x: Tensor) -> LayerState:
        zeros = x.new_zeros(batch, self.hidden_size)
        first = zeros if self.initial_state is None else self.initial_state[layer].expand(batch, -1)
        if self._parts == 1:
            return first
        last = zeros if self.initial_cell is None else self.initial_cell[layer].expand(batch, -1)
        return (first, *[zeros] * (self._parts - 2), last)

    def _given_layers(self, state: Any, x: Tensor) -> tuple[LayerState, ...]:
        given = tuple(state) if isinstance(state, tuple | list) else (state,)
        wanted = (self.num_layers, x.shape[0], self.hidden_size)
        fits = all(isinstance(part, Tensor) and part.shape == wanted for part in given)
        if len(given) != self._parts or not fits:
            form = f"{'' if self._parts == 1 else f'{self._parts} tensors '}Float{list(wanted)}"
            shapes = [list(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in given]
            raise ShapeError(f"state must be a SkipState or {form} (layers first), got {shapes}.")
        check_kind(given, x)
        if self._parts == 1:
            return tuple(given[0].unbind(0))
        return tuple(zip(*(part.unbind(0) for part in given), strict=True))

    def _check_state(self, state: SkipState, x: Tensor) -> None:
        given = tuple(part for layer in state.layers for part in parts(layer))
        expected = {
            "rows": x.shape[0],
            "layers": self.num_layers,
            "tensors a layer": self._parts,
            "hidden_size": self.hidden_size,
            "window": self.window,
            "accumulated value": self._accumulates,
            "noise": self._draws,
            "recent inputs": self._recalls,
            "width of the last input": self._remembered,
        }
        came = {
            "rows": state.batch_size,
            "layers": len(state.layers),
            "tensors a layer": len(parts(state.layers[0])),
            "hidden_size": given[0].shape[-1],
            "window": None if state.importance is None else state.importance.shape[-1],
            "accumulated value": state.accumulated is not None,
            "noise": state.noise is not None,
            "recent inputs": state.recent is not None,
            "width of the last input": None if state.last_input is None else state.last_input.shape[-1],
        }
        wrong = [
            f"{name} {value}, got {came[name]}" for name, value in expected.items() if came[name] != value
        ]
        if wrong:
            raise ShapeError(f"state was left by another kind of call: expected {'; '.join(wrong)}.")
        check_kind(given, x)
        check_counters(state, x)

    @classmethod
    def from_dense(cls, dense: nn.GRU | nn.LSTM, **settings: Any) -> Self:
        """A model with the weights of a ``torch.nn.GRU`` or ``torch.nn.LSTM``; the gate is fresh.

        Args:
            dense: any number of layers; one direction, no projection.
            settings: passed on to the constructor (``window=`` for SkipW); ``initial_state`` defaults to "zeros".
        Raises:
            ShapeError: if ``dense`` is bidirectional, has projections, or is something else.
        """
        if not isinstance(dense, nn.GRU | nn.LSTM):
            raise ShapeError(f"from_dense takes a torch.nn.GRU or LSTM, got {type(dense).__name__}.")
        if dense.bidirectional:
            raise ShapeError(
                "from_dense takes layers of one direction, this one is bidirectional: inputs are skipped in their "
                "order, one by one; train a layer with bidirectional=False."
            )
        if dense.proj_size:
            raise ShapeError(
                f"from_dense takes layers without projections, this one has proj_size={dense.proj_size}; train one "
                "with proj_size=0."
            )
        settings.setdefault("initial_state", "zeros")
        kind = "gru" if isinstance(dense, nn.GRU) else "lstm"
        model = cls(kind, dense.input_size, dense.hidden_size, dense.num_layers, **settings)
        first = next(dense.parameters())
        model.to(device=first.device, dtype=first.dtype)
        with torch.no_grad():
            for layer, cell in enumerate(model.cells):
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    source = getattr(dense, f"{name}_l{layer}", None)
                    target = getattr(cell, name)
                    target.zero_() if source is None else target.copy_(source)
        return model

    def to_dense(self) -> nn.GRU | nn.LSTM:
        """The cells as a ``torch.nn.GRU`` or ``torch.nn.LSTM`` (batch first), without gate and initial state.

        Raises:
            ShapeError: if the cells are of another kind.
        """
        if self.cell not in ("gru", "lstm"):
            raise ShapeError(
                f"to_dense needs GRU or LSTM cells, this model wraps {type(self.cells[0]).__name__}."
            )
        kind = nn.GRU if self.cell == "gru" else nn.LSTM
        dense = kind(self.input_size, self.hidden_size, self.num_layers, batch_first=True)
        weight = next(self.cells.parameters())
        dense.to(device=weight.device, dtype=weight.dtype)
        with torch.no_grad():
            for layer, cell in enumerate(self.cells):
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    getattr(dense, f"{name}_l{layer}").copy_(getattr(cell, name))
        return dense
