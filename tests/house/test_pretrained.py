"""Whatever lies in pretrained/: it loads, may be shipped, and does what its tables say."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch

import skipw
from skipw.data.adding import generate
from skipw.data.normaliser import Normaliser
from skipw.evaluation.evaluated import GRID_FILE
from skipw.evaluation.front import read_grids
from skipw.evaluation.front_files import checked_front
from skipw.evaluation.shipped import shipped_datasets, shipped_page
from skipw.evaluation.table import read_grid, write_table
from skipw.evaluation.terms import require_terms
from skipw.models.saved import load_description, load_model
from skipw.params import experiment_settings, load
from skipw.runtime.checksums import verify_checksums
from skipw.tracking.examples import DIGITS, input_example
from skipw.tracking.predictor import Predictor
from skipw.training.shipped import differences

BOX = Path(__file__).resolve().parents[2] / "pretrained"
DATASETS = shipped_datasets(BOX)


def models(dataset: str) -> list[Path]:
    return sorted(path.parent for path in (BOX / dataset).glob("*/model.json"))


def repeatable(dataset: str) -> list[Path]:
    """Those with a grid, but for sampling baselines, which are evaluated with masks of their own."""
    kinds = {one: load_description(one)["architecture"]["model"] for one in models(dataset)}
    return [one for one, kind in kinds.items() if kind != "random" and (one / GRID_FILE).exists()]


def best_point(folder: Path, metric: str) -> tuple[skipw.OperatingPoint | None, pd.Series]:
    """The most accurate point on val, and what the grid says of it on test."""
    grid = read_grid(folder / GRID_FILE)
    grid = grid[grid["metric"] == metric]
    val = grid[grid["split"] == "val"]
    row = val.loc[(val["value"] * (1 if metric == "accuracy" else -1)).idxmax()]
    same = grid[(grid["split"] == "test") & (grid["occurrence"] == row["occurrence"])]
    for key in ("budget", "threshold"):
        same = same[same[key].isna() if pd.isna(row[key]) else same[key] == row[key]]
    (_, test), *_ = same.iterrows()
    if pd.isna(row["threshold"]):
        return None, test
    budget = None if pd.isna(row["budget"]) else int(row["budget"])
    return skipw.OperatingPoint(budget, float(row["threshold"])), test


def answers(
    folder: Path, inputs: npt.NDArray[Any], point: skipw.OperatingPoint | None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Scores [n, outputs] and which inputs were processed [n, T]."""
    model, _ = load_model(folder)
    scores, updates = [], []
    with torch.inference_mode():
        for part in np.array_split(inputs, max(1, len(inputs) // 500)):
            result = model(torch.from_numpy(np.ascontiguousarray(part)), at=point)
            scores.append(result.scores.numpy())
            updates.append(result.rnn.updates.numpy())
    return np.concatenate(scores), np.concatenate(updates)


def check_updates(updates: npt.NDArray[np.bool_], point: skipw.OperatingPoint | None, row: pd.Series) -> None:
    """The share of inputs is the grid's, the bound holds in every window."""
    shares = updates.mean(axis=1)
    spread = max(float(shares.std()), 1e-3) / np.sqrt(len(shares))
    assert shares.mean() == pytest.approx(row["inputs_processed"], abs=6 * spread)
    if point is not None and point.budget is not None:
        window = int(row["window"])
        starts = np.arange(0, updates.shape[1], window)
        assert np.add.reduceat(updates, starts, axis=1).max() <= point.budget


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_papers_settings_take_them_instead_of_training(dataset: str, tmp_path: Path) -> None:
    """`SKIPW_PRETRAINED=pretrained make paper` trains none of them again, nor what started from them."""
    params = load(BOX.parent / "paper" / "params.yaml")
    shutil.copyfile(BOX / dataset / "meta.json", tmp_path / "meta.json")
    for folder in models(dataset):
        settings = experiment_settings(params, folder.name)
        if vocabulary := load_description(folder).get("vocabulary"):
            (tmp_path / "vocabulary.json").write_text(json.dumps(vocabulary))
        donor = None if settings.init_from is None else folder.parent / settings.init_from
        assert differences(settings, tmp_path, BOX, donor) == []
        if donor is None:
            continue
        trained = json.loads(
            (donor / "model.json").read_text()
        )  # with the word vectors in full, not as shipped
        trained["checkpoint_sha256"] = trained["shipped"]["trained_sha256"]
        (tmp_path / donor.name).mkdir(exist_ok=True)
        if (words := BOX / dataset / "words.safetensors").exists() and not (tmp_path / words.name).exists():
            (tmp_path / words.name).symlink_to(words)
        (tmp_path / donor.name / "model.json").write_text(json.dumps(trained))
        assert differences(settings, tmp_path, BOX, tmp_path / donor.name) == []


def test_files_are_as_they_were_written() -> None:
    verify_checksums(BOX)
    assert (BOX / "README.md").read_text(encoding="utf-8") == shipped_page(BOX)


@pytest.mark.parametrize("dataset", DATASETS)
def test_models_load_and_may_be_shipped(dataset: str, tmp_path: Path) -> None:
    meta = json.loads((BOX / dataset / "meta.json").read_text())
    grids = read_grids(sorted((BOX / dataset).glob(f"*/{GRID_FILE}")))
    assert set(grids["data_source"]) == {meta["data_source"]}
    front = checked_front(grids, meta, meta["shipped"]["min_gain"])
    write_table(front, tmp_path / "front.csv")
    assert (tmp_path / "front.csv").read_bytes() == (BOX / dataset / "front.csv").read_bytes()
    assert {"most-accurate", "knee", "cheapest"} <= set(";".join(front["alias"]).split(";"))
    for folder in models(dataset):
        description = load_description(folder)
        assert require_terms(dataset, description["data_source"], folder.name)
        assert description["data_source"] == meta["data_source"]
        assert description["experiment"] == folder.name
        answer = Predictor(folder).predict(input_example(description, 2)["sequence"].tolist())
        assert np.isfinite(answer["scores"].tolist()).all()


@pytest.mark.parametrize("folder", repeatable("adding"), ids=lambda folder: folder.name)
def test_the_adding_tasks_figures_come_out_again(folder: Path) -> None:
    """The first sequences of the very test split, generated anew."""
    description = load_description(folder)
    steps, seed = (description["preprocessing"][key] for key in ("num_steps", "seed"))
    split = generate(5000, steps, np.random.default_rng([seed, 2]), balanced=True)
    point, row = best_point(folder, "mse")
    scores, updates = answers(folder, split.inputs, point)
    errors = (scores[:, 0] - split.targets) ** 2
    spread = float(errors.std()) / np.sqrt(len(errors))
    assert errors.mean() == pytest.approx(row["value"], abs=6 * spread)
    check_updates(updates, point, row)


def test_the_simulated_peoples_figures_come_out_again() -> None:
    from skipw.data.simulator import NUM_STEPS, STRIDE, plan, record

    tested = [recording for recording in plan() if recording.split == "test"][::4]
    windows, labels = [], []
    for recording, frames in zip(tested, record(tested), strict=True):
        starts = range(0, STRIDE * recording.windows, STRIDE)
        windows += [np.round(frames[start : start + NUM_STEPS], 1) for start in starts]
        labels += [recording.action] * recording.windows
    for folder in repeatable("har"):
        description = load_description(folder)
        inputs = Normaliser.from_json(description["normaliser"])(np.asarray(windows))
        point, row = best_point(folder, "accuracy")
        scores, updates = answers(folder, inputs.astype(np.float32), point)
        share = float((scores.argmax(axis=1) == np.asarray(labels)).mean())
        spread = np.sqrt(row["value"] * (1 - row["value"]) / len(tested))  # windows of a recording are alike
        assert share == pytest.approx(row["value"], abs=5 * spread + 0.01), folder.name
        assert updates.mean() == pytest.approx(row["inputs_processed"], abs=0.05)


def test_drawn_digits_are_read() -> None:
    """Straight strokes are like no handwriting: each model of one cost reads one, and all together two of three.

    Those of many budgets are less robust (docs/experiments/mnist.md); `-k10-anytime` reads none.
    """
    read, single = {}, []
    for folder in repeatable("mnist"):
        point, row = best_point(folder, "accuracy")
        if point is None or row["value"] < 0.95:
            continue
        default = {"budget": point.budget, "threshold": point.threshold}
        sequences = input_example(load_description(folder), len(DIGITS))["sequence"].tolist()
        found = Predictor(folder, default).predict(sequences)["prediction"].tolist()
        read[folder.name] = sum(a == b for a, b in zip(found, DIGITS, strict=True))
        if not load_description(folder)["settings"].get("random_budget"):
            single.append(folder.name)
    assert len(single) >= 2 and min(read[name] for name in single) >= 1, read
    assert sum(read.values()) >= 2 / 3 * len(DIGITS) * len(read), read


@pytest.mark.skipif(
    not (Path(os.environ.get("SKIPW_MIRROR", "none")) / "mnist").is_dir(), reason="needs the mirror's MNIST"
)
def test_mnists_figures_come_out_again() -> None:
    from skipw.data.mnist import read_images_and_labels, to_sequences

    images, labels = read_images_and_labels(Path(os.environ["SKIPW_MIRROR"]) / "mnist", "t10k")
    chosen = np.random.default_rng(0).permutation(len(images))[:300]
    for folder in repeatable("mnist"):
        description = load_description(folder)
        size = description["preprocessing"]["image_size"]
        inputs = Normaliser.from_json(description["normaliser"])(to_sequences(images[chosen], size))
        point, row = best_point(folder, "accuracy")
        scores, updates = answers(folder, inputs.astype(np.float32), point)
        share = float((scores.argmax(axis=1) == labels[chosen]).mean())
        spread = np.sqrt(row["value"] * (1 - row["value"]) / len(chosen))
        assert share == pytest.approx(row["value"], abs=5 * spread + 0.01), folder.name
        check_updates(updates, point, row)


def test_plain_praise_and_plain_blame_are_told_apart() -> None:
    praise = (
        "A wonderful, moving film. The acting is superb and I loved every minute of it, highly recommended!"
    )
    blame = "A terrible, boring film. The acting is awful and I hated every minute of it, a complete waste of time."
    for folder in repeatable("imdb"):
        point, row = best_point(folder, "accuracy")
        if row["value"] < 0.75:
            continue
        default = {} if point is None else {"budget": point.budget, "threshold": point.threshold}
        found = Predictor(folder, default).predict([praise, blame])["prediction"].tolist()
        assert found == ["positive", "negative"], folder.name
