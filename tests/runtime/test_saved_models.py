"""Models from folders: without torch, verified, normalised inside, with heads and words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import skipw
from skipw import ChecksumError, DataFormatError, OperatingPoint, ParamsError, ShapeError, StreamModel
from skipw.data.normaliser import Normaliser
from skipw.models.saved import load_model, save_model
from skipw.models.task import Architecture, SequenceModel

POINT = OperatingPoint(2, 0.4)


def sequence_model(model: str = "skipw", **changes: Any) -> SequenceModel:
    torch.manual_seed(6)
    window = 4 if model == "skipw" else None
    built = Architecture(model, 6, 3, "classification", hidden_size=8, window=window, **changes).build()
    if hasattr(built.rnn, "gate"):
        with torch.no_grad():
            built.rnn.gate.weight.normal_(0, 1)
            built.rnn.gate.bias.zero_()
    return built.eval()


def poses(steps: int = 21) -> np.ndarray:
    """Raw frames of three joints, some unseen."""
    rng = np.random.default_rng(2)
    frames = rng.uniform(50, 900, size=(steps, 6))
    frames[rng.random(steps) < 0.2, :2] = 0
    return frames


NORMALISERS = [
    Normaliser("none", 6),
    Normaliser("scale", 6, mean=(100.0,) * 6, scale=(300.0,) * 6),
    Normaliser("standard", 6, mean=(400.0,) * 6, scale=(200.0,) * 6, clip=2.0, missing=0.0),
    Normaliser("pose", 6, clip=3.0, missing=0.0),
]


@pytest.mark.parametrize("normaliser", NORMALISERS, ids=lambda normaliser: normaliser.kind)
@pytest.mark.parametrize("changes", [{}, {"head_hidden": 7, "dropout": 0.5, "cell": "lstm", "num_layers": 2}])
def test_raw_inputs_are_normalised_and_scored_as_in_a_batch(
    tmp_path: Path, walk: Any, normaliser: Normaliser, changes: dict[str, Any]
) -> None:
    model, frames = sequence_model(**changes), poses()
    written = save_model(tmp_path, model, {"normaliser": normaliser.to_json(), "classes": ["a", "b", "c"]})
    loaded = StreamModel.load(tmp_path)
    assert loaded.description == written
    assert loaded.has_head
    trace = walk(loaded.create_stream(POINT), frames)
    normalised = torch.from_numpy(normaliser(frames))[None]
    with torch.inference_mode():
        for end in (1, 4, 10, 21):
            batch = model(normalised[:, :end], at=POINT, backend="reference")
            np.testing.assert_array_equal(trace.updates[:end], batch.rnn.updates[0].numpy())
            np.testing.assert_allclose(trace.outputs[end - 1], batch.scores[0].numpy(), rtol=0, atol=1e-5)
    memory = StreamModel.from_model(*load_model(tmp_path)).create_stream(POINT)
    np.testing.assert_array_equal(walk(memory, frames).outputs, trace.outputs)


def test_a_frame_that_the_normaliser_would_clip_must_still_be_finite(tmp_path: Path) -> None:
    save_model(tmp_path, sequence_model(), {"normaliser": NORMALISERS[2].to_json()})
    stream = StreamModel.load(tmp_path).create_stream(OperatingPoint(4, 0.0))
    for bad in (np.inf, np.nan):
        with pytest.raises(ValueError, match="finite"):
            stream.process([bad] * 6)
    assert stream.usage.inputs == 0


@pytest.mark.parametrize("model", ["skipw", "thrrnn", "skiprnn", "dense", "random", "periodic"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_save_and_load_give_the_same_stream(tmp_path: Path, walk: Any, model: str, cell: str) -> None:
    built = sequence_model(model, cell=cell, initial_state="zeros" if cell == "gru" else "trainable")
    original = StreamModel.from_model(built, {"normaliser": NORMALISERS[1].to_json(), "seed": 3})
    written = original.save(tmp_path / "new" / "folder")
    again = StreamModel.from_model(tmp_path / "new" / "folder")
    assert again.description == written
    assert again.architecture == original.architecture
    first, second = walk(original.create_stream(), poses()), walk(again.create_stream(), poses())
    np.testing.assert_array_equal(first.updates, second.updates)
    np.testing.assert_array_equal(first.outputs, second.outputs)
    torch_model, description = load_model(tmp_path / "new" / "folder")
    assert description == written
    assert all(
        torch.equal(a, b)
        for a, b in zip(torch_model.state_dict().values(), built.state_dict().values(), strict=True)
    )
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "model.json", "model.safetensors",
    ]  # fmt: skip


def test_a_folder_passes_through_unchanged(tmp_path: Path) -> None:
    written = save_model(tmp_path / "a", sequence_model(), {"experiment": "ü"})
    assert StreamModel.load(tmp_path / "a").save(tmp_path / "b") == written
    for name in ("model.json", "model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("kind", [skipw.SkipW, skipw.ThrRNN, skipw.SkipRNN, skipw.DenseRNN])
def test_models_without_head_are_saved_too(tmp_path: Path, walk: Any, lively: Any, kind: Any) -> None:
    settings = {"window": 5, "time_feature": "since_update", "time_scale": 7.0, "select": "last"}
    rnn = lively(kind, "lstm", 2, **(settings if kind is skipw.SkipW else {}))
    StreamModel.from_model(rnn).save(tmp_path)
    loaded = StreamModel.load(tmp_path)
    assert not loaded.has_head
    frames = np.random.default_rng(0).normal(size=(40, 5))
    trace = walk(loaded.create_stream(), frames)
    assert trace.outputs.shape == (40, 9)
    np.testing.assert_array_equal(
        trace.outputs, walk(StreamModel.from_model(rnn).create_stream(), frames).outputs
    )
    with pytest.raises(ChecksumError, match="head"):
        load_model(tmp_path)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other"])
def test_damaged_weights_are_refused(tmp_path: Path, damage: str) -> None:
    save_model(tmp_path, sequence_model(), {})
    path = tmp_path / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes({"flip": bytes(content), "cut": content[:-9], "empty": b"", "other": b"PK"}[damage])
    with pytest.raises(ChecksumError, match="SHA-256"):
        StreamModel.load(tmp_path)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    written = save_model(tmp_path, sequence_model(), {})
    path = tmp_path / "model.json"
    for key, value in (("hidden_size", 9), ("num_layers", 2), ("window", 5), ("initial_state", "zeros")):
        path.write_text(json.dumps({**written, "architecture": {**written["architecture"], key: value}}))
        with pytest.raises(ChecksumError, match="don't fit the architecture"):
            StreamModel.load(tmp_path)
    path.write_text(json.dumps({**written, "architecture": {**written["architecture"], "pickle": "x"}}))
    with pytest.raises(ParamsError, match="pickle"):
        StreamModel.load(tmp_path)
    path.write_text(json.dumps({**written, "normaliser": Normaliser("none", 5).to_json()}))
    with pytest.raises(DataFormatError, match="normaliser takes 5 values, the model 6"):
        StreamModel.load(tmp_path)
    path.write_text(json.dumps({**written, "head": False}))
    with pytest.raises(ChecksumError, match=r"head\.output"):
        StreamModel.load(tmp_path)
    with pytest.raises(DataFormatError, match="does not exist"):
        StreamModel.load(tmp_path / "absent")


VOCABULARY = ["<pad>", "<unk>", "good", "n't", "film", "...", "bad"]


@pytest.fixture
def words(tmp_path: Path) -> tuple[SequenceModel, Path]:
    model = sequence_model(vocabulary_size=7, embedding_size=6)
    with torch.no_grad():
        assert model.embedding is not None
        model.embedding.weight.copy_(torch.randn(7, 6, generator=torch.Generator().manual_seed(1)))
    save_model(tmp_path, model, {"vocabulary": VOCABULARY, "normaliser": Normaliser("none", 6).to_json()})
    return model, tmp_path


def test_words_and_ids(words: tuple[SequenceModel, Path], walk: Any) -> None:
    model, folder = words
    ids = [2, 1, 3, 4, 6, 5, 2, 2, 4, 1, 3]
    tokens = ["good", "unheard-of", "n't", "film", "bad", "...", "GOOD", "good", "Film", "zzz", "n't"]
    loaded = StreamModel.load(folder)
    by_id, by_word = walk(loaded.create_stream(POINT), ids), walk(loaded.create_stream(POINT), tokens)
    by_numpy = walk(loaded.create_stream(POINT), np.array(ids))
    batch = model(torch.tensor([ids]), at=POINT, backend="reference")
    for trace in (by_id, by_word, by_numpy):
        np.testing.assert_array_equal(trace.updates, batch.rnn.updates[0].numpy())
        np.testing.assert_allclose(trace.outputs[-1], batch.scores[0].detach().numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "bad", [7, -1, 2.0, float("nan"), True, None, [2], np.zeros(6), "two words", "", "don't"]
)
def test_bad_tokens_are_refused(words: tuple[SequenceModel, Path], bad: object) -> None:
    stream = StreamModel.load(words[1]).create_stream(OperatingPoint(4, 0.0))
    with pytest.raises(ShapeError):
        stream.process(bad)
    assert stream.usage.inputs == 0


def test_words_need_a_vocabulary(words: tuple[SequenceModel, Path]) -> None:
    stream = StreamModel.from_model(words[0]).create_stream(OperatingPoint(4, 0.0))
    with pytest.raises(ShapeError, match="without a vocabulary"):
        stream.process("good")
    stream.process(2)
    with pytest.raises(DataFormatError, match="vocabulary has 2 words"):
        StreamModel.from_model(words[0], {"vocabulary": ["a", "b"]})


def test_streaming_needs_no_torch(tmp_path: Path) -> None:
    save_model(tmp_path, sequence_model(cell="lstm"), {"normaliser": NORMALISERS[3].to_json()})
    code = f"""
import sys, skipw, skipw.runtime.stream
stream = skipw.StreamModel.load({str(tmp_path)!r}).create_stream(skipw.OperatingPoint(2, 0.0))
for t in range(8):
    if stream.needs_input: stream.process([1.0, 2, 3, 4, 5, 6 + t])
    else: stream.skip()
skipw.StreamModel.from_model({str(tmp_path)!r}).save({str(tmp_path / "copy")!r})
assert stream.usage.processed == 4 and len(stream.output()) == 3, stream.usage
heavy = {{"torch", "pandas", "lightning", "mlflow", "dvc", "optuna"}} & set(sys.modules)
assert not heavy, heavy
"""
    source = Path(__file__).parents[2] / "src"
    environment = {**os.environ, "PYTHONPATH": str(source)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
