"""One autograd node around the native library: a whole sequence forward, a whole sequence backward."""

from __future__ import annotations

import ctypes
import functools
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from skipw.operating_point import Schedule
from skipw.ops.call import Call, GateKind
from skipw.ops.native import abi
from skipw.ops.plain_cells import PlainCell
from skipw.ops.state import parts

__all__ = ["Node", "Tensors", "tape_bytes"]

Gathered = tuple[Tensor | None, ...]


def _dense(tensor: Tensor | None) -> Tensor | None:
    if tensor is None:
        return None
    return tensor if tensor.is_contiguous() else tensor.contiguous()


def _filled(like: Tensor | None) -> Tensor | None:
    return None if like is None else torch.zeros_like(like, memory_format=torch.contiguous_format)


@functools.lru_cache(maxsize=256)
def _switches(schedule: Schedule, window: int) -> tuple[ctypes.Array[Any], ...]:
    """Starts, budgets and thresholds of a schedule; the library only reads them."""
    count = len(schedule)
    starts, points = zip(*schedule, strict=True)
    budgets = [point.budget_in(window) if window else 0 for point in points]
    return (
        (ctypes.c_int64 * count)(*starts),
        (ctypes.c_int64 * count)(*budgets),
        (ctypes.c_double * count)(*(point.threshold for point in points)),
    )


@dataclass
class _Written:
    """What the library wrote into.

    Attributes:
        output: Float[B, T, N], or empty.
        updates: Float[B, T].
        last: the parts of each layer's final state.
        changed: the rest of the final state, by the names of ``SkipState``.
    """

    output: Tensor
    updates: Tensor
    last: list[Tensor]
    changed: dict[str, Tensor]

    def carried(self) -> list[Tensor]:
        """importance, accumulated and increment; empty where there is none."""
        empty = self.updates.new_empty(0)
        return [self.changed.get(name, empty) for name in ("importance", "accumulated", "increment")]


class Tensors:
    """A call's tensors, dense, and the struct that points at them; both live as long as the tape.

    ``inputs``, in the order of the autograd node: x, gate weight, gate bias, importance, accumulated, increment, last
    input, the parts of each layer's state, then the weights of each layer.
    """

    def __init__(self, call: Call, cell: PlainCell) -> None:
        self.call, self.training, self.engine = call, False, abi.functions()
        state, gate = call.state, call.gate
        self.batch, self.steps, self.width = call.x.shape
        self.layers = [part for layer in state.layers for part in parts(layer)]
        self.cell = abi.CELLS[cell.name]
        self.weights = [getattr(layer, name) for layer in call.cells for name in cell.weights]
        gates = (None, None) if gate is None else (gate.weight, gate.bias)
        carried = (state.importance, state.accumulated, state.increment, state.last_input)
        self.inputs: Gathered = (call.x, *gates, *carried, *self.layers, *self.weights)

    def forward(self, tensors: Gathered) -> _Written:
        """Run. What is written is not kept here: it gets this object as its history, and would never be freed."""
        self.dense = tuple(_dense(tensor) for tensor in tensors)
        x = self.dense[0]
        assert x is not None
        self.values = x.new_zeros(self.batch, self.steps)
        every = self.call.outputs == "all"
        hidden = self.layers[0].shape[1]
        written = _Written(
            output=x.new_empty(self.batch, self.steps, hidden) if every else x.new_empty(0),
            updates=x.new_zeros(self.batch, self.steps),
            last=[x.new_empty(self.batch, hidden) for _ in self.layers],
            changed={} if self.call.gate is None else self._state_to_change(),
        )
        self.struct = self._struct(x, written)
        abi.check(self.engine.skipw_forward(ctypes.byref(self.struct)))
        if self.struct.tape is not None:
            weakref.finalize(self, self.engine.skipw_release, self.struct.tape)
        return written

    def _state_to_change(self) -> dict[str, Tensor]:
        """Copies of what the state holds beside its layers and the last input: the library writes into them."""
        state = self.call.state
        counters = ("step", "offset", "used", "last_update", *(() if state.budget is None else ("budget",)))
        copies = dict(zip(counters, torch.stack([getattr(state, name) for name in counters]), strict=True))
        for name in ("importance", "selected", "noise", "accumulated", "increment", "threshold"):
            value = getattr(state, name)
            if value is not None:
                copies[name] = value.detach().clone(memory_format=torch.contiguous_format)
        return copies

    def _struct(self, x: Tensor, written: _Written) -> abi.Call:
        call, gate = self.call, self.call.gate
        window = call.window or 0
        self.switches = _switches(call.schedule, window)
        self.small = [_dense(t) for t in (call.lengths, call.updates, call.noise, call.state.recent)]
        self.pointers = [
            abi.addresses(self.dense[7 + len(self.layers) :]),
            abi.addresses(self.dense[7 : 7 + len(self.layers)]),
            abi.addresses(written.last),
        ]
        changed = {name: tensor.data_ptr() for name, tensor in written.changed.items()}
        kinds = {None: 0, GateKind.WINDOW: 1, GateKind.ACCUMULATE: 2}
        lengths, forced, noise, recent = map(abi.address, self.small)
        starts, budgets, thresholds = map(ctypes.addressof, self.switches)
        return abi.Call(
            float_bytes=x.element_size(),
            cell=self.cell,
            gate=kinds[None if gate is None else gate.kind],
            select=0 if gate is None else abi.SELECT[gate.select],
            time_feature=0 if gate is None else abi.TIME[gate.time_feature],
            training=int(self.training),
            num_threads=torch.get_num_threads(),
            distinct=1,
            zero_sum=int(gate is not None and gate.selection_gradient == "zero_sum"),
            seen=0 if gate is None else sum(abi.SEEN[name] for name in gate.inputs),
            bound=int(gate is not None and gate.bound == "any"),
            batch=self.batch,
            steps=self.steps,
            input_size=self.width,
            hidden=self.layers[0].shape[1],
            layers=len(call.cells),
            window=window if gate is not None and gate.kind is GateKind.WINDOW else 0,
            noise_windows=0 if call.noise is None else len(call.noise),
            num_switches=len(call.schedule),
            gate_windows=0 if gate is None else gate.windows,
            time_scale=1.0 if gate is None else gate.time_scale,
            state_gradient=1.0 if gate is None else gate.state_gradient,
            x=x.data_ptr(),
            lengths=lengths,
            forced=forced,
            weights=self.pointers[0],
            gate_weight=abi.address(self.dense[1]),
            gate_bias=abi.address(self.dense[2]),
            importance_before=abi.address(self.dense[3]),
            last_input=abi.address(self.dense[6]),
            recent=recent,
            noise=noise,
            switch_start=starts,
            switch_budget=budgets,
            switch_threshold=thresholds,
            layers_before=self.pointers[1],
            layers_after=self.pointers[2],
            step=changed.get("step"),
            offset=changed.get("offset"),
            used=changed.get("used"),
            last_update=changed.get("last_update"),
            importance=changed.get("importance"),
            selected=changed.get("selected"),
            draw=changed.get("noise"),
            accumulated=changed.get("accumulated"),
            increment=changed.get("increment"),
            budget=changed.get("budget"),
            threshold=changed.get("threshold"),
            output=written.output.data_ptr() if written.output.numel() else None,
            updates=written.updates.data_ptr(),
            values=self.values.data_ptr(),
        )

    def backward(self, grads: Gathered, needs: Sequence[bool]) -> Gathered:
        """The gradients of ``inputs``, where they are needed, from those of what ``forward`` gave back."""
        given = [_dense(grad) for grad in grads]
        if self.call.outputs != "all":
            given[0] = None
        x, gate_weight, gate_bias, importance, accumulated, increment, last_input, *rest = self.dense
        written = [
            _filled(x) if needs[0] else None,
            *map(_filled, (gate_weight, gate_bias)),
            *(
                _filled(t) if need else None
                for t, need in zip((importance, accumulated, increment, last_input), needs[3:7], strict=True)
            ),
            *map(_filled, rest),
        ]
        count = len(self.layers)
        last, first, weights = (
            abi.addresses(group) for group in (given[6:], written[7 : 7 + count], written[7 + count :])
        )
        gated = self.call.gate is not None
        output, updates, values, *carried = (abi.address(grad) for grad in given[:6])
        struct = abi.Gradients(
            output=output,
            updates=updates if gated else None,
            values=values if gated else None,
            importance=carried[0] if gated and importance is not None else None,
            accumulated=carried[1] if gated and accumulated is not None else None,
            increment=carried[2] if gated and increment is not None else None,
            last=last,
            x=abi.address(written[0]),
            gate_weight=abi.address(written[1]),
            gate_bias=abi.address(written[2]),
            first_importance=abi.address(written[3]) if gated else None,
            first_accumulated=abi.address(written[4]) if gated else None,
            first_increment=abi.address(written[5]) if gated else None,
            first_last_input=abi.address(written[6]) if gated else None,
            first=first,
            weights=weights,
        )
        abi.check(self.engine.skipw_backward(ctypes.byref(self.struct), ctypes.byref(struct)))
        return tuple(written)


class Node(torch.autograd.Function):
    """Tensors in, tensors out; ``Tensors`` holds everything else."""

    @staticmethod
    def forward(
        ctx: Any, tensors: Tensors, changed: dict[str, Tensor], *inputs: Tensor | None
    ) -> tuple[Tensor, ...]:
        if ctx is not None:
            ctx.tensors = tensors
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(*inputs)  # so that autograd notices a weight that is changed in place
        written = tensors.forward(inputs)
        changed.update(written.changed)
        values = tensors.values if ctx is None else tensors.values.clone()  # the tape keeps its own
        return (written.output, written.updates, values, *written.carried(), *written.last)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        assert ctx.saved_tensors is not None
        return (None, None, *ctx.tensors.backward(grads, ctx.needs_input_grad[2:]))


def tape_bytes(node: Any) -> int:
    """Bytes that the forward pass behind an output's ``grad_fn`` keeps for the backward pass."""
    tensors: Tensors = node.tensors
    return int(tensors.engine.skipw_tape_bytes(tensors.struct.tape))
