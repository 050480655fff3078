"""Arithmetic on one tile: squashing functions and the products of a tile with a weight matrix (device code).

Axes: BM rows of the batch, HP hidden units padded to a power of two (padding is 0 in weights and states).
"""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["load_weight", "multiply", "product", "sigmoid", "tanh"]


@triton.jit
def sigmoid(x):  # type: ignore[no-untyped-def]
    """σ(x) without overflow; exactly 1 from about 17 on in float32, as torch's."""
    e = tl.exp(-tl.abs(x))
    return tl.where(x >= 0, 1.0 / (1.0 + e), e / (1.0 + e))


@triton.jit
def tanh(x):  # type: ignore[no-untyped-def]
    """tanh(x) without overflow; its absolute error is a rounding error."""
    e = tl.exp(-2.0 * tl.abs(x))
    y = (1.0 - e) / (1.0 + e)
    return tl.where(x >= 0, y, -y)


@triton.jit
def multiply(a, w, accumulator, PRECISION: tl.constexpr):  # type: ignore[no-untyped-def]
    """``accumulator + a @ w``; a Float[BM, K], w Float[K, N].

    ``PRECISION`` is "ieee", "tf32x3", "tf32", "bf16", or "bf16-rounded": the interpreter has no bfloat16 product, so
    there both operands are rounded to bfloat16 and multiplied in float32, which is what the tensor cores compute.
    """
    if PRECISION == "bf16":
        result = tl.dot(a.to(tl.bfloat16), w.to(tl.bfloat16), accumulator)
    elif PRECISION == "bf16-rounded":
        wide = accumulator.dtype
        rounded = w.to(tl.bfloat16).to(wide)
        result = tl.dot(a.to(tl.bfloat16).to(wide), rounded, accumulator, input_precision="ieee")
    else:
        result = tl.dot(a, w, accumulator, input_precision=PRECISION, out_dtype=accumulator.dtype)
    return result


@triton.jit
def load_weight(w, row_stride, column_stride, H: tl.constexpr, HP: tl.constexpr, PRECISION: tl.constexpr):  # type: ignore[no-untyped-def]
    """A whole square weight as a tile, Float[HP, HP] with zeros beyond H; in bfloat16 where products are."""
    k, n = tl.arange(0, HP), tl.arange(0, HP)
    inside = (k < H)[:, None] & (n < H)[None, :]
    tile = tl.load(w + k[:, None] * row_stride + n[None, :] * column_stride, mask=inside, other=0.0)
    if PRECISION == "bf16":
        tile = tile.to(tl.bfloat16)
    return tile


@triton.jit
def product(  # type: ignore[no-untyped-def]
    a,
    a_rows,
    row_ok,
    w,
    row_stride,
    column_stride,
    accumulator,
    H: tl.constexpr,
    HP: tl.constexpr,
    BK: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """``accumulator + a @ w`` with w read from memory (the L2 cache, after the first step).

    Args:
        a: Float[BM, HP]; used where the whole product fits, BK == HP.
        a_rows: Pointer[BM], the same rows in memory, H values each; read BK columns at a time where BK < HP.
        w: pointer to the H x H weight; element (k, n) lies at ``k * row_stride + n * column_stride``.
    """
    n = tl.arange(0, HP)
    if BK == HP:
        tile = load_weight(w, row_stride, column_stride, H, HP, PRECISION)
        result = multiply(a, tile, accumulator, PRECISION)
    else:
        result = accumulator
        for start in range(0, H, BK):
            k = start + tl.arange(0, BK)
            a_ok = row_ok[:, None] & (k < H)[None, :]
            part = tl.load(a_rows[:, None] + k[None, :], mask=a_ok, other=0.0)
            w_ok = (k < H)[:, None] & (n < H)[None, :]
            tile = tl.load(w + k[:, None] * row_stride + n[None, :] * column_stride, mask=w_ok, other=0.0)
            result = multiply(part, tile, result, PRECISION)
    return result
