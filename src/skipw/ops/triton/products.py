"""The products of all gates of a layer on one tile (device code). GRU: three gates, the fourth repeats the third."""

from __future__ import annotations

import triton
import triton.language as tl

from skipw.ops.triton.arithmetic import multiply, product

__all__ = ["gate_products", "input_products", "resident_products"]


@triton.jit
def input_product(  # type: ignore[no-untyped-def]
    x,
    proj,
    w_in,
    b_in,
    rows,
    row_ok,
    cols,
    tile,
    G: tl.constexpr,
    gate: tl.constexpr,
    H: tl.constexpr,
    INLINE: tl.constexpr,
):
    """W_ih x_t + b_ih of one gate, Float[HP, BM]: read, or made here from ``INLINE`` features."""
    if INLINE > 0:
        result = tl.load(b_in + gate * H + cols, mask=cols < H, other=0.0)[:, None]
        for d in tl.static_range(INLINE):
            feature = tl.load(x + rows * INLINE + d, mask=row_ok, other=0.0)
            weight = tl.load(w_in + (gate * H + cols) * INLINE + d, mask=cols < H, other=0.0)
            result = result + weight[:, None] * feature[None, :]
    else:
        result = tl.load(proj + rows[None, :] * (G * H) + gate * H + cols[:, None], mask=tile, other=0.0)
    return result


@triton.jit
def gate_product(  # type: ignore[no-untyped-def]
    a,
    a_rows,
    row_ok,
    weight,
    bias,
    cols,
    gate: tl.constexpr,
    H: tl.constexpr,
    HP: tl.constexpr,
    BK: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """W a + b of one gate of a cell, Float[HP, BM]; weight and bias are pointers to all gates of the layer."""
    start = tl.zeros([HP, a.shape[1]], a.dtype)
    start += tl.load(bias + gate * H + cols, mask=cols < H, other=0.0)[:, None]
    return product(weight + gate * H * H, H, 1, a, a_rows, row_ok, start, H, HP, BK, PRECISION)


@triton.jit
def input_products(  # type: ignore[no-untyped-def]
    x,
    proj,
    w_in,
    b_in,
    rows,
    row_ok,
    cols,
    tile,
    LSTM: tl.constexpr,
    H: tl.constexpr,
    INLINE: tl.constexpr,
):
    """``input_product`` of every gate; pointers stand at this input."""
    G: tl.constexpr = 4 if LSTM else 3
    x0 = input_product(x, proj, w_in, b_in, rows, row_ok, cols, tile, G, 0, H, INLINE)
    x1 = input_product(x, proj, w_in, b_in, rows, row_ok, cols, tile, G, 1, H, INLINE)
    x2 = input_product(x, proj, w_in, b_in, rows, row_ok, cols, tile, G, 2, H, INLINE)
    x3 = x2
    if LSTM:
        x3 = input_product(x, proj, w_in, b_in, rows, row_ok, cols, tile, G, 3, H, INLINE)
    return x0, x1, x2, x3


@triton.jit
def gate_products(  # type: ignore[no-untyped-def]
    a,
    a_rows,
    row_ok,
    weight,
    bias,
    cols,
    LSTM: tl.constexpr,
    H: tl.constexpr,
    HP: tl.constexpr,
    BK: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """``gate_product`` of every gate, the weights read from memory."""
    g0 = gate_product(a, a_rows, row_ok, weight, bias, cols, 0, H, HP, BK, PRECISION)
    g1 = gate_product(a, a_rows, row_ok, weight, bias, cols, 1, H, HP, BK, PRECISION)
    g2 = gate_product(a, a_rows, row_ok, weight, bias, cols, 2, H, HP, BK, PRECISION)
    g3 = g2
    if LSTM:
        g3 = gate_product(a, a_rows, row_ok, weight, bias, cols, 3, H, HP, BK, PRECISION)
    return g0, g1, g2, g3


@triton.jit
def resident_product(a, weight, bias, cols, H: tl.constexpr, PRECISION: tl.constexpr):  # type: ignore[no-untyped-def]
    """weight @ a + bias, the weight on chip: Float[HP, HP], Float[HP, BM] -> Float[HP, BM]."""
    start = tl.zeros([a.shape[0], a.shape[1]], a.dtype)
    start += tl.load(bias + cols, mask=cols < H, other=0.0)[:, None]
    return multiply(weight, a, start, PRECISION)


@triton.jit
def resident_products(  # type: ignore[no-untyped-def]
    a, u0, u1, u2, u3, bias, cols, LSTM: tl.constexpr, H: tl.constexpr, PRECISION: tl.constexpr
):
    """The same of every gate; ``bias`` points to all of them."""
    g0 = resident_product(a, u0, bias, cols, H, PRECISION)
    g1 = resident_product(a, u1, bias + H, cols, H, PRECISION)
    g2 = resident_product(a, u2, bias + 2 * H, cols, H, PRECISION)
    g3 = g2
    if LSTM:
        g3 = resident_product(a, u3, bias + 3 * H, cols, H, PRECISION)
    return g0, g1, g2, g3
