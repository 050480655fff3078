"""The registry follows the front: at first, again, after a change, after a loss, after a failure."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from pipelines import register as register_stage
from skipw.errors import ChecksumError, DataFormatError, DataUnavailableError
from skipw.tracking import packing
from skipw.tracking.links import compare_link
from skipw.tracking.packing import RegistrationError
from skipw.tracking.predictor import load_predictor
from skipw.tracking.registry import Registration, register_front
from skipw.tracking.store import Store, connect
from skipw.tracking.versions import logged_model_id
from tests.tracking.small_pipeline import (
    GRIDS,
    RATES,
    SCALE,
    keep_small,
    registry_json,
    write_front,
    write_grid,
    write_model,
)

NAME = "skipw-adding"
ON_FRONT = {"adding-dense", "adding-periodic", "adding-skipw", "adding-skipw-sparse"}


def register(data: Path) -> Registration:
    return register_front("adding", data, scale=SCALE, rates=RATES)


def snapshot(journal: Store) -> dict[str, Any]:
    """All that a user sees of the registry and of the runs."""
    client = journal.client
    registered = client.get_registered_model(NAME)
    found = client.search_model_versions(f"name = '{NAME}'")
    runs = client.search_runs([journal.experiment("adding")])
    return {
        "aliases": registered.aliases,
        "tags": registered.tags,
        "text": registered.description,
        "versions": {v.version: (v.tags, v.source, v.description) for v in found},
        "runs": {run.info.run_id: (run.data.tags, run.data.metrics, run.data.params) for run in runs},
        "models": len(client.search_logged_models([journal.experiment("adding")])),
    }


def test_registering_fills_everything_and_twice_adds_nothing(mlruns: Path, data: Path) -> None:
    done = register(data)
    assert set(done.added) == ON_FRONT
    journal = connect()
    first, written = snapshot(journal), (data / "registry" / "adding" / "registry.json").read_bytes()
    by_experiment = {tags["experiment"]: (number, tags) for number, (tags, _, _) in first["versions"].items()}

    assert set(by_experiment) == ON_FRONT
    holders = {alias: str(number) for alias, number in first["aliases"].items()}
    assert holders == {
        "most-accurate": str(by_experiment["adding-dense"][0]),
        "knee": str(by_experiment["adding-skipw-sparse"][0]),
        "cheapest": str(by_experiment["adding-periodic"][0]),
    }
    assert first["tags"]["knee.budget"] == "5"
    assert first["tags"]["knee.threshold"] == "0.5"
    assert first["tags"]["most-accurate.budget"] == first["tags"]["most-accurate.threshold"] == ""
    tags = by_experiment["adding-skipw"][1]
    assert (tags["pareto"], tags["data_source"], tags["scale"]) == ("true", "generated", "tiny")
    assert (float(tags["inputs_processed"]), float(tags["mse"])) == (0.5, pytest.approx(0.0011))
    assert len(tags["checkpoint_sha256"]) == 64
    assert by_experiment["adding-periodic"][1]["rate"] == "0.2"
    assert "| `knee`&emsp; |" in first["text"]

    runs = {tags["experiment"]: (tags, metrics) for tags, metrics, _ in first["runs"].values()}
    assert set(runs) == set(GRIDS)
    assert {name for name, (tags, _) in runs.items() if tags["pareto"] == "true"} == ON_FRONT
    assert runs["adding-skipw"][1]["test_mse"] == pytest.approx(0.0011)
    assert runs["adding-thrrnn"][1]["test_inputs_processed"] == 0.5

    link = compare_link("adding", "http://127.0.0.1:1/")
    assert link is not None
    assert link.startswith("http://127.0.0.1:1/#/compare-runs?runs=%5B%22")
    assert compare_link("har") is None

    again = register(data)
    assert (again.added, set(again.kept), again.left) == ((), ON_FRONT, ())
    assert snapshot(journal) == first
    assert (data / "registry" / "adding" / "registry.json").read_bytes() == written
    assert set(registry_json(data)["aliases"]) == {"most-accurate", "knee", "cheapest"}


def test_the_stage_says_points_as_the_shipped_models_are_told(
    mlruns: Path, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A sampling baseline has no budget and no threshold, but a share."""
    keep_small(data, "adding-periodic", "adding-skipw")
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump({"scale": SCALE, "evaluate": {"random": {"rates": list(RATES)}}}))
    caplog.set_level(logging.INFO, logger="register")
    register_stage.main(["adding", "--params", str(params), "--data", str(data)])
    said = [record.getMessage() for record in caplog.records if record.name == "register"]
    assert said[1:] == [f"  {line}" for line in register(data).alias_lines()]
    assert "a share of 0.2 of the inputs" in " ".join(said) and "None" not in " ".join(said)
    assert any(line.endswith(", budget 5, threshold 0.5") for line in said)


def test_a_version_has_files_metrics_and_a_run(mlruns: Path, data: Path) -> None:
    import mlflow.pyfunc

    keep_small(data, "adding-skipw")
    register(data)
    journal = connect()
    version = journal.client.get_model_version_by_alias(NAME, "most-accurate")
    logged = journal.client.get_logged_model(logged_model_id(version))
    assert logged.status == "READY"
    assert logged.source_run_id == version.run_id
    assert {metric.key for metric in logged.metrics} >= {"test_mse", "test_inputs_processed"}
    files = {file.path for file in journal.client.list_logged_model_artifacts(logged.model_id)}
    assert {"MLmodel", "operating_points.csv", "front.html", "front.png", "code"} <= files
    of_run = {file.path for file in journal.client.list_artifacts(version.run_id)}
    assert {"front.html", "front.png", "front.csv", "grid.json"} <= of_run
    with journal.as_default():
        model = mlflow.pyfunc.load_model(f"models:/{NAME}@most-accurate")
        frame = pd.DataFrame({"sequence": [[[0.5, 1.0]] * 10]})
        shares = [model.predict(frame, params={"budget": k, "threshold": 0.0}) for k in (1, 4)]
    assert [share["inputs_processed"][0] for share in shares] == pytest.approx([0.2, 0.8])
    pulled = load_predictor(f"models:/{NAME}@knee")
    assert pulled.predict([[[0.5, 1.0]] * 10], {"budget": 2, "threshold": 0.0})["inputs_processed"][0] == 0.4
    tags = journal.client.get_registered_model(NAME).tags
    for alias in ("knee", "cheapest"):
        own = load_predictor(f"models:/{NAME}@{alias}").operating_point({})
        assert own is not None
        assert (str(own.budget), own.threshold) == (
            tags[f"{alias}.budget"],
            float(tags[f"{alias}.threshold"]),
        )
    assert tags["knee.budget"] != tags["cheapest.budget"]
    with pytest.raises(DataUnavailableError, match="models:/skipw-adding/99"):
        load_predictor(f"models:/{NAME}/99")


def test_a_version_that_leaves_the_front_loses_pareto_and_alias(mlruns: Path, data: Path) -> None:
    keep_small(data, "adding-skipw", "adding-skipw-sparse")
    register(data)
    journal = connect()
    before = {v.tags["experiment"]: v for v in journal.client.search_model_versions(f"name = '{NAME}'")}
    write_model(data, "adding-skipw", "skipw", seed=77)  # trained again, and now better everywhere
    write_grid(data, "adding-skipw", "skipw", [(1, 0.5, 0.01, 0.05), (5, 0.5, 0.0001, 0.1)])
    write_front(data)
    done = register(data)
    assert done.added == ("adding-skipw",)
    assert set(done.left) == {str(version.version) for version in before.values()}
    after = {v.version: v.tags for v in journal.client.search_model_versions(f"name = '{NAME}'")}
    assert sorted(tags["pareto"] for tags in after.values()) == ["false", "false", "true"]
    newest = max(after, key=int)
    aliases = journal.client.get_registered_model(NAME).aliases
    assert {str(number) for number in aliases.values()} == {str(newest)}
    old_run = journal.client.get_run(before["adding-skipw"].run_id)
    assert (old_run.data.tags["pareto"], old_run.data.tags["aliases"]) == ("false", "")


def test_an_empty_front_takes_all_aliases_away(mlruns: Path, data: Path) -> None:
    keep_small(data, "adding-skipw")
    register(data)
    write_grid(data, "adding-skipw", "skipw", [(5, 0.5, 0.9, 0.5)])  # worse than the constant predictor
    write_front(data)
    register(data)
    registered = connect().client.get_registered_model(NAME)
    assert registered.aliases == {}
    assert not [key for key in registered.tags if key.endswith((".budget", ".threshold"))]
    assert registry_json(data)["versions"] == []


def test_another_front_for_the_same_weights_refreshes_the_version(mlruns: Path, data: Path) -> None:
    import mlflow.pyfunc

    keep_small(data, "adding-skipw")
    register(data)
    write_grid(data, "adding-skipw", "skipw", [(2, 0.5, 0.001, 0.3), (5, 0.5, 0.01, 0.5)])
    write_front(data)
    assert register(data).added == ()
    journal = connect()
    version = journal.client.get_model_version_by_alias(NAME, "most-accurate")
    assert (version.version, version.tags["budget"]) == (1, "2")
    with journal.as_default():
        model = mlflow.pyfunc.load_model(f"models:/{NAME}/1")
    assert model.model_config["budget"] == 2


def test_everything_is_rebuilt_from_files(
    mlruns: Path, data: Path, empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_small(data, "adding-skipw", "adding-thrrnn")
    register(data)
    written = (data / "registry" / "adding" / "registry.json").read_bytes()
    (tmp_path / "fresh").mkdir()
    shutil.copyfile(empty_database, tmp_path / "fresh" / "mlflow.db")
    monkeypatch.setenv("SKIPW_MLRUNS", str(tmp_path / "fresh"))
    assert register(data).added == ("adding-skipw",)
    journal = connect()
    runs = {
        run.data.tags["experiment"]: run for run in journal.client.search_runs([journal.experiment("adding")])
    }
    assert set(runs) == {"adding-skipw", "adding-thrrnn"}
    run = runs["adding-skipw"]
    assert run.info.status == "FINISHED"
    assert run.data.params["steps"] == "30"
    losses = journal.client.get_metric_history(run.info.run_id, "val_loss")
    assert [point.step for point in losses] == [10, 20, 30]
    assert (data / "registry" / "adding" / "registry.json").read_bytes() == written


def test_a_version_whose_files_are_gone_is_made_again(mlruns: Path, data: Path) -> None:
    keep_small(data, "adding-skipw")
    register(data)
    shutil.rmtree(mlruns / "artifacts" / NAME / "models")
    assert register(data).added == ("adding-skipw",)
    found = connect().client.search_model_versions(f"name = '{NAME}'")
    assert {v.version: v.tags["pareto"] for v in found} == {1: "false", 2: "true"}


@pytest.mark.parametrize("place", ["try_out", "upload", "version"])
def test_a_failure_leaves_no_half_version(
    place: str, mlruns: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

    keep_small(data, "adding-skipw")

    def broken(*args: Any, **kwargs: Any) -> None:
        raise OSError("no space left on device")

    match place:
        case "try_out":
            monkeypatch.setattr("skipw.tracking.predictor.Predictor._run", broken)
            monkeypatch.setattr(packing, "input_example", lambda *_: pd.DataFrame({"sequence": [[[0.5]]]}))
        case "upload":
            monkeypatch.setattr("mlflow.tracking.MlflowClient.finalize_logged_model", broken)
        case _:
            monkeypatch.setattr(SqlAlchemyStore, "create_model_version", broken)
    with pytest.raises(RegistrationError, match="adding-skipw"):
        register(data)
    monkeypatch.undo()
    monkeypatch.setenv("SKIPW_MLRUNS", str(mlruns))
    journal = connect()
    assert journal.client.search_registered_models() == []
    assert journal.client.search_logged_models([journal.experiment("adding")]) == []
    assert not list((mlruns / "artifacts" / NAME).glob("models/*"))
    assert not (data / "registry").exists()
    assert register(data).added == ("adding-skipw",)


def test_damaged_weights_are_not_registered(mlruns: Path, data: Path) -> None:
    weights = data / "models" / "adding" / "adding-skipw" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(ChecksumError, match=r"model\.safetensors"):
        register(data)
    assert connect().client.search_registered_models() == []


def test_a_front_without_its_grid_is_refused(mlruns: Path, data: Path) -> None:
    shutil.rmtree(data / "evaluation" / "adding" / "adding-dense")
    with pytest.raises(DataFormatError, match="adding-dense"):
        register(data)


def test_versions_of_another_scale_stay(mlruns: Path, data: Path) -> None:
    keep_small(data, "adding-skipw")
    register(data)
    done = register_front("adding", data, scale="paper", rates=RATES)
    assert (done.added, done.left) == (("adding-skipw",), ())
    client = connect().client
    found = {v.tags["scale"]: v for v in client.search_model_versions(f"name = '{NAME}'")}
    assert {scale: version.tags["pareto"] for scale, version in found.items()} == {
        "tiny": "true",
        "paper": "true",
    }
    assert client.get_model_version_by_alias(NAME, "knee").version == found["paper"].version
