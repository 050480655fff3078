"""A whole search in one process: its files, its MLflow runs, its workers counted, its errors."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from rich.console import Console

from skipw.evaluation.table import GRID_COLUMNS, read_grid
from skipw.models.saved import load_description, load_model
from skipw.studies import search as searching
from skipw.studies.display import Display
from skipw.studies.errors import StudyError
from skipw.studies.outcome import Outcome, read_outcome
from skipw.studies.places import Places, Sign
from skipw.studies.worker import WorkerSpec, work
from tests.studies.conftest import InThisProcess, Lab

pytestmark = pytest.mark.usefixtures("quick_look")


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


def test_a_search_publishes_what_it_found(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    outcome = lab.run(trials=3, test_limit=10)
    out = lab.data / "studies" / "har"
    assert outcome.counts.finished == 3 and outcome.counts.running == outcome.counts.waiting == 0
    summary = read(out, "study.json")
    assert summary["study"] == lab.plan(trials=3, test_limit=10).study_name
    assert summary["trials"] == {
        "wanted": 3,
        "complete": outcome.counts.complete,
        "stopped": outcome.counts.stopped,
    }
    assert summary["hypervolume"] == summary["hypervolume_history"][-1] == outcome.hypervolume > 0
    assert summary["front_points"] == len(outcome.front) > 0
    trials, points = pd.read_csv(out / "trials.csv"), pd.read_csv(out / "points.csv")
    assert sorted(trials["trial"]) == [0, 1, 2] and len(points) == len(outcome.points)
    assert points["front"].sum() == len(outcome.front)
    assert (out / "study.html").exists()
    folders = sorted(path.name for path in (out / "trials").iterdir())
    assert folders == sorted(set(outcome.front["experiment"]))
    for folder in folders:
        trial = out / "trials" / folder
        names = {path.name for path in trial.iterdir()}
        assert names == {"model.safetensors", "model.json", "history.csv", "grid.csv"}
        _, description = load_model(trial)
        assert description["experiment"] == folder
        grid = read_grid(trial / "grid.csv")
        assert set(GRID_COLUMNS) <= set(grid.columns) and set(grid["split"]) == {"val", "test"}
        sequences = grid.groupby("split")["sequences"].unique().map(list).to_dict()
        assert sequences == {"val": [48], "test": [10]}
        assert (grid["experiment"] == folder).all()
    on_val = read_grid(out / "trials" / folders[0] / "grid.csv").query("split == 'val'")
    found = points[points["experiment"] == folders[0]]
    assert sorted(on_val.query("metric == 'accuracy'")["value"]) == pytest.approx(sorted(found["value"]))
    assert "of 3, hypervolume" in caplog.text


def test_the_command_that_is_printed_goes_on(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings, data and storage lie elsewhere than a search looks by itself, a blank in the settings' path."""
    from typer.testing import CliRunner

    from skipw.cli import app

    monkeypatch.setattr("skipw.studies.crew.LocalCrew", InThisProcess)
    path = lab.path.rename(lab.path.with_name("my params.yaml"))
    path.write_text(f"{path.read_text()}search:\n  har: {{epochs: 0.5, validations: 2, models: [thrrnn]}}\n")
    words = ["search", "har", "--trials", "1", "--params", str(path), "--data", str(lab.data)]
    first = CliRunner().invoke(app, [*words, "--storage", str(lab.journal), "--no-tracking"])
    assert first.exit_code == 0, first.output
    (line,) = (line for line in first.output.splitlines() if line.startswith("Go on:"))
    shutil.rmtree(lab.data / "studies")
    again = shlex.split(line.replace("--trials 21 ", "--trials 1 "))[3:]
    second = CliRunner().invoke(app, [*again, "--no-tracking"])
    assert second.exit_code == 0, second.output
    assert line in second.output and "1 complete" in second.output
    assert (lab.data / "studies" / "har" / "study.json").exists()


def test_a_finished_search_is_only_published_and_more_trials_are_added(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.run(trials=1)
    shutil.rmtree(lab.data / "studies")
    with monkeypatch.context() as patched:
        patched.setattr(InThisProcess, "start", lambda *_: pytest.fail("nothing is to be done"))
        again = lab.run(trials=1)
    assert (lab.data / "studies" / "har" / "study.json").exists()
    more = lab.run(trials=2)
    assert again.counts.finished == 1 and more.counts.finished == 2
    assert list(more.trials["trial"]) == [0, 1]
    assert more.hypervolumes[0] == again.hypervolume
    fewer = lab.run(trials=1)
    assert fewer.counts.finished == 2


def test_adding_is_searched_too(lab: Lab) -> None:
    outcome = lab.run("adding", trials=1, stop_early=False)
    assert outcome.metric == "mse" and outcome.counts.finished == 1
    assert outcome.constant == pytest.approx(lab.plan("adding").constant)


def test_every_trial_is_a_run_nested_under_the_study_s(
    lab: Lab, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = lab.run(trials=2, tracking=True)
    client = MlflowClient(tracking_uri=f"sqlite:///{database}")
    (experiment,) = [found for found in client.search_experiments() if found.name == "skipw-har"]
    runs = {run.data.tags["experiment"]: run for run in client.search_runs([experiment.experiment_id])}
    parent = runs.pop(outcome.name)
    assert parent.info.run_id == outcome.run_id and parent.info.status == "FINISHED"
    assert parent.data.tags["kind"] == "study" and parent.data.tags["scale"] == "tiny"
    assert parent.data.metrics["hypervolume"] == pytest.approx(outcome.hypervolume)
    assert parent.data.metrics["trials_complete"] == outcome.counts.complete
    assert json.loads(parent.data.params["space"]).keys() == outcome.facts["space"].keys()
    history = client.get_metric_history(parent.info.run_id, "hypervolume")
    assert [point.value for point in sorted(history, key=lambda point: point.step)] == outcome.hypervolumes
    assert {file.path for file in client.list_artifacts(parent.info.run_id, "study")} == {
        "study/study.html", "study/study.json", "study/trials.csv", "study/points.csv",
    }  # fmt: skip
    study = lab.study(lab.plan())
    assert set(runs) == {"har-trial-000", "har-trial-001"}
    for trial in study.trials:
        run = runs[trial.user_attrs["experiment"]]
        assert run.info.run_id == trial.user_attrs["run_id"] and run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["state"] == "complete" and run.data.tags["study"] == outcome.name
        assert run.data.tags["checkpoint_sha256"] == trial.user_attrs["checkpoint_sha256"]
        assert run.data.tags["lineage"] == run.data.tags["init_from"] == ""
        assert run.data.params["hidden_size"] == str(trial.params["hidden_size"])
        assert run.data.metrics["error"] == pytest.approx(trial.values[0])
        assert run.data.metrics["inputs_processed"] == pytest.approx(trial.values[1])
        assert len(client.get_metric_history(run.info.run_id, "val_loss")) == 3
        names = {Path(file.path).name for file in client.list_artifacts(run.info.run_id, "model")}
        assert names == {"model.safetensors", "model.json", "history.csv"}
    _published_again_from_mlflow(lab, outcome, monkeypatch)


def _published_again_from_mlflow(lab: Lab, outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder is gone, as on another machine: the models on the front come from their runs."""
    places = Places.of(lab.data, outcome.name)
    out = lab.data / "studies" / "har"
    before = {path.name: read(path, "model.json")["checkpoint_sha256"] for path in (out / "trials").iterdir()}
    for folder in (places.work, out):
        shutil.rmtree(folder)
    lab.run(trials=2, tracking=True)
    after = {path.name: read(path, "model.json")["checkpoint_sha256"] for path in (out / "trials").iterdir()}
    assert before == after
    shutil.rmtree(places.work)
    monkeypatch.setenv("SKIPW_MLRUNS", str(lab.data / "nothing-here"))
    monkeypatch.setattr("skipw.tracking.store._create_database", lambda *_: None)
    with pytest.raises(
        StudyError, match="is on the front, but not in .* does not give it: .*MLFLOW_TRACKING_URI"
    ):
        lab.run(trials=2, tracking=True)


def test_without_mlflow_a_model_that_is_gone_is_a_clear_error(lab: Lab) -> None:
    outcome = lab.run(trials=1)
    shutil.rmtree(Places.of(lab.data, outcome.name).work)
    published = (lab.data / "studies" / "har" / "study.json").read_bytes()
    with pytest.raises(StudyError, match="har-trial-00. is on the front, but not in .*it has no MLflow run"):
        lab.run(trials=1)
    assert (lab.data / "studies" / "har" / "study.json").read_bytes() == published  # what was there stays


def test_a_model_that_another_study_wrote_over_is_not_published(lab: Lab) -> None:
    outcome = lab.run(trials=1)
    folder = Places.of(lab.data, outcome.name).model("har-trial-000")
    description = read(folder, "model.json")
    (folder / "model.json").write_text(json.dumps({**description, "checkpoint_sha256": "0" * 64}))
    with pytest.raises(StudyError, match="is on the front, but not in"):
        lab.run(trials=1)


def test_a_stopped_trial_s_run_says_why(lab: Lab, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skipw.studies.hopeless.NO_LEARNING_GAIN", 1.0)
    outcome = lab.run(trials=1, tracking=True)
    client = MlflowClient(tracking_uri=f"sqlite:///{database}")
    run = client.get_run(lab.study(lab.plan()).trials[0].user_attrs["run_id"])
    assert run.info.status == "FINISHED" and run.data.tags["state"] == "stopped"
    assert run.data.tags["reason"].startswith("no learning")
    assert not client.list_artifacts(run.info.run_id)
    assert outcome.hypervolume == 0.0 and list((lab.data / "studies" / "har" / "trials").iterdir()) == []


class Crew:
    """Counts what the launcher asks for; ``script`` says what happens at each start."""

    started: list[int]

    def __init__(self, spec: WorkerSpec, logs: Path) -> None:
        self.spec, self.living = spec, 0
        self.ended: list[str] = []
        self.stopped = False
        type(self).last = self

    def start(self, number: int) -> None:
        raise NotImplementedError

    def alive(self) -> int:
        return self.living

    def deaths(self) -> list[str]:
        ended, self.ended = self.ended, []
        return ended

    def stop(self) -> None:
        self.stopped = True


def test_workers_that_die_again_and_again_end_the_search(lab: Lab) -> None:
    class Dying(Crew):
        starts = 0

        def start(self, number: int) -> None:
            Dying.starts += number
            self.ended += ["signal SIGSEGV: it said nothing"] * number

    with pytest.raises(
        StudyError, match="5 workers ended without a trial done, the last with signal SIGSEGV"
    ):
        lab.run(trials=4, crew=Dying)
    assert Dying.starts == searching.MAX_DEATHS and Dying.last.stopped


def test_an_error_that_meets_every_worker_is_said_at_once(lab: Lab) -> None:
    class Refused(Crew):
        def start(self, number: int) -> None:
            self.ended.append(
                "exit status 1: worker: 3 trials in a row failed, the last with error: OSError: full"
            )

    with pytest.raises(StudyError, match="^3 trials in a row failed, the last with error: OSError: full$"):
        lab.run(trials=4, crew=Refused)


@pytest.mark.parametrize(("trials", "workers", "expected"), [(5, 2, 2), (2, 4, 2), (1, 1, 1)])
def test_no_more_workers_are_started_than_there_are_trials(
    trials: int, workers: int, expected: int, lab: Lab
) -> None:
    class Starting(Crew):
        starts: ClassVar[list[int]] = []

        def start(self, number: int) -> None:
            self.starts.append(number)
            self.living += number
            looks.append(0)

        def deaths(self) -> list[str]:
            looks.append(1)
            if len(looks) > 5:  # several looks while they import their packages
                raise KeyboardInterrupt
            return []

    looks: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        lab.run(trials=trials, workers=workers, crew=Starting)
    assert Starting.starts == [expected] and Starting.last.stopped


def test_the_workers_of_another_launcher_count(lab: Lab) -> None:
    """Of one that still runs, or that was killed a moment ago."""
    plan = lab.plan(trials=1)
    sign = Sign(Places.of(lab.data, plan.study_name).workers)

    class Second(Crew):
        starts = looks = 0

        def start(self, number: int) -> None:
            assert Second.looks >= 3 and number == 1
            Second.starts += 1
            work(self.spec)

        def deaths(self) -> list[str]:
            Second.looks += 1
            if Second.looks == 3:
                sign.close()
            return []

    outcome = lab.run(trials=1, workers=1, crew=Second)
    assert Second.starts == 1 and outcome.counts.finished == 1


def test_ctrl_c_stops_the_crew_and_queues_what_it_left(lab: Lab) -> None:
    class Interrupted(InThisProcess):
        stops = 0

        def start(self, number: int) -> None:
            study = lab.study(lab.plan(trials=1))
            sign = Sign(Places.of(lab.data, study.study_name).workers)
            study.ask().set_user_attr("worker", sign.attributes())
            self.sign = sign

        def deaths(self) -> list[str]:
            raise KeyboardInterrupt

        def stop(self) -> None:
            Interrupted.stops += 1
            self.sign.close(keep=True)

    with pytest.raises(KeyboardInterrupt):
        lab.run(trials=1, crew=Interrupted)
    assert Interrupted.stops == 1
    assert [trial.state.name for trial in lab.study(lab.plan()).trials] == ["FAIL", "WAITING"]
    assert not (lab.data / "studies").exists()
    outcome = lab.run(trials=1)
    assert outcome.counts.finished == 1 and outcome.counts.running == 0


def finish(lab: Lab, trial: Any, value: float) -> None:
    study = lab.study(lab.plan())
    trial.set_user_attr("experiment", f"har-trial-{trial.number:03d}")
    trial.set_user_attr("points", [[None, 0.5, 0.5, value]])
    study.tell(trial, [1 - value, 0.5])


def test_the_display_counts_trials_in_whatever_order_they_end(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    study = lab.study(lab.plan())
    trials = [study.ask() for _ in range(4)]
    with Display(study, 4, Console(file=open("/dev/null", "w"))) as display:
        assert display.update() == 0 and display.seconds_left() is None
        finish(lab, trials[2], 0.8)
        assert display.update() == 1
        left = display.seconds_left()
        assert left is not None and left > 0
        finish(lab, trials[3], 0.9)
        finish(lab, trials[0], 0.7)
        assert display.update() == display.update() == 3
        finish(lab, trials[1], 0.7)
        assert display.update() == 4 and display.seconds_left() == 0
    said = [record.message for record in caplog.records if record.name == "skipw.studies.display"]
    assert [line.partition(":")[0] for line in said] == ["trial 2", "trial 0", "trial 3", "trial 1"]
    assert [line.partition("| ")[2].rpartition("| ")[2].partition(",")[0] for line in said] == [
        "1 of 4", "2 of 4", "3 of 4", "4 of 4",
    ]  # fmt: skip
    assert "80.0% with 50.0% of the inputs" in said[0] and "hypervolume 0." in said[0]


def test_the_live_screen_shows_trials_hypervolume_and_time(lab: Lab, tmp_path: Path) -> None:
    study = lab.study(lab.plan())
    first = study.ask()
    first.suggest_categorical("model", ["skipw", "thrrnn", "skiprnn"])
    with (tmp_path / "screen").open("w") as file:
        console = Console(file=file, force_terminal=True, width=150)
        with Display(study, 2, console) as display:
            display.update()
            finish(lab, study.ask(), 0.9)
            display.update()
    text = (tmp_path / "screen").read_text()
    assert "1 of 2 trials" in text and "front of 1 points" in text and "hypervolume 0." in text
    assert "left" in text and "trial 0" in text


def test_models_are_not_the_business_of_a_look(lab: Lab) -> None:
    outcome = lab.run(trials=1)
    shutil.rmtree(Places.of(lab.data, outcome.name).work)
    assert read_outcome(lab.study(lab.plan())).hypervolume == outcome.hypervolume
    assert load_description(lab.data / "studies" / "har" / "trials" / "har-trial-000")["dataset"] == "har"
