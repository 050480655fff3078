"""Whatever the weights, thresholds and switches: no window of a stream holds more than its largest budget."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import skipw
from skipw import OperatingPoint, StreamModel

SELECTORS = ("topk", "sample", "random", "first", "last", "first_above")
THRESHOLDS = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1))
LOGITS = st.one_of(st.floats(-3, 3), st.sampled_from([0.0, -200.0, 30.0, np.nan, np.inf, -np.inf]))


@st.composite
def walks(draw: Any) -> tuple[int, dict[str, Any], list[float], list[tuple[int, OperatingPoint]]]:
    """A window, settings, the gate's biases, and pairs (input, point) in order."""
    window = draw(st.integers(1, 9))
    options = {
        "select": draw(st.sampled_from(SELECTORS)),
        "time_feature": draw(st.sampled_from(["steps", "none"])),
    }
    points = st.builds(OperatingPoint, st.one_of(st.none(), st.integers(0, window)), THRESHOLDS)
    switches = draw(st.lists(st.tuples(st.integers(0, 4 * window), points), max_size=12))
    biases = draw(st.lists(LOGITS, min_size=window, max_size=window))
    return window, options, biases, [(0, draw(points)), *sorted(switches, key=lambda pair: pair[0])]


@pytest.mark.parametrize("chosen", ["auto", "numpy"])
@given(walk=walks(), seed=st.integers(0, 2**31 - 1))
@settings(max_examples=80, deadline=None)
def test_never_more_than_the_budget(
    chosen: str, walk: tuple[int, dict[str, Any], list[float], list[tuple[int, OperatingPoint]]], seed: int
) -> None:
    window, options, biases, switches = walk
    torch.manual_seed(seed % 17)
    rnn = skipw.SkipW("gru", 2, 3, window=window, **options)
    with torch.no_grad():
        rnn.gate.bias.copy_(torch.tensor(biases))
    stream = StreamModel.from_model(rnn, engine=chosen).create_stream(switches[0][1], seed=seed)
    rng, used, allowed = np.random.default_rng(seed), 0, 0
    for t in range(5 * window):
        if t % window == 0:
            used, allowed = 0, 0
        for _, point in [pair for pair in switches if pair[0] == t]:
            stream.set_operating_point(point)
        point = stream.operating_point
        assert point is not None
        allowed = max(allowed, point.budget_in(window))
        assert used + len(stream.plan) <= max(used, point.budget_in(window))
        if stream.needs_input:
            stream.process(rng.normal(size=2))
            used += 1
        else:
            stream.skip()
        assert used <= allowed
    assert stream.usage.max_in_window <= max(point.budget_in(window) for _, point in switches)
