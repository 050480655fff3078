"""The Adding Task as the paper states it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from skipw.data.adding import generate, marker_ranges, prepare_adding
from skipw.data.prepared import load_meta, load_split
from skipw.errors import ParamsError


def test_markers_stand_in_the_first_tenth_and_the_last_half() -> None:
    first, second = marker_ranges(50)
    assert list(first) == [0, 1, 2, 3, 4]
    assert list(second) == list(range(25, 50))


def test_the_answer_is_the_sum_of_the_two_marked_values() -> None:
    split = generate(300, 50, np.random.default_rng(1), balanced=False)
    assert split.inputs.dtype == np.float32
    assert split.targets.dtype == np.float32
    values, markers = split.inputs[..., 0], split.inputs[..., 1]
    assert np.abs(values).max() <= 0.5
    assert set(np.unique(markers)) == {0.0, 1.0}
    assert (markers[:, :5].sum(axis=1) == 1).all()
    assert (markers[:, 25:].sum(axis=1) == 1).all()
    assert markers.sum() == 600
    np.testing.assert_allclose((values * markers).sum(axis=1), split.targets, atol=1e-7)


def test_balanced_covers_every_pair_equally_in_any_prefix() -> None:
    markers = generate(500, 50, np.random.default_rng(2), balanced=True).inputs[..., 1]
    pairs = [tuple(np.flatnonzero(row)) for row in markers]
    assert len(set(pairs[:125])) == 125
    assert pairs[:125] == pairs[125:250] == pairs[375:]


@pytest.mark.parametrize("num_steps", [2, 3, 10, 25, 200])
def test_any_length_has_two_distinct_markers(num_steps: int) -> None:
    split = generate(60, num_steps, np.random.default_rng(0), balanced=False)
    assert (split.inputs[..., 1].sum(axis=1) == 2).all()


def test_too_short_sequences_are_refused() -> None:
    with pytest.raises(ParamsError, match="at least 2 steps"):
        marker_ranges(1)


def test_prepared_files_are_reproducible_and_described(tmp_path: Path) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        prepare_adding(folder, seed=3, num_steps=50, train=400, val=125, test=4000)
    meta = load_meta(tmp_path / "a")
    assert meta["data_source"] == "generated"
    assert meta["sizes"] == {"train": 400, "val": 125, "test": 4000}
    assert meta["constant_predictor"]["test"] == pytest.approx(1 / 6, rel=0.05)
    assert (tmp_path / "a/train_inputs.npy").read_bytes() == (tmp_path / "b/train_inputs.npy").read_bytes()
    train, test = (load_split(tmp_path / "a", name) for name in ("train", "test"))
    assert not np.array_equal(train.inputs[:100], test.inputs[:100]), "splits draw different values"
