"""The forward pass: one persistent program for each tile of rows and each model walks through time (device code).

Memory, each contiguous; M models, Y layers, P parts of a state (h; LSTM: h, c), G gates, W windows that may open:

    x        Float[M or 1, T, B, D]   read where INLINE (few input features), else
    proj     Float[M, T, B, G N]      W_ih x_t + b_ih of the first layer
    w_in     Float[M, G N, D]         b_ih, b_hh Float[M, Y, G N]      w_hh Float[M, Y, G N, N]
    w_ih     Float[M, Y - 1, G N, N]  of the layers above the first
    flags    UInt8[M, T, B]           bit 0: the input is finite; bit 1: its update is forced
    rows_in  Long[M, 6, B]            length, offset, step, last_update, used, operating point
    slots_in Float[M, 3, B, L]        importance, noise, selected        carry_in Float[M, 2, B] accumulated, increment
    noise    Float[M, W', B, L]       settings Float[M, 2] time_scale, state_gradient
    segments Int[M, S, 3]             start, budget, number of the operating point; thresholds Float[M, S]
    hist     Float[M, Y, P, T + 1, B, N]  states before each input and after the last (T + 1 is 1 unless KEEP)
    saved    Float[M, Y, 4, T, B, N]  what ``cells.candidate`` hands to the backward pass, where SAVE
    trace    Float[M, 4, T, B]        update, value, increment before, probability
    opened   Float[M, W, B, L + 1]    importance and time feature of each window that opened
"""

from __future__ import annotations

import triton
import triton.language as tl

from skipw.ops.triton.arithmetic import load_weight, sigmoid
from skipw.ops.triton.cells import candidate, load_tile, store_tile
from skipw.ops.triton.gates import at_slot, select, view_product, window_importance
from skipw.ops.triton.products import gate_products, input_products, resident_products

__all__ = ["forward_kernel"]


@triton.jit(do_not_specialize=["B", "T", "W", "W_NOISE", "S", "X_MODEL", "L"])
def forward_kernel(  # type: ignore[no-untyped-def]
    x,
    proj,
    w_in,
    w_ih,
    w_hh,
    b_ih,
    b_hh,
    gate_w,
    gate_b,
    flags,
    rows_in,
    slots_in,
    carry_in,
    noise,
    settings,
    segments,
    thresholds,
    hist,
    scratch,
    saved,
    trace,
    opened,
    rows_out,
    slots_out,
    carry_out,
    B,
    T,
    W,
    W_NOISE,
    S,
    X_MODEL,
    L,
    H: tl.constexpr,
    HP: tl.constexpr,
    BM: tl.constexpr,
    BK: tl.constexpr,
    LAYERS: tl.constexpr,
    LSTM: tl.constexpr,
    INLINE: tl.constexpr,
    GATE: tl.constexpr,
    WINDOW: tl.constexpr,
    LP: tl.constexpr,
    TIME: tl.constexpr,
    SELECT: tl.constexpr,
    LOWEST: tl.constexpr,
    DRAWS: tl.constexpr,
    KEEP: tl.constexpr,
    SAVE: tl.constexpr,
    RESIDENT: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Grid: (row tiles, models). GATE: 0 forced updates, 1 SkipW, 2 ThrRNN and SkipRNN. TIME: 0 none, 1 steps,
    2 window, 3 since_update. KEEP writes the state after every input; SAVE also what the backward pass reads."""
    G: tl.constexpr = 4 if LSTM else 3
    P: tl.constexpr = 2 if LSTM else 1
    TOP: tl.constexpr = LAYERS * P - 1
    MEMORY: tl.constexpr = (LAYERS > 1) or (BK < HP)  # states are read back by other threads than wrote them
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    row_ok = rows < B
    cols = tl.arange(0, HP)
    tile = (cols < H)[:, None] & row_ok[None, :]
    slots = tl.arange(0, LP)
    slot_ok = row_ok[:, None] & (slots < WINDOW)[None, :]
    m = tl.program_id(1).to(tl.int64)
    plane = B.to(tl.int64) * H
    scalars = B.to(tl.int64) * T
    steps_kept = (T + 1) * KEEP + (1 - KEEP)
    dtype = hist.dtype.element_ty

    x += m * X_MODEL
    proj += m * scalars * (G * H)
    w_in += m * (G * H * INLINE)
    w_ih += m * ((LAYERS - 1) * G * H * H)
    w_hh += m * (LAYERS * G * H * H)
    b_ih += m * (LAYERS * G * H)
    b_hh += m * (LAYERS * G * H)
    gate_w += m * (WINDOW * (H + (TIME > 0)))
    gate_b += m * WINDOW
    flags += m * scalars
    hist += m * (LAYERS * P) * plane * steps_kept
    scratch += m * plane
    saved += m * (LAYERS * 4) * plane * T
    trace += m * 4 * scalars
    opened += m * W * B * (WINDOW + 1)
    noise += m * W_NOISE * B * WINDOW
    rows_in += m * 6 * B
    slots_in += m * 3 * B * WINDOW
    segments += m * S * 3
    thresholds += m * S

    length = tl.load(rows_in + rows, mask=row_ok, other=0)
    offset = tl.load(rows_in + B + rows, mask=row_ok, other=0)
    step = tl.load(rows_in + 2 * B + rows, mask=row_ok, other=0)
    last = tl.load(rows_in + 3 * B + rows, mask=row_ok, other=-1)
    used = tl.load(rows_in + 4 * B + rows, mask=row_ok, other=0)
    code = tl.load(rows_in + 5 * B + rows, mask=row_ok, other=-1)
    segment = 0
    following = tl.load(segments + 3)
    budget = tl.load(segments + 1)
    point = tl.load(segments + 2)
    threshold = tl.load(thresholds)
    slot_at = rows[:, None] * WINDOW + slots[None, :]
    importance = tl.zeros([BM, LP], dtype)
    selected = tl.zeros([BM, LP], dtype)
    draw = tl.zeros([BM, LP], dtype)
    if GATE == 1:
        importance = tl.load(slots_in + slot_at, mask=slot_ok, other=0.0)
        draw = tl.load(slots_in + B * WINDOW + slot_at, mask=slot_ok, other=0.0)
        selected = tl.load(slots_in + 2 * B * WINDOW + slot_at, mask=slot_ok, other=0.0)
        time_scale = tl.load(settings + m * 2)
    accumulated = tl.zeros([BM], dtype)
    increment = tl.zeros([BM], dtype)
    if GATE == 2:
        accumulated = tl.load(carry_in + m * 2 * B + rows, mask=row_ok, other=0.0)
        increment = tl.load(carry_in + m * 2 * B + B + rows, mask=row_ok, other=0.0)
    h = load_tile(hist, rows, cols, tile, H)
    c = h
    if LSTM:
        c = load_tile(hist + steps_kept * plane, rows, cols, tile, H)
    if RESIDENT:
        u0 = load_weight(w_hh, H, 1, H, HP, PRECISION)
        u1 = load_weight(w_hh + H * H, H, 1, H, HP, PRECISION)
        u2 = load_weight(w_hh + 2 * H * H, H, 1, H, HP, PRECISION)
        u3 = u2
        if LSTM:
            u3 = load_weight(w_hh + 3 * H * H, H, 1, H, HP, PRECISION)
    g0 = tl.zeros([HP, BM], dtype)
    g1 = tl.zeros([HP, BM], dtype)
    g2 = tl.zeros([HP, BM], dtype)
    g3 = tl.zeros([HP, BM], dtype)
    stale = 1  # whether a state changed since the recurrent products g were made

    for t in range(T):
        now = tl.cast(t, tl.int64)
        alive = now < length
        flag = tl.load(flags + now * B + rows, mask=row_ok, other=1).to(tl.int32)
        finite = (flag & 1) > 0
        value = tl.zeros([BM], dtype)
        probability = tl.zeros([BM], dtype)
        if GATE == 0:
            mask = alive & ((flag & 2) > 0)
        else:
            if now >= following:
                segment += 1
                budget = tl.load(segments + segment * 3 + 1)
                point = tl.load(segments + segment * 3 + 2)
                threshold = tl.load(thresholds + segment)
                following = tl.load(segments + segment * 3 + 3)
        if GATE == 1:
            slot = (offset + now) % WINDOW
            opening = alive & (slot == 0)
            again = opening | (alive & (code != point))
            used = tl.where(opening, 0, used)
            if tl.max(opening.to(tl.int32), axis=0) > 0:
                view = h
                if LSTM:
                    view = c
                if LAYERS > 1:
                    view = load_tile(hist + (TOP * steps_kept + now * KEEP) * plane, rows, cols, tile, H)
                if TIME == 2:
                    time = ((step + now) // WINDOW).to(dtype) / time_scale
                elif TIME == 3:
                    time = (step + now - tl.maximum(last, 0)).to(dtype) / time_scale
                else:
                    time = (step + now).to(dtype) / time_scale
                fresh = window_importance(view, time, gate_w, gate_b, H, HP, LP, L, TIME > 0)
                importance = tl.where(opening[:, None], fresh, importance)
                number = (now - (WINDOW - offset) % WINDOW) // WINDOW
                if DRAWS:
                    lot = (tl.minimum(number, W_NOISE - 1) * B + rows)[:, None] * WINDOW + slots[None, :]
                    mine = tl.load(noise + lot, mask=slot_ok & opening[:, None], other=0.0)
                    draw = tl.where(opening[:, None], mine, draw)
                if SAVE:
                    at = opened + (number * B + rows) * (WINDOW + 1)
                    tl.store(at[:, None] + slots[None, :], fresh, mask=slot_ok & opening[:, None])
                    tl.store(at + WINDOW, time, mask=row_ok & opening)
            if tl.max(again.to(tl.int32), axis=0) > 0:
                limit = tl.maximum(budget - used, 0)
                choice = select(importance, draw, limit, slot, threshold, LP, L, SELECT, LOWEST)
                selected = tl.where(again[:, None], choice, selected)
                code = tl.where(again, point, code)
            value = tl.where(alive, at_slot(importance, slot), 0.0)
            mask = alive & (at_slot(selected, slot) > 0) & (value >= threshold)
        if GATE == 2:
            value = tl.where(alive, accumulated, 0.0)
            mask = alive & (accumulated >= threshold)

        # Candidates: of all rows where the backward pass needs them, else only if a row of the tile is processed.
        busy = tl.max(mask.to(tl.int32), axis=0)
        needed = busy
        if SAVE and GATE > 0:
            needed = busy + 1
        if needed > 0:
            below = h
            for k in tl.static_range(LAYERS):
                before = hist + (k * P * steps_kept + now * KEEP) * plane
                if LAYERS > 1:
                    h = load_tile(before, rows, cols, tile, H)
                    if LSTM:
                        c = load_tile(before + steps_kept * plane, rows, cols, tile, H)
                if stale > 0:
                    u, bias, a_rows = w_hh + k * G * H * H, b_hh + k * G * H, before + rows * H
                    if RESIDENT:
                        g0, g1, g2, g3 = resident_products(h, u0, u1, u2, u3, bias, cols, LSTM, H, PRECISION)
                    else:
                        g0, g1, g2, g3 = gate_products(
                            h, a_rows, row_ok, u, bias, cols, LSTM, H, HP, BK, PRECISION
                        )
                if k == 0:
                    x_now, proj_now = x + now * B * INLINE, proj + now * B * (G * H)
                    x0, x1, x2, x3 = input_products(
                        x_now, proj_now, w_in, b_ih, rows, row_ok, cols, tile, LSTM, H, INLINE
                    )
                else:
                    v, bias, a_rows = w_ih + (k - 1) * G * H * H, b_ih + k * G * H, scratch + rows * H
                    if BK < HP:
                        tl.debug_barrier()
                        store_tile(scratch, below, rows, cols, tile, H)
                        tl.debug_barrier()
                    x0, x1, x2, x3 = gate_products(
                        below, a_rows, row_ok, v, bias, cols, LSTM, H, HP, BK, PRECISION
                    )
                new, cell, s0, s1, s2, s3 = candidate(x0, x1, x2, x3, g0, g1, g2, g3, h, c, LSTM)
                readable = (finite | mask)[None, :]
                new = tl.where(readable, new, h)
                if LSTM:
                    cell = tl.where(readable, cell, c)
                else:
                    cell = new
                if SAVE:
                    place = saved + (k * 4 * T + now) * plane
                    store_tile(place, s0, rows, cols, tile, H)
                    store_tile(place + T * plane, s1, rows, cols, tile, H)
                    store_tile(place + 2 * T * plane, s2, rows, cols, tile, H)
                    store_tile(place + 3 * T * plane, s3, rows, cols, tile, H)
                if GATE == 2 and k == LAYERS - 1:
                    score = view_product(cell, gate_w, cols, cols < H)
                    probability = sigmoid(score + tl.load(gate_b))
                below = new
                h = tl.where(mask[None, :], new, h)
                if LSTM:
                    c = tl.where(mask[None, :], cell, c)
                if KEEP or MEMORY:
                    if MEMORY and not KEEP:
                        tl.debug_barrier()
                    after = before + plane * KEEP
                    store_tile(after, h, rows, cols, tile, H)
                    if LSTM:
                        store_tile(after + steps_kept * plane, c, rows, cols, tile, H)
            if LAYERS == 1:
                stale = busy
        else:
            if KEEP:
                for k in tl.static_range(LAYERS):
                    before = hist + (k * P * steps_kept + now) * plane
                    if LAYERS > 1:
                        h = load_tile(before, rows, cols, tile, H)
                    store_tile(before + plane, h, rows, cols, tile, H)
                    if LSTM:
                        if LAYERS > 1:
                            c = load_tile(before + steps_kept * plane, rows, cols, tile, H)
                        store_tile(before + (steps_kept + 1) * plane, c, rows, cols, tile, H)
        if MEMORY:
            tl.debug_barrier()

        at = trace + now * B + rows
        tl.store(at, mask.to(dtype), mask=row_ok)
        tl.store(at + scalars, value, mask=row_ok)
        used += mask.to(tl.int64)
        last = tl.where(mask, step + now, last)
        if GATE == 2:
            if SAVE:
                tl.store(at + 2 * scalars, increment, mask=row_ok)
                tl.store(at + 3 * scalars, probability, mask=row_ok)
            waited = accumulated + increment
            waited = tl.where(waited > 1.0, 1.0, waited)
            accumulated = tl.where(alive, tl.where(mask, probability, waited), accumulated)
            increment = tl.where(mask, probability, increment)

    if not (KEEP or MEMORY):
        store_tile(hist, h, rows, cols, tile, H)
        if LSTM:
            store_tile(hist + plane, c, rows, cols, tile, H)
    at = rows_out + m * 3 * B + rows
    tl.store(at, last, mask=row_ok)
    tl.store(at + B, used, mask=row_ok)
    tl.store(at + 2 * B, code, mask=row_ok)
    if GATE == 1:
        at = slots_out + m * 3 * B * WINDOW + slot_at
        tl.store(at, importance, mask=slot_ok)
        tl.store(at + B * WINDOW, draw, mask=slot_ok)
        tl.store(at + 2 * B * WINDOW, selected, mask=slot_ok)
    if GATE == 2:
        tl.store(carry_out + m * 2 * B + rows, accumulated, mask=row_ok)
        tl.store(carry_out + m * 2 * B + B + rows, increment, mask=row_ok)
