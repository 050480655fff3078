"""Models that came with the code: written, refused, registered beside one's own, pulled."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines import pretrained, ship
from skipw.data.adding import generate, prepare_adding
from skipw.errors import ChecksumError, DataUnavailableError
from skipw.evaluation.terms import ShippingError, require_terms
from skipw.models.saved import load_description
from skipw.params import Params
from skipw.tracking.bundling import pull
from skipw.tracking.links import compare_link
from skipw.tracking.predictor import Predictor, load_predictor
from skipw.tracking.registry import register_front
from skipw.tracking.store import connect
from tests.tracking.small_pipeline import RATES, SCALE, keep_small

NAME = "skipw-adding"
STEPS = 20


@pytest.fixture
def trained(data: Path) -> Path:
    """A finished pipeline with prepared data."""
    prepare_adding(data / "prepared" / "adding", seed=0, num_steps=STEPS, train=20, val=50, test=50)
    return data


def write_box(data: Path, out: Path, *also: str) -> Path:
    ship.ship_all(["adding"], Params(scale="paper"), data, out, also, everything=False)
    return out


def files(folder: Path) -> dict[str, str]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_the_front_is_written_the_same_each_time(trained: Path, tmp_path: Path) -> None:
    first, second = write_box(trained, tmp_path / "a"), write_box(trained, tmp_path / "b", "adding-thrrnn")
    on_front = {"adding-dense", "adding-periodic", "adding-random", "adding-skipw", "adding-skipw-sparse"}
    assert {path.parent.name for path in first.glob("adding/*/grid.csv")} == on_front
    assert {path.parent.name for path in second.glob("adding/*/grid.csv")} == {*on_front, "adding-thrrnn"}
    for name in on_front - {"adding-periodic"}:  # periodic has the weights of random
        source, written = trained / "models" / "adding" / name, first / "adding" / name
        assert files(written)["model.safetensors"] == files(source)["model.safetensors"]
        assert load_description(written)["shipped"]["trained_sha256"] == files(source)["model.safetensors"]
        assert files(written)["grid.csv"] == files(trained / "evaluation" / "adding" / name)["grid.csv"]
    before = files(first)
    write_box(trained, first)
    assert files(first) == before
    page = (first / "README.md").read_text()
    assert "| `adding-skipw` | GRU 4 | 5 | 0.0001 | 0 | 5 | 0.5 | 0.0011 | 50.0 % | 3 |" in page


@pytest.mark.parametrize("place", ["prepared/adding/meta.json", "models/adding/adding-skipw/model.json"])
def test_a_model_of_the_mall_poses_is_refused(trained: Path, tmp_path: Path, place: str) -> None:
    facts = json.loads((trained / place).read_text())
    (trained / place).write_text(json.dumps({**facts, "data_source": "har-mall"}))
    for grid in trained.glob("evaluation/adding/*/grid.csv") if "prepared" in place else ():
        grid.write_text(grid.read_text().replace("generated", "har-mall"))
    with pytest.raises(ShippingError, match="har-mall and can't be shipped: no licence is stated"):
        write_box(trained, tmp_path / "box")
    assert not (tmp_path / "box").exists()


def test_so_is_one_that_started_from_them(trained: Path, tmp_path: Path) -> None:
    paths = [trained / f"models/adding/{name}/model.json" for name in ("adding-skipw", "adding-thrrnn")]
    skipw, donor = (json.loads(path.read_text()) for path in paths)
    paths[0].write_text(json.dumps({**skipw, "lineage": ["adding-thrrnn"]}))
    assert "adding/adding-thrrnn/grid.csv" in files(write_box(trained, tmp_path / "box"))
    paths[1].write_text(json.dumps({**donor, "data_source": "har-mall"}))
    with pytest.raises(ShippingError, match="adding-thrrnn comes from har-mall"):
        write_box(trained, tmp_path / "none")


@pytest.mark.parametrize("source", ["har-mall", "mirror", "folder:kitchen", "anything"])
def test_of_poses_only_simulated_ones_are_shipped(source: str) -> None:
    assert "simulated by this package" in require_terms("har", "har-simulator", "it")
    with pytest.raises(ShippingError, match="Sources of har that can: har-simulator"):
        require_terms("har", source, "it")


def state() -> dict[str, Any]:
    """What a user sees of the registry."""
    journal = connect()
    registered = journal.client.get_registered_model(NAME)
    versions = journal.client.search_model_versions(f"name = '{NAME}'")
    runs = journal.client.search_runs([journal.experiment("adding")])
    return {
        "aliases": dict(registered.aliases),
        "tags": dict(registered.tags),
        "versions": {int(v.version): dict(v.tags) for v in versions},
        "runs": {run.info.run_id: run.data.tags for run in runs},
    }


def holder(found: dict[str, Any], alias: str) -> dict[str, str]:
    tags: dict[str, str] = found["versions"][int(found["aliases"][alias])]
    return tags


def test_they_are_registered_once_and_aliases_are_chosen_on_val(
    mlruns: Path, trained: Path, tmp_path: Path
) -> None:
    keep_small(trained, "adding-skipw", "adding-thrrnn")
    grid = trained / "evaluation" / "adding" / "adding-skipw" / "grid.csv"
    table = pd.read_csv(grid)
    worst_on_val = (table["budget"] == 1) & (table["split"] == "test")
    table.loc[worst_on_val, "value"] = 1e-9
    table.to_csv(grid, index=False)
    box = write_box(trained, tmp_path / "box")
    lines = pretrained.register("adding", box, False)
    assert lines[0] == "skipw-adding: 1 added, 0 kept, 0 left the front"
    first = state()
    tags = holder(first, "most-accurate")
    assert (tags["shipped"], tags["scale"], tags["budget"], tags["pareto"]) == ("true", "paper", "5", "true")
    assert (first["tags"]["most-accurate.budget"], first["tags"]["cheapest.budget"]) == ("5", "1")
    logged = connect().client.get_model_version_by_alias(NAME, "knee")
    artifacts = {file.path for file in connect().client.list_artifacts(logged.run_id)}
    assert {"front.csv", "front.html", "front.png", "grid.json"} <= artifacts
    assert pretrained.register("adding", box, False)[0].startswith("skipw-adding: 0 added, 1 kept")
    assert state() == first


def test_a_pulled_model_answers_as_the_shipped_one(mlruns: Path, trained: Path, tmp_path: Path) -> None:
    keep_small(trained, "adding-skipw")
    box = write_box(trained, tmp_path / "box")
    pretrained.register("adding", box, False)
    sequences = generate(20, STEPS, np.random.default_rng(1), balanced=False).inputs.tolist()
    expected = Predictor(box / "adding" / "adding-skipw").predict(sequences, {"budget": 3, "threshold": 0.5})
    registered = load_predictor(f"models:/{NAME}@knee")
    answers = registered.predict(sequences, {"budget": 3, "threshold": 0.5})
    pd.testing.assert_frame_equal(answers, expected)

    bundle = pull(f"models:/{NAME}@knee", tmp_path / "bundle")
    at = bundle.default_point
    assert at is not None
    own = Predictor(box / "adding" / "adding-skipw", {"budget": at.budget, "threshold": at.threshold})
    for sequence, answer in zip(sequences[:5], own.predict(sequences[:5])["scores"], strict=True):
        stream = bundle.create_stream()
        for row in sequence:
            if stream.needs_input:
                stream.process(np.asarray(row, dtype=np.float32))
            else:
                stream.skip()
        assert stream.output() == pytest.approx(answer, abs=1e-5)


def test_own_models_keep_their_aliases_until_told_otherwise(
    mlruns: Path, trained: Path, tmp_path: Path
) -> None:
    keep_small(trained, "adding-skipw", "adding-dense")
    box = write_box(trained, tmp_path / "box")

    def register_own() -> None:
        register_front("adding", trained, scale=SCALE, rates=RATES)

    register_own()
    own = state()
    lines = pretrained.register("adding", box, False)
    assert "the aliases stay with your own models (most-accurate: version 1," in lines[1]
    assert "shipped most-accurate: version 3, adding-dense" in lines[2]
    both = state()
    assert (both["aliases"], both["tags"]) == (own["aliases"], own["tags"])
    assert all(both["versions"][number] == own["versions"][number] for number in (1, 2))
    assert {tags["pareto"] for tags in both["versions"].values()} == {"true"}

    fronts = {False: trained / "pareto" / "adding" / "front.csv", True: box / "adding" / "front.csv"}
    assert fronts[False].read_bytes() == fronts[True].read_bytes()
    for which, front in fronts.items():
        link = compare_link("adding", front=front, shipped=which) or ""
        named = {run for run in both["runs"] if run in link}
        assert len(named) == 2
        assert (named == set(own["runs"])) is not which
    pretrained.register("adding", box, True)
    assert holder(state(), "most-accurate")["shipped"] == "true"
    register_own()
    after = state()
    assert "shipped" not in holder(after, "most-accurate")
    assert len(after["versions"]) == 4


def test_a_changed_file_is_noticed(trained: Path, tmp_path: Path) -> None:
    box = write_box(trained, tmp_path / "box")
    assert pretrained.find_datasets(box, []) == ["adding"]
    with pytest.raises(DataUnavailableError, match="holds models of adding, wanted har"):
        pretrained.find_datasets(box, ["har"])
    grid = box / "adding" / "adding-skipw" / "grid.csv"
    grid.write_text(grid.read_text().replace("0.0011", "0.0001"))
    with pytest.raises(ChecksumError, match=r"grid.csv has SHA-256 .* `git restore"):
        pretrained.find_datasets(box, [])
