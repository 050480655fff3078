"""Inputs are what they are said to be; operations are counted as by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from skipw.benchmark.flops import inference_flops, training_flops
from skipw.benchmark.workloads import (
    WORKLOADS,
    Workload,
    by_name,
    drawn_digits,
    make_inputs,
    zipf_tokens,
)
from skipw.errors import ParamsError


def test_shapes_are_those_that_targets_are_stated_for() -> None:
    stated = {
        "har": (512, 32, 36, "gru", 60, 2, 8),
        "adding": (256, 50, 2, "lstm", 110, 1, 10),
        "smnist": (256, 784, 1, "gru", 128, 1, 28),
        "imdb": (128, 200, 300, "gru", 128, 1, 10),
    }
    for w in WORKLOADS:
        if w.main:
            sizes = (w.batch, w.steps, w.input_size, w.cell, w.hidden_size, w.num_layers, w.window)
            assert sizes == stated[w.name]
    assert {w.name for w in WORKLOADS if w.main} == set(stated)


def test_a_name_that_is_none() -> None:
    with pytest.raises(ParamsError, match="har, adding"):
        by_name("mnist")


@pytest.mark.parametrize("name", ["har", "adding", "imdb", "smnist-normal"])
def test_inputs(name: str) -> None:
    workload = by_name(name)
    x, note = make_inputs(workload, seed=3)
    assert x.shape == (workload.batch, workload.steps, workload.input_size)
    assert x.dtype == torch.float32
    assert note
    assert torch.equal(x, make_inputs(workload, seed=3)[0])


def test_drawn_digits_are_mostly_runs_of_zeros() -> None:
    pixels = drawn_digits(100, torch.Generator().manual_seed(0)).squeeze(-1)
    zeros = pixels == 0
    assert float(zeros.float().mean()) == pytest.approx(0.8, abs=0.04)
    starts = int((zeros[:, 1:] & ~zeros[:, :-1]).sum()) + int(zeros[:, 0].sum())
    assert int(zeros.sum()) / starts > 8  # zeros in a run
    assert float(pixels.min()) >= 0
    assert float(pixels.max()) <= 1


def test_tokens_follow_zipf_s_law() -> None:
    tokens = zipf_tokens(100_000, 20_000, torch.Generator().manual_seed(0))
    counts = torch.bincount(tokens, minlength=20_000)
    harmonic = float((1 / torch.arange(1, 20_001)).sum())
    for rank in (1, 2, 10):
        assert int(counts[rank - 1]) == pytest.approx(100_000 / harmonic / rank, rel=0.1)
    assert len(counts) == 20_000


def test_real_pixels_are_taken_where_they_are(tmp_path: Path) -> None:
    workload = Workload("smnist", "s", 3, 784, 1, "gru", 4, 1, 4, "digits")
    assert make_inputs(workload, seed=0, data=tmp_path)[1].startswith("drawn strokes")
    folder = tmp_path / "prepared" / "mnist"
    folder.mkdir(parents=True)
    images = np.arange(5 * 784, dtype=np.float32).reshape(5, 784, 1)
    np.save(folder / "train_inputs.npy", images)
    x, note = make_inputs(workload, seed=0, data=tmp_path)
    assert note.startswith("MNIST's pixels")
    assert torch.equal(x, torch.from_numpy(images[:3]))
    np.save(folder / "train_inputs.npy", images[:, ::4])
    assert make_inputs(workload, seed=0, data=tmp_path)[1].startswith("drawn strokes")


def test_operations_of_one_gru_layer() -> None:
    """N = 4, D = 3: W_ih [12, 3] and W_hh [12, 4]."""
    workload = Workload("w", "w", 1, 1, 3, "gru", 4, 1, 2, "normal")
    forward = 2 * 12 * 3 + 2 * 12 * 4  # 168
    assert inference_flops(workload, 1) == forward == 168
    state, weights = 2 * 12 * 4, 168
    assert training_flops(workload, 1) == forward + state + weights == 432
    assert training_flops(workload, 1) == 18 * 4**2 + 12 * 4 * 3
    assert training_flops(workload, 10) == 4320


def test_operations_of_two_lstm_layers() -> None:
    """N = 2, D = 5: W_ih [8, 5], W_hh [8, 2], above it W_ih [8, 2], W_hh [8, 2]."""
    workload = Workload("w", "w", 1, 1, 5, "lstm", 2, 2, 2, "normal")
    forward = 2 * 8 * (5 + 2) + 2 * 8 * (2 + 2)
    assert inference_flops(workload, 1) == forward == 176
    state, into_the_layer_below, weights = 2 * (2 * 8 * 2), 2 * 8 * 2, 176
    assert training_flops(workload, 1) == forward + state + into_the_layer_below + weights == 448
