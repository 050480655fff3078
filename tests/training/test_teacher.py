"""A training that learns from the scores of the model it goes on from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from skipw.errors import ParamsError
from skipw.models.saved import load_model
from skipw.operating_point import OperatingPoint
from skipw.params import TrainSettings, load
from skipw.training import fit
from skipw.training.data_module import Batch
from skipw.training.teacher import distance, teacher_of

Settings = Callable[..., TrainSettings]


@pytest.fixture
def learnt(settings: Settings, slopes: Path, tmp_path: Path) -> Path:
    """A SkipW that tells the classes apart."""
    chosen = settings("har", steps=200, val_every=200, hidden_size=12)
    fit(chosen, slopes, tmp_path / "har-first", scratch=tmp_path, progress=False)
    return tmp_path / "har-first"


def batch_of(slopes: Path) -> Batch:
    parts = (np.load(slopes / f"val_{name}.npy") for name in ("inputs", "targets", "lengths"))
    inputs, targets, lengths = map(torch.from_numpy, parts)
    return Batch(inputs, targets, lengths, torch.arange(len(inputs)))


def mislabelled(slopes: Path, folder: Path) -> Path:
    """The same sequences; the labels of train are drawn anew."""
    folder.mkdir()
    for file in slopes.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    targets = np.load(folder / "train_targets.npy")
    np.save(folder / "train_targets.npy", np.random.default_rng(0).integers(3, size=len(targets)))
    return folder


def test_scores_are_taught_where_labels_say_nothing(
    settings: Settings, slopes: Path, learnt: Path, tmp_path: Path
) -> None:
    data = mislabelled(slopes, tmp_path / "data")
    accuracies = {}
    for share in (0.0, 1.0):
        chosen = settings(
            "har", steps=200, val_every=200, hidden_size=12, init_from="har-first", teacher=share
        )
        out = tmp_path / f"har-{share:g}"
        fit(chosen, data, out, scratch=tmp_path, init_from=learnt, progress=False)
        accuracies[share] = pd.read_csv(out / "history.csv").val_accuracy.iloc[-1]
    assert accuracies[1.0] > 0.95
    assert accuracies[0.0] < 0.8


def test_it_runs_at_its_threshold_and_is_not_trained(settings: Settings, slopes: Path, learnt: Path) -> None:
    batch = batch_of(slopes)
    model, _ = load_model(learnt)
    for threshold in (None, 0.0, 1.0):
        chosen = settings("har", init_from="har-first", teacher=0.5, teacher_threshold=threshold)
        teacher = teacher_of(chosen, learnt)
        assert teacher is not None and not teacher.model.training
        taught = teacher.scores(batch, "auto")
        at = None if threshold is None else OperatingPoint(threshold=threshold)
        with torch.no_grad():
            expected = model(batch.inputs, lengths=batch.lengths, at=at).scores
        assert torch.equal(taught, expected) and not taught.requires_grad


def test_a_skip_rnn_teaches_at_other_thresholds_too(settings: Settings, slopes: Path, tmp_path: Path) -> None:
    chosen = settings("har", "skiprnn", steps=5, val_every=5, gate_bias=(-1.0,))
    fit(chosen, slopes, tmp_path / "har-skiprnn", scratch=tmp_path, progress=False)
    read = []
    for threshold in (0.2, 0.8):
        wanted = settings("har", "skiprnn", init_from="har-skiprnn", teacher=0.5, teacher_threshold=threshold)
        teacher = teacher_of(wanted, tmp_path / "har-skiprnn")
        assert teacher is not None
        batch = batch_of(slopes)
        answer = teacher.model(batch.inputs, at=teacher.at, lengths=batch.lengths)
        read.append(float(answer.rnn.inputs_processed.mean()))
    assert read[0] > 1.5 * read[1]


def test_a_dense_teacher_has_no_threshold(settings: Settings, slopes: Path, tmp_path: Path) -> None:
    chosen = settings("har", "dense", steps=2, val_every=2)
    fit(chosen, slopes, tmp_path / "har-dense", scratch=tmp_path, progress=False)
    wanted = settings("har", init_from="har-dense", teacher=0.5, teacher_threshold=0.4)
    with pytest.raises(ParamsError, match="har-dense is a dense model and has no threshold"):
        teacher_of(wanted, tmp_path / "har-dense")


def test_a_teacher_is_the_model_of_init_from(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    entry = "{dataset: har, model: skipw, window: 5, teacher: 0.5, start: data/prepared/har}"
    file.write_text(f"train:\n  experiments:\n    har-skipw: {entry}\n")
    with pytest.raises(ParamsError, match="the teacher is the model of init_from; name one"):
        load(file)


def test_the_distance_is_least_at_the_teachers_own_scores() -> None:
    """And its gradient hardly depends on the temperature (Hinton et al., 2015): for large τ it is (s - t) / outputs."""
    generator = torch.Generator().manual_seed(0)
    taught = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    taught -= taught.mean(-1, keepdim=True)
    for temperature in (1.0, 4.0):
        scores = taught.clone().requires_grad_()
        distance(scores, taught, regression=False, temperature=temperature).backward()
        assert scores.grad is not None and float(scores.grad.abs().max()) < 1e-12
    scores = (0.5 * taught).requires_grad_()
    distance(scores, taught, regression=False, temperature=1e3).backward()
    assert scores.grad is not None
    assert torch.allclose(7 * 3 * scores.grad, -0.5 * taught, atol=1e-3)
    assert float(distance(taught, taught + 0.5, regression=True)) == pytest.approx(0.125)
