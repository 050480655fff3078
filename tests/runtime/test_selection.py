"""The selection of a stream equals ``equations.select_k`` and the comparison of eq. 10."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skipw import equations
from skipw.runtime.selection import draw_noise, ranking_keys, select_slots

VALUES = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0, np.nan]), st.floats(0, 1, width=32))
WINDOWS = st.lists(st.tuples(VALUES, st.floats(-3, 3, width=32)), min_size=1, max_size=9)


@given(
    st.sampled_from(equations.SELECTORS), WINDOWS, st.data(), st.sampled_from([0.0, 0.25, 0.6, 1.0])
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_equals_the_equation(
    select: str, window: list[tuple[float, float]], data: st.DataObject, threshold: float
) -> None:
    importance = np.array([value for value, _ in window], dtype=np.float32)
    noise = np.array([value for _, value in window], dtype=np.float32)
    offset = data.draw(st.integers(0, len(window) - 1))
    limit = data.draw(st.integers(0, len(window)))
    keys = ranking_keys(importance, select, noise, threshold)
    slots = select_slots(importance.tolist(), keys, limit, threshold, offset)
    row = torch.from_numpy(importance)[None]
    selected = equations.select_k(
        row, limit, select=select, noise=torch.from_numpy(noise)[None], threshold=threshold,
        offset=torch.tensor([offset]),
    )  # fmt: skip
    update = selected & equations.binarise(row, threshold)
    assert list(slots) == torch.nonzero(update[0]).flatten().tolist()
    assert len(slots) <= limit


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_noise_is_finite_and_of_the_weights_precision(dtype: type) -> None:
    class Zeros(np.random.Generator):
        def random(self, size=None, dtype=np.float64, out=None):  # type: ignore[no-untyped-def,override]
            return np.zeros(size, dtype=dtype)

    generator = np.random.default_rng(1)
    uniform = draw_noise(generator, 2000, "random", np.dtype(dtype))
    gumbel = draw_noise(generator, 2000, "sample", np.dtype(dtype))
    assert uniform.dtype == gumbel.dtype == dtype
    assert 0 <= uniform.min() < 0.01 < 0.99 < uniform.max() < 1
    assert abs(gumbel.mean() - 0.5772) < 0.1
    assert np.isfinite(draw_noise(Zeros(np.random.PCG64(0)), 5, "sample", np.dtype(dtype))).all()


def test_sampling_is_proportional_to_importance() -> None:
    generator, importance = np.random.default_rng(2), np.array([0.1, 0.3, 0.6], dtype=np.float32)
    counts = np.zeros(3)
    for _ in range(4000):
        noise = draw_noise(generator, 3, "sample", importance.dtype)
        (slot,) = select_slots(importance.tolist(), ranking_keys(importance, "sample", noise, 0.0), 1, 0.0)
        counts[slot] += 1
    np.testing.assert_allclose(counts / 4000, importance, atol=0.03)
