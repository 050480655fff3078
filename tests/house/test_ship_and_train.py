"""Models go through train, evaluate and ship into the box, and out of it in place of a training."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipelines import evaluate, ship, train
from skipw.data.adding import prepare_adding
from skipw.data.normaliser import Normaliser
from skipw.data.prepared import Split, full_lengths, save_prepared
from skipw.errors import ChecksumError, DataFormatError
from skipw.evaluation import rounding
from skipw.evaluation.shipped import unpack
from skipw.evaluation.shipping import choose_models
from skipw.evaluation.shipping import ship as write_dataset
from skipw.models.saved import load_description, load_model, verified_weights
from skipw.models.words import pack_words, read_words

RECIPE = {
    "cell": "gru", "hidden_size": 4, "window": 5, "steps": 4, "val_every": 2, "batch_size": 8, "eval_batch_size": 16,
}  # fmt: skip


def write_params(place: Path, dataset: str, data: Path, **changed: Any) -> Path:
    """Two experiments, the second from the first."""
    first = {"dataset": dataset, "model": "skipw", "cost_per_input": 1e-4}
    then = {**first, "cost_per_input": 1e-3, "init_from": f"{dataset}-skipw"}
    content = {
        "scale": "tiny",
        "train": {
            "recipes": {dataset: {**RECIPE, **changed}},
            "experiments": {
                f"{dataset}-skipw": {**first, "start": f"{data}/prepared/{dataset}"},
                f"{dataset}-sparse": {**then, "start": f"{data}/models/{dataset}/{dataset}-skipw"},
            },
        },
    }
    place.write_text(yaml.safe_dump(content))
    return place


def run(stage: Any, name: str, params: Path, data: Path, *more: str) -> None:
    scratch = ["--scratch", str(data / "scratch"), "--no-tracking"] if stage is train else []
    stage.main([name, "--params", str(params), "--data", str(data), *scratch, *more])


def sha256(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def adding(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Settings, outputs and box of two trained models."""
    root = tmp_path_factory.mktemp("shipping")
    data, box = root / "data", root / "box"
    prepare_adding(data / "prepared" / "adding", seed=0, num_steps=10, train=40, val=20, test=20)
    params = write_params(root / "params.yaml", "adding", data)
    for name in ("adding-skipw", "adding-sparse"):
        run(train, name, params, data)
        run(evaluate, name, params, data)
    ship.main(["adding", "--params", str(params), "--data", str(data), "--out", str(box), "--all"])
    return params, data, box


def test_a_shipped_model_is_taken_where_its_settings_are_the_same(
    adding: tuple[Path, Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    params, trained, box = adding
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("SKIPW_PRETRAINED", str(box))
    data = tmp_path / "data"
    prepare_adding(data / "prepared" / "adding", seed=0, num_steps=10, train=40, val=20, test=20)
    for name in ("adding-skipw", "adding-sparse"):
        caplog.clear()
        run(train, name, params, data)
        assert f"{name}: taken from {box}, not trained (the trained weights)" in caplog.text
        ours, theirs = data / "models" / "adding" / name, trained / "models" / "adding" / name
        assert sha256(ours) == sha256(theirs) == load_description(ours)["checkpoint_sha256"]
        assert (ours / "history.csv").read_bytes() == (theirs / "history.csv").read_bytes()
    assert not (data / "scratch").exists()
    run(evaluate, "adding-sparse", params, data)
    grids = [root / "evaluation/adding/adding-sparse/grid.csv" for root in (data, trained)]
    assert grids[0].read_bytes() == grids[1].read_bytes()


@pytest.mark.parametrize(
    ("changed", "seed", "reason"),
    [
        ({"learning_rate": 0.002}, 0, "learning_rate is 0.001 there, 0.002 here"),
        ({}, 1, "preprocessing.seed is 0 there, 1 here"),
    ],
)
def test_else_it_is_trained_and_the_difference_is_named(
    adding: tuple[Path, Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, changed: dict[str, float],
    seed: int, reason: str,
) -> None:  # fmt: skip
    _, _, box = adding
    caplog.set_level(logging.INFO)
    data = tmp_path / "data"
    prepare_adding(data / "prepared" / "adding", seed=seed, num_steps=10, train=40, val=20, test=20)
    params = write_params(tmp_path / "params.yaml", "adding", data, **changed)
    run(train, "adding-skipw", params, data, "--pretrained", str(box))
    assert f"adding-skipw: trained here, not taken from {box}: {reason}\n" in caplog.text
    assert "shipped" not in load_description(data / "models" / "adding" / "adding-skipw")
    run(train, "adding-sparse", params, data, "--pretrained", str(box))
    assert "it started from another adding-skipw" in caplog.text


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_no_model_leaves_the_box_unless_that_is_asked_for(
    adding: tuple[Path, Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    params, data, made = adding
    box = tmp_path / "box"
    shutil.copytree(made, box)
    (box / "adding" / "adding-skipw").rename(box / "adding" / "adding-gone")
    shutil.copytree(box / "adding" / "adding-gone", box / "adding" / "adding-too")
    (box / "adding" / "adding-too" / "model.json").unlink()  # of a grid alone
    before = contents(box)
    arguments = ["adding", "--params", str(params), "--data", str(data), "--out", str(box), "--all"]
    with pytest.raises(SystemExit) as ended:
        ship.main(arguments)
    assert ended.value.code == 1
    assert f"ship: 2 of {box}'s models would leave it: adding-gone, adding-too. Nothing was" in caplog.text
    assert "--also" in caplog.text and "--replace" in caplog.text
    assert contents(box) == before
    ship.main([*arguments, "--replace"])
    assert sorted(path.name for path in (box / "adding").iterdir() if path.is_dir()) == [
        "adding-skipw", "adding-sparse",
    ]  # fmt: skip
    assert {path.relative_to(box): content for path, content in contents(box).items()} == {
        path.relative_to(made): content for path, content in contents(made).items()
    }
    ship.main(arguments)  # the same ones again: nothing leaves


def test_a_data_set_that_fails_leaves_the_others_in_the_box_as_they_were(
    adding: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params, data, made = adding
    box = tmp_path / "box"
    shutil.copytree(made, box)
    (box / "adding" / "adding-sparse" / "grid.csv").write_text("of an earlier training")
    before = contents(box)
    monkeypatch.setattr(
        ship, "choose_models", lambda name, *rest, **more: choose_models("adding", *rest, **more)
    )

    def fails_at_the_second(dataset: str, *rest: Any) -> None:
        if dataset == "mnist":
            raise DataFormatError("the disk is full")
        write_dataset(dataset, *rest)

    monkeypatch.setattr(ship, "ship", fails_at_the_second)
    with pytest.raises(SystemExit, match="1"):
        ship.main(
            ["adding", "mnist", "--params", str(params), "--data", str(data), "--out", str(box), "--all"]
        )
    assert contents(box) == before
    assert sorted(path.name for path in box.iterdir()) == ["README.md", "SHA256SUMS", "adding"]


def test_the_help_says_that_models_are_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        ship.main(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "They take the place of all that the box holds of the data set" in said and "--replace" in said


@pytest.mark.parametrize("named", ["--pretrained", "SKIPW_PRETRAINED"])
def test_a_folder_of_shipped_models_that_does_not_exist_is_an_error(
    adding: tuple[Path, Path, Path],
    tmp_path: Path,
    named: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A folder without this experiment is none: it is trained."""
    caplog.set_level(logging.INFO)
    data, missing, empty = tmp_path / "data", tmp_path / "pretraind", tmp_path / "empty"
    prepare_adding(data / "prepared" / "adding", seed=0, num_steps=10, train=40, val=20, test=20)
    params = write_params(tmp_path / "params.yaml", "adding", data)
    more: list[str] = []
    if named == "--pretrained":
        more = [named, str(missing)]
    else:
        monkeypatch.setenv(named, str(missing))
    with pytest.raises(SystemExit, match="1"):
        run(train, "adding-skipw", params, data, *more)
    assert f"train adding-skipw: there is no folder {missing}" in caplog.text
    assert "SKIPW_PRETRAINED" in caplog.text and not (data / "models").exists()
    empty.mkdir()
    run(train, "adding-skipw", params, data, "--pretrained", str(empty))
    assert f"not taken from {empty}: there is no {empty / 'adding' / 'adding-skipw'}" in caplog.text
    assert (data / "models" / "adding" / "adding-skipw" / "model.json").exists()


@pytest.mark.parametrize("more", [[], ["--no-tracking"]], ids=str)
def test_without_prepared_data_the_stage_to_run_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, more: list[str]
) -> None:
    params = write_params(tmp_path / "params.yaml", "adding", tmp_path)
    places = ["--params", str(params), "--data", str(tmp_path), "--scratch", str(tmp_path / "scratch")]
    with pytest.raises(SystemExit, match="1"):
        train.main(["adding-skipw", *places, *more])
    assert "train adding-skipw: " in caplog.text and "pipelines/prepare.py" in caplog.text
    assert not (tmp_path / "scratch").exists()


def write_texts(data: Path) -> None:
    """Made-up reviews: ten words with vectors, positive if the ninth occurs."""
    rng = np.random.default_rng(0)
    words = ["<pad>", "<unk>", *"abcdefgh"]
    splits = {}
    for name, size in {"train": 24, "val": 20, "test": 20}.items():
        inputs = rng.integers(1, len(words), (size, 8)).astype(np.int32)
        splits[name] = Split(inputs, (inputs == 8).any(axis=1).astype(np.int64), full_lengths(inputs))
    meta = {
        "dataset": "imdb", "title": "Reviews", "data_source": "mirror", "task": "classification",
        "metric": "accuracy", "classes": ["negative", "positive"], "input_size": 6, "num_steps": 8,
        "normaliser": Normaliser("none", 6).to_json(), "vocabulary_size": len(words), "embedding_size": 6,
        "preprocessing": {"seed": 0, "max_length": 8, "crop": "last", "glove_source": "mirror"},
    }  # fmt: skip
    vectors = rng.normal(0, 0.5, (len(words), 6)).astype(np.float32)
    vectors[0] = 0
    save_prepared(
        data / "prepared" / "imdb", splits, meta, {"vocabulary.json": words, "embedding.npy": vectors}
    )


def test_models_of_texts_share_rounded_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    data, box, fresh = tmp_path / "data", tmp_path / "box", tmp_path / "fresh"
    write_texts(data)
    write_texts(fresh)
    params = write_params(tmp_path / "params.yaml", "imdb", data)
    for name in ("imdb-skipw", "imdb-sparse"):
        run(train, name, params, data)
        run(evaluate, name, params, data)
    arguments = ["imdb", "--params", str(params), "--data", str(data), "--out", str(box), "--all"]
    ship.main(arguments)

    folder = box / "imdb" / "imdb-skipw"
    raw = json.loads((folder / "model.json").read_text())
    assert (raw["vocabulary"], raw["words"]["file"]) == (None, "../words.safetensors")
    model, description = load_model(folder)
    trained, before = load_model(data / "models" / "imdb" / "imdb-skipw")
    assert description["vocabulary"] == before["vocabulary"]
    vectors, exact = model.embedding.weight.numpy(), trained.embedding.weight.numpy()
    assert 0 < np.abs(vectors - exact).max() <= 0.51 * np.abs(exact).max() / 127
    assert (model.rnn.gate.weight == trained.rnn.gate.weight).all()

    def no_evaluation(*_: Any) -> None:
        raise AssertionError("the same weights were evaluated again")

    monkeypatch.setattr(rounding, "evaluate_again", no_evaluation)
    monkeypatch.setattr("skipw.evaluation.shipping.evaluate_again", no_evaluation)
    grids = {path: path.read_bytes() for path in box.glob("imdb/*/grid.csv")}
    ship.main(arguments)
    assert {path: path.read_bytes() for path in grids} == grids

    # Whoever has the box alone can ship from it: where its models come from is kept, nothing is evaluated again.
    unpacked, files = tmp_path / "unpacked", {path: path.read_bytes() for path in box.glob("imdb/*/*")}
    unpack(box, "imdb", unpacked)
    write_texts(unpacked)
    ship.main([*arguments[:4], str(unpacked), *arguments[5:]])
    assert {path: path.read_bytes() for path in files} == files

    run(train, "imdb-skipw", params, fresh, "--pretrained", str(box))  # with the vectors as they were
    assert sha256(fresh / "models/imdb/imdb-skipw") == before["checkpoint_sha256"]
    words = box / "imdb" / "words.safetensors"
    words.write_bytes(words.read_bytes()[:-1] + b"?")
    with pytest.raises(ChecksumError, match="words.safetensors has SHA-256"):
        verified_weights(folder, description)


def test_rows_of_zeros_and_largest_values_survive_rounding(tmp_path: Path) -> None:
    vectors = np.array([[0, 0, 0], [1, -1, 0.5], [3e-5, 0, -6e-5]], dtype=np.float32)
    path = tmp_path / "words.safetensors"
    path.write_bytes(pack_words(vectors, ["<pad>", "ä", "word"]))
    read, words = read_words(path, hashlib.sha256(path.read_bytes()).hexdigest())
    assert words == ["<pad>", "ä", "word"]
    assert (read[0] == 0).all()
    assert np.abs(read[1] - vectors[1]).max() < 1 / 127
    assert np.abs(read[2] - vectors[2]).max() < 6e-5 / 3
