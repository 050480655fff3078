"""GRU and LSTM on one tile: candidates, and gradients through them (device code).

A state is a pair (h, c); a GRU's c is h, so that c is what drives the gate in both. All tensors Float[HP, BM].
"""

from __future__ import annotations

import triton
import triton.language as tl

from skipw.ops.triton.arithmetic import sigmoid, tanh

__all__ = ["again", "candidate", "gate_gradients", "load_tile", "store_tile"]


@triton.jit
def load_tile(pointer, rows, cols, tile, H: tl.constexpr):  # type: ignore[no-untyped-def]
    """Rows of a Float[B, H] in memory, 0 outside ``tile``."""
    return tl.load(pointer + cols[:, None] + rows[None, :] * H, mask=tile, other=0.0)


@triton.jit
def store_tile(pointer, value, rows, cols, tile, H: tl.constexpr):  # type: ignore[no-untyped-def]
    """Write ``value`` into rows of a Float[B, H]."""
    tl.store(pointer + cols[:, None] + rows[None, :] * H, value, mask=tile)


@triton.jit
def candidate(x0, x1, x2, x3, g0, g1, g2, g3, h, c, LSTM: tl.constexpr):  # type: ignore[no-untyped-def]
    """c̃ from the input's products x and the recurrent products g, biases included.

    GRU: r, z, n (x3 and g3 unused). LSTM: i, f, g, o.

    Returns:
        h̃, c̃ and what the backward pass needs: GRU r, z, n, g2; LSTM i, f, g, o. tanh(c̃) is made anew there.
    """
    if LSTM:
        i, f = sigmoid(x0 + g0), sigmoid(x1 + g1)
        g, o = tanh(x2 + g2), sigmoid(x3 + g3)
        cell = f * c + i * g
        return o * tanh(cell), cell, i, f, g, o
    else:
        r, z = sigmoid(x0 + g0), sigmoid(x1 + g1)
        n = tanh(x2 + r * g2)
        new = n + z * (h - n)
        return new, new, r, z, n, g2


@triton.jit
def again(s0, s1, s2, s3, h, c, LSTM: tl.constexpr):  # type: ignore[no-untyped-def]
    """h̃, c̃ and tanh(c̃) (GRU: 0) from what ``candidate`` saved and the state before."""
    if LSTM:
        cell = s1 * c + s0 * s2
        squashed = tanh(cell)
        return s3 * squashed, cell, squashed
    else:
        new = s2 + s1 * (h - s2)
        return new, new, new * 0.0


@triton.jit
def gate_gradients(dh, dc, s0, s1, s2, s3, squashed, h, c, LSTM: tl.constexpr):  # type: ignore[no-untyped-def]
    """From (dh̃, dc̃) to the gradients before the squashing functions, and the direct part of (dh, dc).

    GRU (dc is not used): recurrent n | r | z | input n, so that the gradients of both products are one block of
    memory. LSTM: i | f | g | o.
    """
    if LSTM:
        cell = dc + dh * s3 * (1.0 - squashed * squashed)
        d0 = cell * s2 * s0 * (1.0 - s0)
        d1 = cell * c * s1 * (1.0 - s1)
        d2 = cell * s0 * (1.0 - s2 * s2)
        d3 = dh * squashed * s3 * (1.0 - s3)
        return d0, d1, d2, d3, dh * 0.0, cell * s1
    else:
        new = dh * (1.0 - s1) * (1.0 - s2 * s2)
        d0 = new * s0
        d1 = new * s3 * s0 * (1.0 - s0)
        d2 = dh * (h - s2) * s1 * (1.0 - s1)
        return d0, d1, d2, new, dh * s1, dh * s1
