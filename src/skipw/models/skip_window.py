"""SkipW (Mayet et al., ICLR 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from skipw import equations
from skipw.equations import SELECTORS
from skipw.errors import ShapeError
from skipw.gate_budgets import gate_of
from skipw.gate_budgets import problem as gate_budgets_problem
from skipw.gate_inputs import GATE_INPUTS, columns, problem
from skipw.models.architecture import BOUNDS, TIME_FEATURES
from skipw.models.cells import CellSpec
from skipw.models.gate_layer import new_gate, repeated, widened
from skipw.models.noise import draw_noise
from skipw.models.recurrent import Recurrent
from skipw.models.setting_checks import checked_count, checked_factor, checked_positive, checked_size
from skipw.operating_point import OperatingPoint, Schedule
from skipw.ops.call import Gate, GateKind
from skipw.ops.selection_gradient import SELECTION_GRADIENTS
from skipw.ops.state import SkipState, gate_view

__all__ = ["SkipW"]


class SkipW(Recurrent):
    """A recurrent network that processes at most K of every L inputs, strictly (section 3, eqs. 5-10).

    At a window's first input the gate computes the importance of all its L inputs from the state; the K most
    important ones that reach the threshold are processed, the others are never looked at. K and the threshold are
    chosen at each call (``at=``), also in mid-sequence.

    Args:
        cell: "gru", "lstm", "fastgrnn" or a factory ``f(input_size, hidden_size)`` of a module
            ``cell(x, state) -> state``.
        input_size: D.
        hidden_size: N.
        num_layers: cells on top of each other, under one gate that the top layer drives.
        window: L >= 1.
        time_feature: what the gate sees besides the state: "steps" (t), "window" (the window's index),
            "since_update" (inputs since the last one processed), or "none" (ablation D.4.1).
        time_scale: the time feature is divided by this.
        select: which inputs of a window are kept, "topk" (eq. 9) or a variant of Appendix H: "sample", "random",
            "first", "last", "first_above".
        initial_state: "trainable" or "zeros".
        gate_state_gradient: factor on the gradient that the gate sends into the state.
        gate_bias: initial bias of the gate; 1 starts by processing nearly everything.
        selection_gradient: how u_t's gradient comes back through the selection while training at K < L: "identity"
            (the paper's), "zero_sum" or "soft" (``skipw.ops.selection_gradient``).
        selection_softness: ε of "soft", in units of importance.
        bound: "aligned", at most K of each window (the paper's); "any", at most K of any L consecutive inputs
            (``skipw.ops.any_window`` has its equations). May be changed after training: ``rnn.bound = "any"``.
        gate_inputs: what the gate sees beside state and time feature, none by default (docs/gates.md), out of
            "since_update" (inputs since the last one processed, divided by ``time_scale``), "importance" (ũ_W of the
            window before, 0 at the first), "input" (the last input processed, 0 before any) and "budget" (K in force).
            Their columns of the gate's weight start at 0. Gradients reach the importance before and the input in full.
        gate_windows: how many windows of a sequence have biases of their own in the gate, beside b_W; the last one
            serves the windows after it, too. 0, the default, is none (docs/gates.md). They are columns of the gate's
            weight, behind those of ``gate_inputs``, and start at 0.
        gate_budgets: ascending budgets below L, none by default: a window that opens under K takes the gate of the
            smallest of them that is at least K, and the first gate where there is none (docs/budget-gates.md). All
            start alike; ``gate`` holds the first one's L rows and then those of each.
        largest_budget: the largest K that the model is meant for; a larger one, and none given, counts as this. None is
            L. May be changed after training.

    Raises:
        ShapeError: for a size below 1 or an unknown setting.
    """

    def __init__(
        self,
        cell: CellSpec,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        window: int,
        time_feature: str = "steps",
        time_scale: float = 100.0,
        select: str = "topk",
        initial_state: str = "trainable",
        gate_state_gradient: float = 1.0,
        gate_bias: float = 1.0,
        selection_gradient: str = "identity",
        selection_softness: float = 0.1,
        bound: str = "aligned",
        gate_inputs: Sequence[str] = (),
        gate_windows: int = 0,
        gate_budgets: Sequence[int] = (),
        largest_budget: int | None = None,
    ) -> None:
        super().__init__(cell, input_size, hidden_size, num_layers, initial_state=initial_state)
        window = checked_size(window, "window")
        if time_feature not in TIME_FEATURES:
            raise ShapeError(f"time_feature must be one of {', '.join(TIME_FEATURES)}, got {time_feature!r}.")
        if select not in SELECTORS:
            raise ShapeError(f"select must be one of {', '.join(SELECTORS)}, got {select!r}.")
        if selection_gradient not in SELECTION_GRADIENTS:
            known = ", ".join(SELECTION_GRADIENTS)
            raise ShapeError(f"selection_gradient must be one of {known}, got {selection_gradient!r}.")
        self.selection_gradient = selection_gradient
        self.selection_softness = checked_positive(selection_softness, "selection_softness")
        self.bound = bound
        self._window, self.time_feature, self.select = window, time_feature, select
        self.time_scale = checked_positive(time_scale, "time_scale")
        self.gate_state_gradient = checked_factor(gate_state_gradient, "gate_state_gradient")
        if wrong := problem(gate_inputs, time_feature):
            raise ShapeError(f"gate_inputs must be {wrong}, got {gate_inputs!r}.")
        self.gate_inputs = tuple(name for name in GATE_INPUTS if name in gate_inputs)
        self.gate_windows = checked_count(gate_windows, "gate_windows")
        more = sum(columns(self.gate_inputs, window, self.input_size, self.gate_windows).values())
        if wrong := gate_budgets_problem(gate_budgets, window):
            raise ShapeError(f"gate_budgets must be {wrong}, got {gate_budgets!r}.")
        self.gate_budgets = tuple(gate_budgets)
        self.largest_budget = largest_budget
        gate = widened(new_gate(self.hidden_size + (time_feature != "none"), window, gate_bias), more)
        self.gate = repeated(gate, 1 + len(self.gate_budgets))

    @property
    def window(self) -> int:
        """L, the inputs that the gate decides on at a time."""
        return self._window

    def extra_repr(self) -> str:
        return (
            f"window={self._window}, time_feature={self.time_feature!r}, time_scale={self.time_scale:g}, "
            f"select={self.select!r}, gate_state_gradient={self.gate_state_gradient:g}"
            + (f", bound={self._bound!r}" if self._recalls else "")
            + (f", gate_inputs={self.gate_inputs!r}" if self.gate_inputs else "")
            + (f", gate_windows={self.gate_windows}" if self.gate_windows else "")
            + (f", gate_budgets={self.gate_budgets!r}" if self.gate_budgets else "")
            + (f", largest_budget={self.largest_budget}" if self.largest_budget is not None else "")
        )

    def window_importance(self, state: SkipState, budget: int | None = None) -> Tensor:
        """ũ_W of a window that opens in this state (eqs. 6 and 7).

        Args:
            state: what a call left behind, B rows.
            budget: K in force, where the gate sees it or budgets have gates of their own; None is L.
        Returns:
            Float[B, L], in [0, 1].
        """
        assert state.importance is not None
        in_force = self._in_force(budget)
        gate = self._gate_under(in_force)
        time = gate.time(state.step, state.last_update)
        extras = gate.extras(state.step, state.last_update, state.importance, state.last_input, in_force)
        return equations.window_importance(gate_view(state.layers[-1]), time, gate.weight, gate.bias, extras)

    def follow(
        self,
        x: Tensor,
        inputs: Tensor,
        *,
        budget: int | None = None,
        state_gradient: float | None = None,
        backend: str = "auto",
    ) -> tuple[Tensor, Tensor]:
        """Process the same inputs of every sequence, whatever the gate says, and ask it at every window.

        Args:
            x: Float[B, T, D], sequences of one length.
            inputs: Long[m], which inputs, ascending, 0 <= input < T.
            budget: K whose gate is asked, where budgets have gates of their own; None is L.
            state_gradient: factor on the gradient that the logits send into the states; None is the gate's own.
            backend: as in ``forward``.
        Returns:
            output: Float[B, N], after the last of them.
            logits: Float[B, ⌈T / L⌉, L], the argument of σ in eq. 6 where each window opens.
        Raises:
            ShapeError: for cells of more than one tensor (LSTM: h alone is known at every step), with ``gate_inputs``.
            BudgetError: if the budget exceeds the window.
        """
        if self._parts > 1 or self.gate_inputs:
            raise ShapeError("follow needs cells of one tensor, such as gru, and a gate without gate_inputs.")
        gate, (batch, steps, _) = self._gate_under(self._in_force(budget)), x.shape
        states = gate_view(self._start(None, x).layers[-1]).unsqueeze(1)
        if len(inputs):
            all_of_them = inputs.new_ones((batch, len(inputs)), dtype=torch.bool)
            ran = self(x[:, inputs].contiguous(), updates=all_of_them, backend=backend)
            states = torch.cat([states, ran.output], dim=1)
        opened = torch.arange(0, steps, self._window, device=x.device)
        before = torch.searchsorted(inputs, opened)
        seen = states[:, before]
        factor = gate.state_gradient if state_gradient is None else state_gradient
        seen = factor * seen + (1 - factor) * seen.detach()
        last = torch.cat([inputs.new_full((1,), -1), inputs])[before]
        if (time := gate.time(opened, last)) is not None:
            seen = torch.cat([seen, time.view(1, -1, 1).expand(batch, -1, 1)], dim=-1)
        if (own := gate.extras(opened, last, seen, None, 0)) is not None:
            seen = torch.cat([seen, own.expand(batch, -1, -1)], dim=-1)
        return states[:, -1], torch.nn.functional.linear(seen, gate.weight, gate.bias)

    @property
    def bound(self) -> str:
        """ "aligned" or "any": which L inputs hold at most K processed ones."""
        return self._bound

    @bound.setter
    def bound(self, value: str) -> None:
        if value not in BOUNDS:
            raise ShapeError(f"bound must be one of {', '.join(BOUNDS)}, got {value!r}.")
        self._bound = value

    @property
    def largest_budget(self) -> int | None:
        """The largest K that is in force, whatever is asked for; None is L."""
        return self._largest_budget

    @largest_budget.setter
    def largest_budget(self, value: int | None) -> None:
        if value is not None:
            value = checked_size(value, "largest_budget")
            if value > self._window:
                raise ShapeError(f"largest_budget must be at most the window of {self._window}, got {value}.")
        self._largest_budget = value

    @property
    def _draws(self) -> bool:
        return self.select in ("sample", "random")

    @property
    def _recalls(self) -> bool:
        return self._bound == "any"

    @property
    def _remembered(self) -> int | None:
        return self.input_size if "input" in self.gate_inputs else None

    def _gate(self) -> Gate:
        if self._recalls and self.selection_gradient != "identity":
            raise ShapeError(
                f"selection_gradient={self.selection_gradient!r} knows the bound of aligned windows only; with "
                "bound='any' use selection_gradient='identity'."
            )
        return Gate(
            kind=GateKind.WINDOW,
            weight=self._rows(self.gate.weight, 0),
            bias=self._rows(self.gate.bias, 0),
            window=self._window,
            time_feature=self.time_feature,
            time_scale=self.time_scale,
            select=self.select,
            bound=self._bound,
            state_gradient=self.gate_state_gradient,
            selection_gradient=self.selection_gradient,
            selection_softness=self.selection_softness,
            inputs=self.gate_inputs,
            windows=self.gate_windows,
        )

    def _budget_gates(self, gate: Gate) -> tuple[tuple[int, Gate], ...]:
        return tuple(
            (most, replace(gate, weight=self._rows(self.gate.weight, i), bias=self._rows(self.gate.bias, i)))
            for i, most in enumerate(self.gate_budgets, start=1)
        )

    def _in_force(self, budget: int | None) -> int:
        """K, where this is what was asked for."""
        return OperatingPoint(budget).held_to(self._window, self._largest_budget).budget_in(self._window)

    def _gate_under(self, budget: int) -> Gate:
        """The gate of a window that opens under K."""
        first = self._gate()
        return [first, *(own for _, own in self._budget_gates(first))][gate_of(budget, self.gate_budgets)]

    def _rows(self, parameter: Tensor, gate: int) -> Tensor:
        """One gate's L rows."""
        return parameter[gate * self._window : (gate + 1) * self._window] if self.gate_budgets else parameter

    def _checked_schedule(self, at: OperatingPoint | Schedule | None) -> Schedule:
        return Schedule.of(at).held_to(self._window, self._largest_budget)

    def _noise(
        self, state: SkipState, lengths: Tensor, x: Tensor, window: int, generator: torch.Generator | None
    ) -> Tensor | None:
        return draw_noise(state, lengths, x, window, self.select, generator) if self._draws else None
