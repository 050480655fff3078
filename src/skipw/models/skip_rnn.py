"""The models that SkipW is compared with: ThrRNN and SkipRNN."""

from __future__ import annotations

from skipw.errors import BudgetError
from skipw.models.cells import CellSpec
from skipw.models.gate_layer import new_gate
from skipw.models.recurrent import Recurrent
from skipw.models.setting_checks import checked_factor
from skipw.operating_point import OperatingPoint, Schedule
from skipw.ops.call import Gate, GateKind

__all__ = ["SkipRNN", "ThrRNN"]


class ThrRNN(Recurrent):
    """A recurrent network that skips inputs until an accumulated value reaches the threshold (eqs. 1-4).

    Lambert et al., 2020, as described by Mayet et al., section 2.1.1. The threshold is chosen at each call; its cost
    has no upper limit, so a budget is refused. Weights load into and from ``SkipRNN``.

    Args:
        cell, input_size, hidden_size, num_layers, initial_state: see ``SkipW``.
        gate_state_gradient: factor on the gradient that the gate sends into the state.
        gate_bias: initial bias of the gate; 1 starts by processing nearly everything.
    """

    def __init__(
        self,
        cell: CellSpec,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        initial_state: str = "trainable",
        gate_state_gradient: float = 1.0,
        gate_bias: float = 1.0,
    ) -> None:
        super().__init__(cell, input_size, hidden_size, num_layers, initial_state=initial_state)
        self.gate_state_gradient = checked_factor(gate_state_gradient, "gate_state_gradient")
        self.gate = new_gate(hidden_size, 1, gate_bias)

    @property
    def _accumulates(self) -> bool:
        return True

    def _gate(self) -> Gate:
        return Gate(
            kind=GateKind.ACCUMULATE,
            weight=self.gate.weight,
            bias=self.gate.bias,
            state_gradient=self.gate_state_gradient,
        )

    def _checked_schedule(self, at: OperatingPoint | Schedule | None) -> Schedule:
        schedule = Schedule.of(at)
        for _, point in schedule:
            if point.budget is not None:
                raise BudgetError(
                    f"{type(self).__name__} has no budget (got {point.budget}): its cost is not bounded; "
                    "use SkipW for a strict bound, or move the threshold."
                )
        return schedule


class SkipRNN(ThrRNN):
    """ThrRNN with the threshold fixed at 0.5: one model, one operating point (Campos et al., ICLR 2018)."""

    def _checked_schedule(self, at: OperatingPoint | Schedule | None) -> Schedule:
        schedule = super()._checked_schedule(at)
        for _, point in schedule:
            if point.threshold != 0.5:
                raise BudgetError(
                    f"SkipRNN's threshold is fixed at 0.5, got {point.threshold}; load its weights into ThrRNN."
                )
        return schedule
