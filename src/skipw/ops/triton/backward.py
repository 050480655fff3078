"""The backward pass: one persistent program for each tile of rows and each model walks back (device code).

Straight-through gradients reach the gate at every input; the cells' own backward is that of processed rows. The
gradients of weights are products over all inputs, made afterwards (``sequence``). Beside ``forward``'s memory:

    d_output Float[M, T, B, N]        of the top layer's outputs, where HAS_OUTPUT
    d_update Float[M, T, B]           of updates plus values
    d_slots  Float[M, B, L]           in: of the importance at the end; out: of that at the start
    d_carry  Float[M, 2, B]           the same for accumulated and increment
    flow     Float[M, Y, P, B, N]     the same for the layers' states
    d_gates  Float[M, Y, T, B, 4, N]  out: before the squashing functions, in the order of ``cells.gate_gradients``
    d_logits Float[M, W, B, L]        out: of windows that opened (ThrRNN, SkipRNN: Float[M, T, B])
"""

from __future__ import annotations

import triton
import triton.language as tl

from skipw.ops.triton.arithmetic import load_weight, multiply, product
from skipw.ops.triton.cells import again, gate_gradients, load_tile, store_tile
from skipw.ops.triton.gates import importance_gradient

__all__ = ["backward_kernel"]


@triton.jit(do_not_specialize=["B", "T", "W", "L"])
def backward_kernel(  # type: ignore[no-untyped-def]
    w_ih,
    w_hh,
    gate_w,
    flags,
    rows_in,
    settings,
    hist,
    saved,
    trace,
    opened,
    d_output,
    d_update,
    d_slots,
    d_carry,
    flow,
    d_gates,
    d_logits,
    B,
    T,
    W,
    L,
    H: tl.constexpr,
    HP: tl.constexpr,
    BM: tl.constexpr,
    BK: tl.constexpr,
    LAYERS: tl.constexpr,
    LSTM: tl.constexpr,
    GATE: tl.constexpr,
    WINDOW: tl.constexpr,
    LP: tl.constexpr,
    TIMED: tl.constexpr,
    HAS_OUTPUT: tl.constexpr,
    RESIDENT: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Grid: (row tiles, models), as in ``forward_kernel``."""
    G: tl.constexpr = 4 if LSTM else 3
    P: tl.constexpr = 2 if LSTM else 1
    MEMORY: tl.constexpr = (LAYERS > 1) or (BK < HP)
    # Which weights the four blocks of gate gradients meet: in W_hh, and in W_ih (LAYERS > 1).
    TOP: tl.constexpr = LAYERS * P - 1
    R0: tl.constexpr = 0 if LSTM else 2
    R1: tl.constexpr = 1 if LSTM else 0
    R2: tl.constexpr = 2 if LSTM else 1
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    row_ok = rows < B
    cols = tl.arange(0, HP)
    col_ok = cols < H
    tile = col_ok[:, None] & row_ok[None, :]
    slots = tl.arange(0, LP)
    slot_ok = row_ok[:, None] & (slots < WINDOW)[None, :]
    m = tl.program_id(1).to(tl.int64)
    plane = B.to(tl.int64) * H
    scalars = B.to(tl.int64) * T
    dtype = hist.dtype.element_ty

    w_ih += m * ((LAYERS - 1) * G * H * H)
    w_hh += m * (LAYERS * G * H * H)
    gate_w += m * (WINDOW * (H + TIMED))
    flags += m * scalars
    hist += m * (LAYERS * P) * plane * (T + 1)
    saved += m * (LAYERS * 4) * plane * T
    trace += m * 4 * scalars
    opened += m * W * B * (WINDOW + 1)
    d_output += m * plane * T
    d_update += m * scalars
    d_slots += m * B * WINDOW
    d_carry += m * 2 * B
    flow += m * (LAYERS * P) * plane
    d_gates += m * (LAYERS * 4) * plane * T
    if GATE == 2:
        d_logits += m * scalars
    else:
        d_logits += m * W * B * WINDOW

    length = tl.load(rows_in + m * 6 * B + rows, mask=row_ok, other=0)
    offset = tl.load(rows_in + m * 6 * B + B + rows, mask=row_ok, other=0)
    factor = tl.load(settings + m * 2 + 1)
    slot_at = rows[:, None] * WINDOW + slots[None, :]
    d_importance = tl.zeros([BM, LP], dtype)
    if GATE == 1:
        d_importance = tl.load(d_slots + slot_at, mask=slot_ok, other=0.0)
    d_accumulated = tl.zeros([BM], dtype)
    d_increment = tl.zeros([BM], dtype)
    if GATE == 2:
        d_accumulated = tl.load(d_carry + rows, mask=row_ok, other=0.0)
        d_increment = tl.load(d_carry + B + rows, mask=row_ok, other=0.0)
    dh = load_tile(flow, rows, cols, tile, H)
    dc = dh
    if LSTM:
        dc = load_tile(flow + plane, rows, cols, tile, H)
    if RESIDENT:
        u0 = load_weight(w_hh + R0 * H * H, 1, H, H, HP, PRECISION)
        u1 = load_weight(w_hh + R1 * H * H, 1, H, H, HP, PRECISION)
        u2 = load_weight(w_hh + R2 * H * H, 1, H, H, HP, PRECISION)
        if LSTM:
            u3 = load_weight(w_hh + 3 * H * H, 1, H, H, HP, PRECISION)

    for i in range(T):
        now = T.to(tl.int64) - 1 - i
        at = trace + now * B + rows
        mask = tl.load(at, mask=row_ok, other=0.0) > 0
        alive = now < length
        finite = (tl.load(flags + now * B + rows, mask=row_ok, other=1).to(tl.int32) & 1) > 0
        blank = (finite | mask) == 0
        # du_t = sum over layers, h and c of <ds_t, c̃ - s_{t-1}>; afterwards the top layer's tensors are at hand.
        du = tl.zeros([BM], dtype)
        for k in tl.static_range(LAYERS):
            if LAYERS > 1:
                dh = load_tile(flow + k * P * plane, rows, cols, tile, H)
                if LSTM:
                    dc = load_tile(flow + (k * P + 1) * plane, rows, cols, tile, H)
            if HAS_OUTPUT and k == LAYERS - 1:
                dh += load_tile(d_output + now * plane, rows, cols, tile, H)
            if not LSTM:
                dc = dh
            place = saved + (k * 4 * T + now) * plane
            s0 = load_tile(place, rows, cols, tile, H)
            s1 = load_tile(place + T * plane, rows, cols, tile, H)
            s2 = load_tile(place + 2 * T * plane, rows, cols, tile, H)
            s3 = load_tile(place + 3 * T * plane, rows, cols, tile, H)
            h = load_tile(hist + (k * P * (T + 1) + now) * plane, rows, cols, tile, H)
            c = h
            if LSTM:
                c = load_tile(hist + ((k * P + 1) * (T + 1) + now) * plane, rows, cols, tile, H)
            new, cell, squashed = again(s0, s1, s2, s3, h, c, LSTM)
            if GATE > 0:
                change = dh * (new - h)
                if LSTM:
                    change += dc * (cell - c)
                du += tl.sum(tl.where(blank[None, :], 0.0, change), axis=0)

        if GATE == 1:
            slot = (offset + now) % WINDOW
            du += tl.load(d_update + now * B + rows, mask=row_ok, other=0.0)
            here = (slots[None, :] == slot[:, None]) & alive[:, None]
            d_importance += tl.where(here, du[:, None], 0.0)
        if GATE == 2:
            du += tl.load(d_update + now * B + rows, mask=row_ok, other=0.0)
            accumulated = tl.load(at + scalars, mask=row_ok, other=0.0)
            increment = tl.load(at + 2 * scalars, mask=row_ok, other=0.0)
            p = tl.load(at + 3 * scalars, mask=row_ok, other=0.0)
            waiting = accumulated + increment
            waited = tl.where(waiting > 1.0, 1.0, waiting)
            d_gate = du + d_increment * (p - increment) + d_accumulated * (p - waited)
            d_waited = tl.where((waiting <= 1.0) & (mask == 0), d_accumulated, 0.0)
            d_logit = tl.where(mask, (d_increment + d_accumulated) * p * (1.0 - p), 0.0)
            d_accumulated = tl.where(alive, d_waited + d_gate, d_accumulated)
            d_increment = tl.where(alive, tl.where(mask, 0.0, d_increment) + d_waited, d_increment)
            tl.store(d_logits + now * B + rows, d_logit, mask=row_ok)

        busy = tl.max(mask.to(tl.int32), axis=0)
        below = tl.zeros([HP, BM], dtype)
        if LAYERS > 1:
            tl.debug_barrier()  # all have read the flow before any writes it
        for k in tl.static_range(LAYERS - 1, -1, -1):
            if k < LAYERS - 1:
                dh = load_tile(flow + k * P * plane, rows, cols, tile, H)
                if LSTM:
                    dc = load_tile(flow + (k * P + 1) * plane, rows, cols, tile, H)
                place = saved + (k * 4 * T + now) * plane
                s0 = load_tile(place, rows, cols, tile, H)
                s1 = load_tile(place + T * plane, rows, cols, tile, H)
                s2 = load_tile(place + 2 * T * plane, rows, cols, tile, H)
                s3 = load_tile(place + 3 * T * plane, rows, cols, tile, H)
                h = load_tile(hist + (k * P * (T + 1) + now) * plane, rows, cols, tile, H)
                c = h
                if LSTM:
                    c = load_tile(hist + ((k * P + 1) * (T + 1) + now) * plane, rows, cols, tile, H)
                new, cell, squashed = again(s0, s1, s2, s3, h, c, LSTM)
            from_h = dh + below
            from_c = dc
            if GATE == 2 and k == LAYERS - 1:  # noqa: SIM102 (a constant, and a value)
                if factor != 0:
                    weight = tl.load(gate_w + cols, mask=col_ok, other=0.0)
                    if LSTM:
                        from_c += factor * weight[:, None] * d_logit[None, :]
                    else:
                        from_h += factor * weight[:, None] * d_logit[None, :]
            d0, d1, d2, d3, direct_h, direct_c = gate_gradients(
                from_h, from_c, s0, s1, s2, s3, squashed, h, c, LSTM
            )
            column = mask[None, :]
            d0 = tl.where(column, d0, 0.0)
            d1 = tl.where(column, d1, 0.0)
            d2 = tl.where(column, d2, 0.0)
            d3 = tl.where(column, d3, 0.0)
            a_rows = d_gates + (k * T + now) * 4 * plane + rows * (4 * H)
            out = a_rows[None, :] + cols[:, None]
            tl.store(out, d0, mask=tile)
            tl.store(out + H, d1, mask=tile)
            tl.store(out + 2 * H, d2, mask=tile)
            tl.store(out + 3 * H, d3, mask=tile)
            if BK < HP:
                tl.debug_barrier()
            if busy > 0:
                back = tl.where(column, direct_h, 0.0)
                if RESIDENT:
                    back = multiply(u0, d0, back, PRECISION)
                    back = multiply(u1, d1, back, PRECISION)
                    back = multiply(u2, d2, back, PRECISION)
                    if LSTM:
                        back = multiply(u3, d3, back, PRECISION)
                else:
                    u = w_hh + k * G * H * H
                    u0_at, u1_at, u2_at = u + R0 * H * H, u + R1 * H * H, u + R2 * H * H
                    back = product(u0_at, 1, H, d0, a_rows, row_ok, back, H, HP, BK, PRECISION)
                    back = product(u1_at, 1, H, d1, a_rows + H, row_ok, back, H, HP, BK, PRECISION)
                    back = product(u2_at, 1, H, d2, a_rows + 2 * H, row_ok, back, H, HP, BK, PRECISION)
                    if LSTM:
                        u3_at = u + 3 * H * H
                        back = product(u3_at, 1, H, d3, a_rows + 3 * H, row_ok, back, H, HP, BK, PRECISION)
                dh = tl.where(column, back, dh)
                if LSTM:
                    dc = tl.where(column, direct_c, dc)
                below = tl.zeros([HP, BM], dtype)
                if k > 0:
                    v = w_ih + (k - 1) * G * H * H
                    if LSTM:
                        below = product(v, 1, H, d0, a_rows, row_ok, below, H, HP, BK, PRECISION)
                        v += H * H
                    below = product(v, 1, H, d1, a_rows + H, row_ok, below, H, HP, BK, PRECISION)
                    v += H * H
                    below = product(v, 1, H, d2, a_rows + 2 * H, row_ok, below, H, HP, BK, PRECISION)
                    v += H * H
                    below = product(v, 1, H, d3, a_rows + 3 * H, row_ok, below, H, HP, BK, PRECISION)
            if LAYERS > 1:
                store_tile(flow + k * P * plane, dh, rows, cols, tile, H)
                if LSTM:
                    store_tile(flow + (k * P + 1) * plane, dc, rows, cols, tile, H)
        if MEMORY:
            tl.debug_barrier()

        if GATE == 1:
            opening = alive & (slot == 0)
            if tl.max(opening.to(tl.int32), axis=0) > 0:
                number = (now - (WINDOW - offset) % WINDOW) // WINDOW
                window_ok = slot_ok & opening[:, None]
                of_window = (number * B + rows)[:, None]
                stored = opened + of_window * (WINDOW + 1) + slots[None, :]
                importance = tl.load(stored, mask=window_ok, other=0.0)
                d_logit = tl.where(window_ok, d_importance * importance * (1.0 - importance), 0.0)
                tl.store(d_logits + of_window * WINDOW + slots[None, :], d_logit, mask=window_ok)
                d_importance = tl.where(opening[:, None], 0.0, d_importance)
                if factor != 0:
                    d_view = factor * importance_gradient(d_logit, gate_w, H, HP, L, TIMED)
                    if LAYERS > 1:
                        d_view += load_tile(flow + TOP * plane, rows, cols, tile, H)
                        tl.debug_barrier()
                        store_tile(flow + TOP * plane, d_view, rows, cols, tile, H)
                        tl.debug_barrier()
                    else:
                        if LSTM:
                            dc += d_view
                        else:
                            dh += d_view

    if LAYERS == 1:
        store_tile(flow, dh, rows, cols, tile, H)
        if LSTM:
            store_tile(flow + plane, dc, rows, cols, tile, H)
    if GATE == 1:
        tl.store(d_slots + slot_at, d_importance, mask=slot_ok)
    if GATE == 2:
        tl.store(d_carry + rows, d_accumulated, mask=row_ok)
        tl.store(d_carry + B + rows, d_increment, mask=row_ok)
