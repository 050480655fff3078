"""``skipw study`` on the terminal."""

from __future__ import annotations

import html
import io
import os
import shlex
import socket
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from rich.console import Console

from skipw.studies.errors import StudyError
from skipw.studies.outcome import read_outcome
from skipw.studies.places import Sign
from skipw.studies.report import print_study
from skipw.studies.storage import default_storage, open_storage
from skipw.studies.study import remember_call
from skipw.studies.wording import (
    model_text,
    reasons,
    resume_command,
    sampler_text,
    settings_text,
    short_name,
    state_text,
)
from tests.studies.fakes import fake_study

Said = Callable[..., str]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Said:
    """What ``print_study`` prints; studies lie in a folder of the test."""
    monkeypatch.setenv("SKIPW_MLRUNS", str(tmp_path / "mlruns"))

    def say(
        dataset: str = "har", storage: str | None = None, name: str | None = None, page: Path | None = None
    ) -> str:
        output = io.StringIO()
        print_study(dataset, storage, name, page, Console(file=output, width=80))
        return output.getvalue()

    return say


def kept(dataset: str, trials: int, where: str | None = None) -> optuna.Study:
    return fake_study(dataset, trials, storage=open_storage(where or default_storage(dataset)))


def test_it_tells_front_states_and_what_to_do_next(said: Said) -> None:
    outcome = read_outcome(kept("har", 12))
    text = said()
    assert "Mall poses (har-mall), study skipw-har-fake0000\n" in text
    assert "Substitute data (har-mall)" in text
    assert (
        f"12 of 20 trials: 9 complete, 3 stopped early; hypervolume {outcome.hypervolume:.4f} on val" in text
    )
    assert "sampler auto: TPE" in text
    assert "Stopped early: 2 dominated, 1 dead gates." in text
    rows = [line.split() for line in text.splitlines() if line.rstrip().endswith(tuple("0123456789"))]
    shown = [row[-1] for row in rows if "-trial-" in row[-1]]
    assert max(map(len, text.splitlines()[4:-6])) <= 80
    assert shown == list(outcome.front["experiment"]), "a row a point, none wrapped at 80 columns"
    go_on = (
        "skipw search har --trials 20 --epochs 1 --space wide --models skipw,thrrnn,skiprnn --seed 0 --study "
    )
    assert f"Go on:  {go_on}" in text
    assert f"Live:   optuna-dashboard {default_storage('har')}" in text
    assert "MLflow:" not in text


def test_an_empty_study(said: Said) -> None:
    kept("adding", 0)
    text = said("adding")
    assert "0 of 20 trials" in text
    assert "No operating point is better than the constant predictor yet." in text


def test_another_storage_and_a_page(said: Said, tmp_path: Path) -> None:
    where = f"sqlite:///{tmp_path / 'studies.db'}"
    kept("adding", 3, where)
    page = tmp_path / "new folder" / "page.html"
    text = said("adding", where, page=page)
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert page.as_uri() in text
    assert f"--storage {where}" in text


def test_running_trials_and_orphans_are_told_apart(said: Said, tmp_path: Path) -> None:
    study = kept("har", 2)
    sign = Sign(tmp_path / "signs")
    study.ask().set_user_attr("worker", sign.attributes())
    gone = {"host": socket.gethostname(), "pid": 1, "sign": str(tmp_path / "none.alive")}
    study.ask().set_user_attr("worker", gone)
    study.ask()
    try:
        text = said()
    finally:
        sign.close()
    assert f"trial 2 on {socket.gethostname()}, process {os.getpid()}, for 0:0" in text
    assert "trial 3 on" in text and "process 1, which ended; the next search goes on with it" in text
    assert "trial 4 not signed by its worker yet" in text


def test_errors_pass_through(said: Said, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="does not exist"):
        said("har")
    kept("har", 1)
    with pytest.raises(StudyError, match="no study other"):
        said("har", name="other")
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(StudyError, match="can't be written"):
        said("har", page=file / "page.html")


def test_the_command_that_goes_on_is_one_of_the_commands() -> None:
    from typer.testing import CliRunner

    from skipw.cli import app

    outcome = read_outcome(fake_study("har", 12))
    words = shlex.split(resume_command(outcome, 20, "sqlite:///a b.db"))
    assert words[:3] == ["skipw", "search", "har"]
    assert words[words.index("--trials") + 1] == "20"
    assert words[words.index("--storage") + 1] == "sqlite:///a b.db"
    help_text = CliRunner().invoke(app, ["search", "--help"], env={"COLUMNS": "200"}).output
    assert all(word in help_text for word in words if word.startswith("--"))
    assert "--trials 32 " in resume_command(outcome, 12), "a study that has all it wanted gets more"


def test_the_command_that_goes_on_names_what_is_not_where_a_search_looks(said: Said, tmp_path: Path) -> None:
    where = f"sqlite:///{tmp_path / 'my studies.db'}"
    study = kept("har", 3, where)
    remember_call(study, params=Path("my params.yaml"), data=Path("data/paper"), storage=where)
    assert study.user_attrs["called"] == {"params": "my params.yaml", "data": "data/paper", "storage": where}
    outcome = read_outcome(study)
    end = f"--params 'my params.yaml' --data data/paper --storage '{where}'"
    assert resume_command(outcome, 20).endswith(f"--study {outcome.name} {end}")
    text = said("har", where, page=tmp_path / "page.html")
    assert f"{end}\n" in text
    assert f"Page:   skipw study har --storage '{where}' --study {outcome.name} --page" in said("har", where)
    page = html.unescape((tmp_path / "page.html").read_text(encoding="utf-8"))
    for command in (end, f"skipw study har --storage '{where}' ", f"optuna-dashboard '{where}'"):
        assert command in page
    remember_call(study, params=Path("params.yaml"), data=Path("data"), storage=None)
    assert read_outcome(study).called == {}
    assert resume_command(read_outcome(study), 20).endswith(f"--study {outcome.name}")


def test_words() -> None:
    assert model_text({"model": "skipw", "cell": "gru", "hidden_size": 64, "num_layers": 2, "window": 8}) == (
        "SkipW, GRU 2×64, L 8"
    )
    assert model_text(
        {"model": "thrrnn", "cell": "lstm", "hidden_size": 32, "num_layers": 1, "window": 8}
    ) == ("ThrRNN, LSTM 32")
    assert model_text({"model": "skipw", "window": None}) == "SkipW"
    assert (
        settings_text({"model": "skipw", "cost_per_input": 1e-3, "dropout": 0.1}) == "λ 1.0e-03, dropout 0.1"
    )
    assert short_name("har-trial-012") == "trial 12" and short_name("har-skipw") == "har-skipw"


def test_what_an_old_study_does_not_say() -> None:
    study = fake_study("har", 4)
    study.set_user_attr("asked", {})
    assert sampler_text(study) == "not recorded"
    assert state_text(read_outcome(study), None).startswith("4 trials: 3 complete, 1 stopped early")
    assert state_text(read_outcome(study), 2).startswith("4 trials:"), "more than was asked for last"
    assert reasons(study.get_trials()) == {"dominated": 1}
