"""Arithmetic on one tile: squashing functions and the products of a tile with a weight matrix (device code).

Axes: HP hidden units padded to a power of two (padding is 0 in weights and states), BM rows of the batch. Units come
first, so that a program's products are weight times state with few columns.
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
def multiply(w, a, accumulator, PRECISION: tl.constexpr):  # type: ignore[no-untyped-def]
    """``accumulator + w @ a``; w Float[HP, K], a Float[K, BM].

    The weight stands on the left: on Hopper it is then read by the tensor cores from shared memory as it lies there.

    ``PRECISION`` is "ieee", "tf32x3", "tf32", "bf16", or "bf16-rounded": the interpreter has no bfloat16 product, so
    there both operands are rounded to bfloat16 and multiplied in float32, which is what the tensor cores compute.
    """
    if PRECISION == "bf16":
        result = tl.dot(w.to(tl.bfloat16), a.to(tl.bfloat16), accumulator)
    elif PRECISION == "bf16-rounded":
        wide = accumulator.dtype
        left, right = w.to(tl.bfloat16).to(wide), a.to(tl.bfloat16).to(wide)
        result = tl.dot(left, right, accumulator, input_precision="ieee", out_dtype=wide)
    else:
        result = tl.dot(w, a, accumulator, input_precision=PRECISION, out_dtype=accumulator.dtype)
    return result


@triton.jit
def load_weight(w, out_stride, in_stride, H: tl.constexpr, HP: tl.constexpr, PRECISION: tl.constexpr):  # type: ignore[no-untyped-def]
    """A whole square weight as a tile, Float[HP, HP] with zeros beyond H; in bfloat16 where products are."""
    m, k = tl.arange(0, HP), tl.arange(0, HP)
    inside = (m < H)[:, None] & (k < H)[None, :]
    tile = tl.load(w + m[:, None] * out_stride + k[None, :] * in_stride, mask=inside, other=0.0)
    if PRECISION == "bf16":
        tile = tile.to(tl.bfloat16)
    return tile


@triton.jit
def product(  # type: ignore[no-untyped-def]
    w,
    out_stride,
    in_stride,
    a,
    a_rows,
    row_ok,
    accumulator,
    H: tl.constexpr,
    HP: tl.constexpr,
    BK: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """``accumulator + w @ a`` with w read from memory (the L2 cache, after the first step).

    Args:
        w: pointer to the H x H weight; element (m, k) lies at ``m * out_stride + k * in_stride``.
        a: Float[HP, BM]; used where the whole product fits, BK == HP.
        a_rows: Pointer[BM], the same rows in memory, H values each; read BK units at a time where BK < HP.
    """
    m = tl.arange(0, HP)
    if BK == HP:
        tile = load_weight(w, out_stride, in_stride, H, HP, PRECISION)
        result = multiply(tile, a, accumulator, PRECISION)
    else:
        result = accumulator
        for start in range(0, H, BK):
            k = start + tl.arange(0, BK)
            w_ok = (m < H)[:, None] & (k < H)[None, :]
            tile = tl.load(w + m[:, None] * out_stride + k[None, :] * in_stride, mask=w_ok, other=0.0)
            a_ok = (k < H)[:, None] & row_ok[None, :]
            part = tl.load(a_rows[None, :] + k[:, None], mask=a_ok, other=0.0)
            result = multiply(tile, part, result, PRECISION)
    return result
