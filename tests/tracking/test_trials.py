"""Trials of a search are registered by the same stage, each version on its own nested run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from skipw.errors import ChecksumError, DataFormatError
from skipw.tracking.front_models import read_models
from skipw.tracking.registry import Registration, register_front
from skipw.tracking.runs import create_run
from skipw.tracking.store import Store, connect
from tests.tracking.small_pipeline import (
    RATES,
    SCALE,
    TRIALS,
    keep_small,
    registry_json,
    write_front,
    write_model,
    write_trial,
)

NAME = "skipw-adding"


@pytest.fixture
def searched(data: Path) -> Path:
    """adding-skipw and two trials, of which trial 3 is the better one everywhere and trial 12 nowhere."""
    keep_small(data, "adding-skipw")
    write_trial(data, 3, "skipw", [(1, 0.5, 0.04, 0.12), (4, 0.5, 0.0004, 0.3)])
    write_trial(data, 12, "thrrnn", [(None, 0.5, 0.1, 0.4)])
    write_front(data)
    return data


def register(data: Path) -> Registration:
    return register_front("adding", data, scale=SCALE, rates=RATES)


def weights_of(data: Path, experiment: str) -> str:
    text = (data / TRIALS / experiment / "model.json").read_text()
    return str(json.loads(text)["checkpoint_sha256"])


def open_trial(journal: Store, study: str, experiment: str, sha256: str) -> str:
    """A run of a trial as a search leaves it, inside the run of its study."""
    place = journal.experiment("adding")
    parent = create_run(journal, place, study, {}, {})
    tags = {"checkpoint_sha256": sha256, "mlflow.parentRunId": parent}
    run_id = create_run(journal, place, experiment, {"cost_per_input": 1e-4}, tags)
    journal.client.set_terminated(run_id)
    return run_id


def test_a_trial_is_registered_on_its_own_run(mlruns: Path, searched: Path) -> None:
    import mlflow.pyfunc
    import pandas as pd

    journal = connect()
    name = "adding-trial-003"
    own = open_trial(journal, "first", name, weights_of(searched, name))
    other = open_trial(journal, "second", name, "0" * 64)  # newer, and of the same name
    done = register(searched)
    assert done.added == ("adding-trial-003",)
    version = journal.client.get_model_version_by_alias(NAME, "most-accurate")
    assert version.run_id == own
    assert "pareto" not in journal.client.get_run(other).data.tags
    run = journal.client.get_run(own)
    assert (run.data.tags["pareto"], run.data.params["cost_per_input"]) == ("true", "0.0001")
    assert "mlflow.parentRunId" in run.data.tags
    assert [file.path for file in journal.client.list_artifacts(own, "grid")] == ["grid/grid.csv"]
    assert registry_json(searched)["aliases"]["knee"]["experiment"] == "adding-trial-003"
    with journal.as_default():
        model = mlflow.pyfunc.load_model(f"models:/{NAME}@most-accurate")
    frame = pd.DataFrame({"sequence": [[[0.5, 1.0]] * 10]})
    share = model.predict(frame, params={"budget": 2, "threshold": 0.0})["inputs_processed"][0]
    assert share == pytest.approx(0.4)
    assert register(searched).added == ()


def test_the_pages_say_what_a_trial_is(mlruns: Path, searched: Path) -> None:
    register(searched)
    client = connect().client
    version = client.get_model_version_by_alias(NAME, "knee")
    assert "Trial 3 of a search" in version.description
    assert "adding-trial-003 (SkipW GRU 4, L 5, λ 1e-4)" in client.get_registered_model(NAME).description
    page = client.get_experiment(connect().experiment("adding")).tags["mlflow.note.content"]
    assert "its trials are runs inside it" in page


def test_another_study_replaces_the_trials(mlruns: Path, searched: Path) -> None:
    first = register(searched)
    shutil.rmtree(searched / "studies")
    write_trial(searched, 3, "skipw", [(4, 0.5, 0.0001, 0.05)], seed=500)
    write_front(searched)
    again = register(searched)
    assert again.added == first.added == ("adding-trial-003",)
    assert again.left == ("1",)
    shutil.rmtree(searched / "studies")
    write_front(searched)
    last = register(searched)
    assert (last.added, last.left) == (("adding-skipw",), ("2",))
    found = connect().client.search_model_versions(f"name = '{NAME}'")
    assert sorted(version.tags["pareto"] for version in found) == ["false", "false", "true"]


def test_without_runs_those_of_trials_are_made_from_files(mlruns: Path, searched: Path) -> None:
    register(searched)
    journal = connect()
    (run,) = journal.client.search_runs(
        [journal.experiment("adding")], "tags.experiment = 'adding-trial-012'"
    )
    assert (run.data.tags["rebuilt"], run.data.tags["pareto"]) == ("true", "false")
    assert len(journal.client.get_metric_history(run.info.run_id, "val_loss")) == 3


def test_damaged_or_mixed_up_trials_are_refused(searched: Path) -> None:
    assert [model.experiment for model in read_models("adding", searched)] == [
        "adding-trial-003", "adding-skipw", "adding-trial-012",
    ]  # fmt: skip
    weights = searched / TRIALS / "adding-trial-003" / "model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1] + b"\0")
    with pytest.raises(ChecksumError, match="adding-trial-003"):
        read_models("adding", searched)
    weights.write_bytes(kept)
    write_model(searched, "adding-trial-003", "skipw")
    shutil.copytree(
        searched / TRIALS / "adding-trial-003", searched / "evaluation" / "adding" / "adding-trial-003"
    )
    with pytest.raises(DataFormatError, match=r"adding-trial-003.*rename the experiment"):
        read_models("adding", searched)
