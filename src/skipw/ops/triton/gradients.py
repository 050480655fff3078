"""Gradients of weights, biases and inputs from what the backward kernel left: matrix products over all inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from skipw.ops.triton.packing import FORCED, WINDOWED, Packed

__all__ = ["gate_gradients", "weight_gradients"]


def weight_gradients(
    d_gates: Tensor, hist: Tensor, x: Tensor, updates: Tensor, lstm: bool, w_in: Tensor | None
) -> dict[str, Tensor | None]:
    """Of the cells. M models, Y layers, T inputs, B rows, N hidden units, G gates.

    Args:
        d_gates: Float[M, Y, T, B, 4, N], zero where nothing was processed; order of ``cells.gate_gradients``.
        hist: Float[M, Y, P, T + 1, B, N].
        x: Float[M or 1, T, B, D]; updates: Float[M, T, B].
        w_in: Float[M, G N, D] if x needs its gradient.
    Returns:
        x (as Float[M or 1, B, T, D]), w_in, w_ih, w_hh, b_ih, b_hh.
    """
    models, layers, steps, batch, _, hidden = d_gates.shape
    used = torch.where((updates > 0).unsqueeze(-1), x, 0).flatten(1, 2)  # a skipped NaN must not meet a zero
    inputs: Tensor = used
    per_input, per_state, bias_input, bias_state = [], [], [], []
    for layer in range(layers):
        flat = d_gates[:, layer].view(models, steps * batch, 4 * hidden)
        recurrent, projected = (flat, flat) if lstm else (flat[..., : 3 * hidden], flat[..., hidden:])
        before = hist[:, layer, 0, :-1].flatten(1, 2)
        per_state.append(_as_gates(recurrent.mT @ before, hidden, lstm))
        bias_state.append(_as_gates(recurrent.sum(1), hidden, lstm))
        per_input.append(projected.mT @ inputs)
        bias_input.append(projected.sum(1))
        inputs = hist[:, layer, 0, 1:].flatten(1, 2)  # where it was processed, a candidate is the state after
    found: dict[str, Tensor | None] = {
        "w_in": per_input[0],
        "w_hh": torch.stack(per_state, 1),
        "b_ih": torch.stack(bias_input, 1),
        "b_hh": torch.stack(bias_state, 1),
    }
    if layers > 1:
        found["w_ih"] = torch.stack(per_input[1:], 1)
    if w_in is not None:
        flat = d_gates[:, 0].view(models, steps * batch, 4 * hidden)
        d_x = (flat if lstm else flat[..., hidden:]) @ w_in
        d_x = d_x.view(models, steps, batch, -1).transpose(1, 2)
        found["x"] = d_x.sum(0, keepdim=True) if len(x) == 1 else d_x
    return found


def _as_gates(blocks: Tensor, hidden: int, lstm: bool) -> Tensor:
    """A GRU's blocks new | reset | update in torch's order reset | update | new, along dimension 1."""
    if lstm:
        return blocks
    return torch.cat([blocks[:, hidden:], blocks[:, :hidden]], dim=1)


def gate_gradients(
    packed: Packed, d_logits: Tensor, hist: Tensor, opened: Tensor, rows: Tensor
) -> dict[str, Tensor]:
    """Of the gate's weight and bias; empty where the updates were forced."""
    if packed.gate == FORCED:
        return {}
    views = hist[:, -1, -1]  # Float[M, T + 1, B, N], what drives the gate
    if packed.gate != WINDOWED:
        flat = d_logits.flatten(1, 2)
        d_weight = flat.unsqueeze(1) @ views[:, 1:].flatten(1, 2)  # of a processed candidate, the state after
        return {"gate_weight": d_weight, "gate_bias": flat.sum(1, keepdim=True)}
    first = (packed.window - rows[:, 1]) % packed.window
    numbers = torch.arange(packed.openings, device=rows.device).view(1, -1, 1)
    at = (first.unsqueeze(1) + numbers * packed.window).clamp(max=packed.steps)  # Long[M, W, B]
    features = views.gather(1, at.unsqueeze(-1).expand(-1, -1, -1, packed.hidden))
    if packed.time:
        features = torch.cat([features, opened[..., -1:]], dim=-1)
    logits = d_logits.flatten(1, 2)
    return {"gate_weight": logits.mT @ features.flatten(1, 2), "gate_bias": logits.sum(1)}
