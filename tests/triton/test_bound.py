"""The bound on this backend, for any weights and inputs: in every window at most K inputs are processed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import skipw
from tests.core.cases import SELECTORS

WEIGHTS = ("normal", "zero", "nan gate", "saturated", "nan cell")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=14)
@given(
    window=st.integers(1, 4),
    num_steps=st.integers(1, 5),
    select=st.sampled_from(SELECTORS),
    weights=st.sampled_from(WEIGHTS),
    bad_inputs=st.booleans(),
    switch=st.tuples(st.integers(1, 4), st.integers(0, 4), st.sampled_from([0.0, 0.5, 1.0])),
    budget=st.integers(0, 4),
    seed=st.integers(0, 99),
)
def test_at_most_k_of_every_window_as_the_reference_decides(
    window: int,
    num_steps: int,
    select: str,
    weights: str,
    bad_inputs: bool,
    switch: tuple[int, int, float],
    budget: int,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    model = skipw.SkipW("gru", 2, 3, window=window, select=select, time_scale=3.0).double()
    with torch.no_grad():
        torch.nn.init.normal_(model.gate.weight)
        if weights == "zero":
            for parameter in model.parameters():
                parameter.zero_()
        elif weights == "nan gate":
            model.gate.bias[-1] = float("nan")
        elif weights == "nan cell":
            model.cells[0].weight_hh[0] = float("nan")
        elif weights == "saturated":
            model.gate.bias.fill_(40.0)
    x = torch.randn(2, num_steps, 2, dtype=torch.float64)
    if bad_inputs:
        x[torch.rand(x.shape) < 0.3] = float("nan")
    start, second, threshold = switch
    first, second = min(budget, window), min(second, window)
    at = skipw.Schedule(
        [(0, skipw.OperatingPoint(first, 0.0)), (start, skipw.OperatingPoint(second, threshold))]
    )
    lengths = [num_steps, max(0, num_steps - 1)]
    with torch.no_grad():
        answers = [
            model(x, at=at, lengths=lengths, backend=name, generator=torch.Generator().manual_seed(seed))
            for name in ("reference", "triton")
        ]
    expected, got = (y.updates for y in answers)
    assert torch.equal(expected, got)
    allowed = [first if t < start else second for t in range(num_steps)]
    for begin in range(0, num_steps, window):
        most = max(allowed[begin : begin + window])
        assert int(got[:, begin : begin + window].sum(1).max()) <= most
    assert not got[1, num_steps - 1]
