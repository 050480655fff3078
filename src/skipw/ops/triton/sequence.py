"""The two kernels as one autograd node, and the gradients of weights as matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from skipw.ops.triton import settings
from skipw.ops.triton.backward import backward_kernel
from skipw.ops.triton.forward import forward_kernel
from skipw.ops.triton.gradients import gate_gradients, weight_gradients
from skipw.ops.triton.packing import ACCUMULATING, WINDOWED, Packed

__all__ = ["Answer", "interpreted", "run_packed"]

MOST_INLINE = 4
"""Up to this many input features, their product is made inside the kernel instead of being read from memory."""


@dataclass
class Answer:
    """What came out, models first.

    Attributes:
        output: Float[M, T, B, N] of the top layer; empty unless all outputs are kept.
        updates, values: Float[M, T, B].
        importance: Float[M, B, L] at the end.
        carry: Float[M, 2, B], accumulated and increment at the end.
        states: Float[M, Y, P, B, N] at the end.
        rows: Long[M, 3, B]: last_update, used, number of the operating point.
        slots: Float[M, 3, B, L] at the end, without gradient.
    """

    output: Tensor
    updates: Tensor
    values: Tensor
    importance: Tensor
    carry: Tensor
    states: Tensor
    rows: Tensor
    slots: Tensor


def interpreted() -> bool:
    """Whether the kernels run in Triton's interpreter (TRITON_INTERPRET=1 when triton was first imported)."""
    return not isinstance(forward_kernel, triton.runtime.JITFunction)


def run_packed(packed: Packed, train: bool) -> Answer:
    """Run models side by side; T >= 1.

    Args:
        packed: see ``packing``.
        train: whether a backward pass may follow.
    """
    job = _Job(packed, train)
    tensors = packed.tensors.values()
    outputs = _Sequence.apply(job, *tensors) if train else job.forward(*tensors)
    output, updates, values, importance, carry, states = outputs
    return Answer(output, updates, values, importance, carry, states, job.rows_out, job.slots_out)


class _Job:
    """One launch: buffers, constants, and how to go back."""

    def __init__(self, packed: Packed, train: bool) -> None:
        self.packed, self.train = packed, train
        hidden_padded = max(16, triton.next_power_of_2(packed.hidden))
        x = packed.tensors["x"]
        self.features = x.shape[-1]
        self.name = settings.precision()
        tiles = settings.tiles_for(
            hidden_padded, packed.layers, 4 if packed.lstm else 3, self.name, x.dtype, _shared_bytes(x.device)
        )
        chunk = min(tiles.chunk, hidden_padded)
        self.tiles = tiles
        self.grid = (triton.cdiv(packed.batch, tiles.rows), packed.models)
        dot = self.name
        if interpreted():
            dot = "bf16-rounded" if dot == "bf16" else "ieee"
        self.constants = {
            "H": packed.hidden,
            "HP": hidden_padded,
            "BM": tiles.rows,
            "BK": chunk,
            "LAYERS": packed.layers,
            "LSTM": packed.lstm,
            "GATE": packed.gate,
            "WINDOW": packed.window,
            "LP": max(2, triton.next_power_of_2(packed.window)),
            "RESIDENT": tiles.resident and packed.layers == 1 and chunk == hidden_padded,
            "PRECISION": dot,
            "num_warps": tiles.warps,
        }

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        packed = self.packed
        given = {name: tensor.detach() for name, tensor in zip(packed.tensors, tensors, strict=True)}
        x = given["x"]
        batch, steps, models, hidden = packed.batch, packed.steps, packed.models, packed.hidden
        keep = packed.keep or self.train
        self.x = x.transpose(1, 2).contiguous()
        inline = self.features if self.features <= MOST_INLINE else 0
        weights = self.weights = {
            name: given[name].contiguous()
            for name in ("w_in", "w_ih", "w_hh", "b_ih", "b_hh", "gate_weight", "gate_bias")
        }
        hist = x.new_empty(models, packed.layers, packed.parts, steps + 1 if keep else 1, batch, hidden)
        hist[:, :, :, 0] = given["states"]
        nothing = x.new_zeros(1)
        saved = x.new_empty(models, packed.layers, 4, steps, batch, hidden) if self.train else nothing
        trace = x.new_empty(models, 4, steps, batch)
        window = packed.window
        opened = x.new_zeros(models, packed.openings, batch, window + 1) if self.train else nothing
        slots = packed.slots
        if packed.gate == WINDOWED:
            slots = slots.contiguous()
        carry = given["carry"].contiguous()
        self.rows = packed.rows.contiguous()
        self.rows_out = packed.rows.new_empty(models, 3, batch)
        self.slots_out = torch.empty_like(slots)
        carry_out = torch.empty_like(carry)
        noise = nothing if packed.noise is None else packed.noise
        scratch = x.new_empty(models, batch, hidden) if packed.layers > 1 else nothing
        projected = nothing if inline else _projected(self.x, weights, models, self.name)
        with _device_of(x):
            forward_kernel[self.grid](
                self.x,
                projected,
                weights["w_in"],
                weights["w_ih"],
                weights["w_hh"],
                weights["b_ih"],
                weights["b_hh"],
                weights["gate_weight"],
                weights["gate_bias"],
                packed.flags,
                self.rows,
                slots,
                carry,
                noise,
                packed.settings,
                packed.segments.table,
                packed.segments.thresholds,
                hist,
                scratch,
                saved,
                trace,
                opened,
                self.rows_out,
                self.slots_out,
                carry_out,
                batch,
                steps,
                packed.openings,
                1 if packed.noise is None else packed.noise.shape[1],
                packed.segments.table.shape[1],
                0 if len(self.x) == 1 else self.x[0].numel(),
                packed.window,
                INLINE=inline,
                TIME=packed.time,
                SELECT=packed.select,
                LOWEST=torch.finfo(x.dtype).min,
                DRAWS=packed.noise is not None,
                KEEP=keep,
                SAVE=self.train,
                **self.constants,
            )
        self.buffers = (hist, saved, trace, opened)
        output = hist[:, -1, 0, 1:] if packed.keep else x.new_empty(0)
        importance = self.slots_out[:, 0].clone() if packed.gate == WINDOWED else x.new_empty(0)
        return (
            output,
            trace[:, 0].clone(),
            trace[:, 1].clone(),
            importance,
            carry_out,
            hist[:, :, :, -1].clone(),
        )

    def backward(
        self, saved_tensors: tuple[Tensor, ...], grads: tuple[Tensor | None, ...], needed: tuple[bool, ...]
    ) -> list[Tensor | None]:
        """Gradients in the order of ``Packed.tensors``."""
        packed, (hist, saved, trace, opened) = self.packed, saved_tensors
        d_output, d_updates, d_values, d_importance, d_carry, d_states = grads
        models, batch, steps = packed.models, packed.batch, packed.steps
        has_output = d_output is not None and d_output.numel() > 0
        d_update = trace.new_zeros(models, steps, batch)
        for given in (d_updates, d_values):
            if given is not None:
                d_update = d_update + given
        flow = _writable(d_states, hist[:, :, :, 0])
        d_slots = _writable(d_importance, packed.slots[:, 0])
        d_carry = _writable(d_carry, packed.tensors["carry"])
        d_gates = trace.new_empty(models, packed.layers, steps, batch, 4, packed.hidden)
        shape = (steps, batch) if packed.gate == ACCUMULATING else (packed.openings, batch, packed.window)
        d_logits = trace.new_zeros(models, *shape)
        weights = self.weights
        with _device_of(trace):
            backward_kernel[self.grid](
                weights["w_ih"],
                weights["w_hh"],
                weights["gate_weight"],
                packed.flags,
                self.rows,
                packed.settings,
                hist,
                saved,
                trace,
                opened,
                d_output.contiguous() if has_output and d_output is not None else d_update,
                d_update,
                d_slots,
                d_carry,
                flow,
                d_gates,
                d_logits,
                batch,
                steps,
                packed.openings,
                packed.window,
                TIMED=packed.time > 0,
                HAS_OUTPUT=has_output,
                **self.constants,
            )
        with products(self.name, trace):
            found: dict[str, Tensor | None] = weight_gradients(
                d_gates, hist, self.x, trace[:, 0], packed.lstm, weights["w_in"] if needed[0] else None
            )
            found |= gate_gradients(packed, d_logits, hist, opened, self.rows)
        found["states"] = flow
        if packed.gate == WINDOWED:
            found["slots"] = d_slots
        if packed.gate == ACCUMULATING:
            found["carry"] = d_carry
        return [found.get(name) for name in packed.tensors]


class _Sequence(torch.autograd.Function):
    """Tensors in, tensors out; ``_Job`` holds everything else."""

    @staticmethod
    def forward(ctx: Any, job: _Job, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.job, ctx.given = job, len(tensors)
        ctx.set_materialize_grads(False)
        outputs = job.forward(*tensors)
        ctx.save_for_backward(*tensors, *job.buffers)  # also so that autograd notices a change in place
        del job.buffers
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        buffers = ctx.saved_tensors[ctx.given :]
        return (None, *ctx.job.backward(buffers, grads, ctx.needs_input_grad[1:]))


def _projected(x: Tensor, weights: dict[str, Tensor], models: int, name: str) -> Tensor:
    """W_ih x + b_ih of the first layer for all inputs: Float[M, T * B, G N]."""
    flat = x.flatten(1, 2).expand(models, -1, -1)
    with products(name, x):
        return torch.baddbmm(weights["b_ih"][:, :1], flat, weights["w_in"].transpose(1, 2))


def _writable(given: Tensor | None, like: Tensor) -> Tensor:
    """A contiguous copy of a gradient; zeros where there is none."""
    if given is None or given.numel() == 0:
        return torch.zeros_like(like, memory_format=torch.contiguous_format)
    return given.clone(memory_format=torch.contiguous_format)


@lru_cache(maxsize=16)
def _shared_bytes(device: torch.device) -> int:
    """Shared memory that a program may have on this device."""
    if device.type != "cuda":
        return settings.HOPPER_SHARED
    properties: Any = torch.cuda.get_device_properties(device)
    return int(properties.shared_memory_per_block_optin)


def _device_of(tensor: Tensor) -> Any:
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


@contextmanager
def products(name: str, tensor: Tensor) -> Iterator[None]:
    """torch's own products at least as coarse as the kernels': tf32 unless the precision is "ieee"."""
    if name == "ieee" or not tensor.is_cuda:
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
