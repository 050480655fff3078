"""``skipw pull``: any address of a model into a bundle with the right point, origin and measured points."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from skipw import OperatingPoint, cli
from skipw.errors import ChecksumError, DataFormatError, DataUnavailableError
from skipw.models.saved import load_description
from skipw.runtime.bundle import load_bundle
from skipw.tracking.bundling import pull
from skipw.tracking.registry import register_front
from skipw.tracking.store import connect
from skipw.tracking.versions import logged_model_id
from tests.tracking.small_pipeline import RATES, SCALE, keep_small, write_front, write_trial

pytest.importorskip("onnx", reason="the extra `edge` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `edge` is not installed")

NAME = "skipw-adding"


@pytest.fixture
def registered(mlruns: Path, data: Path) -> Any:
    """The version of adding-skipw, which holds every alias."""
    keep_small(data, "adding-skipw")
    register_front("adding", data, scale=SCALE, rates=RATES)
    return connect().client.get_model_version(NAME, "1")


def test_every_address_of_a_version_is_the_same_model(registered: Any, data: Path, tmp_path: Path) -> None:
    store = connect()
    model_id = logged_model_id(registered)
    expected = load_description(data / "models" / "adding" / "adding-skipw")["checkpoint_sha256"]
    tags = store.client.get_registered_model(NAME).tags
    points = {}
    for uri in (
        f"models:/{NAME}@cheapest", f"models:/{NAME}@most-accurate", f"models:/{NAME}/1", f"models:/{NAME}/latest",
        f"models:/{model_id}", f"runs:/{registered.run_id}/adding-skipw",
    ):  # fmt: skip
        bundle = pull(uri, tmp_path / "bundle")
        facts = bundle.facts
        assert (facts["checkpoint_sha256"], facts["uri"], facts["run_id"]) == (
            expected,
            uri,
            registered.run_id,
        )
        assert facts["experiment"] == "adding-skipw"
        assert facts["version"] == ("1" if NAME in uri else "")
        assert bundle.check().passed
        points[uri] = bundle.default_point
        front = [point for point in bundle.points if point.pareto]
        assert {alias for point in front for alias in point.aliases} == {"cheapest", "knee", "most-accurate"}
    cheapest = OperatingPoint(int(tags["cheapest.budget"]), float(tags["cheapest.threshold"]))
    assert points.pop(f"models:/{NAME}@cheapest") == cheapest == OperatingPoint(1, 0.5)
    assert set(points.values()) == {OperatingPoint(5, 0.5)}


def test_the_model_of_a_run_comes_with_the_runs_grid(registered: Any, data: Path, tmp_path: Path) -> None:
    client, folder = connect().client, data / "models" / "adding" / "adding-skipw"
    for file in ("model.safetensors", "model.json"):
        client.log_artifact(registered.run_id, str(folder / file), "model")
    bundle = pull(f"runs:/{registered.run_id}/model", tmp_path / "bundle")
    assert [(point.budget, point.pareto) for point in bundle.points] == [(1, False), (3, False), (5, False)]
    assert bundle.default_point == OperatingPoint(5, 0.5)


def test_an_alias_moves_only_the_point_it_names(registered: Any, tmp_path: Path) -> None:
    connect().client.set_registered_model_tag(NAME, "knee.budget", "2")
    connect().client.set_registered_model_tag(NAME, "knee.threshold", "0.25")
    assert pull(f"models:/{NAME}@knee", tmp_path / "knee").default_point == OperatingPoint(2, 0.25)
    assert pull(f"models:/{NAME}/1", tmp_path / "one").default_point == OperatingPoint(5, 0.5)


def test_a_sampling_baseline_keeps_its_share(mlruns: Path, data: Path, tmp_path: Path) -> None:
    keep_small(data, "adding-periodic")
    register_front("adding", data, scale=SCALE, rates=RATES)
    best = pull(f"models:/{NAME}@most-accurate", tmp_path / "best").facts
    assert (best["experiment"], best["sampling"], best["rate"]) == ("adding-periodic", "periodic", 0.5)
    cheapest = pull(f"models:/{NAME}@cheapest", tmp_path / "cheapest")
    assert (cheapest.facts["rate"], cheapest.default_point) == (0.05, None)  # as it was measured
    stream = cheapest.create_stream()
    for _ in range(40):
        stream.process([0.5, 0.0]) if stream.needs_input else stream.skip()
    assert stream.usage.fraction == 0.05


def test_an_unknown_address_is_a_message_and_leaves_nothing(registered: Any, tmp_path: Path) -> None:
    for uri in (
        "models:/skipw-adding@nobody", "models:/skipw-adding/99", "models:/nothing@knee", "models:/m-0123",
        "runs:/0123/model", "models:/", "nowhere/at/all",
    ):  # fmt: skip
        with pytest.raises(DataUnavailableError, match="make ui|make repro"):
            pull(uri, tmp_path / "bundle")
        assert not (tmp_path / "bundle").exists(), uri


def test_without_a_journal_none_is_made(mlruns: Path, tmp_path: Path) -> None:
    (mlruns / "mlflow.db").unlink()
    with pytest.raises(DataUnavailableError, match="nothing is registered here yet"):
        pull("models:/skipw-adding@knee", tmp_path / "bundle")
    assert not list(mlruns.iterdir())


def test_a_folder_brings_its_grid_and_its_place_on_the_front(data: Path, tmp_path: Path) -> None:
    folder = data / "models" / "adding" / "adding-skipw"
    bundle = pull(str(folder), tmp_path / "bundle")
    assert [point.budget for point in bundle.points] == [1, 3, 5]
    assert all(point.pareto for point in bundle.points[1:])
    assert bundle.default_point == OperatingPoint(5, 0.5)
    alone = tmp_path / "elsewhere" / "model"
    shutil.copytree(folder, alone)
    bundle = pull(str(alone), tmp_path / "bundle")
    assert (bundle.points, bundle.default_point) == ((), OperatingPoint())
    shutil.copyfile(data / "evaluation" / "adding" / "adding-skipw" / "grid.csv", alone / "grid.csv")
    bundle = pull(str(alone), tmp_path / "bundle")
    assert [(point.budget, point.pareto) for point in bundle.points] == [(1, False), (3, False), (5, False)]


def test_a_trial_of_a_search_and_the_baselines(data: Path, tmp_path: Path) -> None:
    trial = write_trial(data, 7, "skipw", [(2, 0.5, 0.0001, 0.1)])
    write_front(data)
    bundle = pull(str(data / "studies" / "adding" / "trials" / trial), tmp_path / "trial")
    assert [(point.budget, point.pareto) for point in bundle.points] == [(2, True)]
    thresholds = pull(str(data / "models" / "adding" / "adding-thrrnn"), tmp_path / "thrrnn")
    assert {point.threshold for point in thresholds.points} == {0.5, 0.8}
    assert thresholds.default_point == OperatingPoint(threshold=0.5)
    random = pull(str(data / "models" / "adding" / "adding-random"), tmp_path / "random")
    assert [point.val_inputs_processed for point in random.points] == [0.21, 0.52]
    assert (random.default_point, random.facts["sampling"], random.facts["rate"]) == (None, "random", 0.52)
    assert "a share of 0.21 of the inputs" in (tmp_path / "random" / "README.md").read_text()


def test_damaged_weights_and_a_taken_folder_are_refused(data: Path, tmp_path: Path) -> None:
    folder = data / "models" / "adding" / "adding-skipw"
    with pytest.raises(DataFormatError, match="is no bundle"):
        pull(str(folder), data / "evaluation")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataFormatError, match="file is no folder that can be written to"):
        pull(str(folder), tmp_path / "file" / "x" / "y")
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ChecksumError, match="was changed or cut short"):
        pull(str(folder), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_the_command(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    words = ["pull", str(data / "models" / "adding" / "adding-skipw"), str(tmp_path / "bundle")]
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 0, result.output
    for word in ("budget 5, threshold 0.5", "default", "0.0011", "50.0%", "ONNX Runtime: as the reference"):
        assert word in result.output
    assert load_bundle(tmp_path / "bundle").check("onnx").passed
    result = CliRunner().invoke(cli.app, ["pull", "models/nothing", str(tmp_path / "other")])
    assert result.exit_code == 1
    assert "Traceback" not in result.output
