"""The ``skipw`` command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from skipw import cli
from skipw.data.normaliser import Normaliser
from skipw.evaluation.table import grid_table, write_table
from skipw.models.saved import save_model
from skipw.models.task import Architecture

ROOT = Path(__file__).resolve().parents[2]


def skipw(*words: object, text: str | None = None) -> Result:
    return CliRunner().invoke(cli.app, [str(word) for word in words], input=text)


def test_help_does_not_wait_for_heavy_packages() -> None:
    heavy = {"torch", "numpy", "pandas", "mlflow", "lightning", "rich.live"}
    code = f"import skipw.cli, sys; print(*({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "src"
    )
    assert done.stdout.split() == []


def test_help_names_the_commands() -> None:
    result = skipw("--help")
    assert result.exit_code == 0
    for command in ("doctor", "front", "predict", "search", "study"):
        assert command in result.output


def write_front(folder: Path) -> None:
    row = {
        "dataset": "mnist",
        "data_source": "mirror",
        "metric": "accuracy",
        "window": 7,
        "threshold": 0.5,
        "sequences": 10,
    }
    rows = [
        {
            **row,
            "experiment": "mnist-skipw",
            "budget": 3,
            "split": "test",
            "value": 0.91,
            "inputs_processed": 0.25,
        },
        {
            **row,
            "experiment": "mnist-skipw",
            "budget": 3,
            "split": "val",
            "value": 0.92,
            "inputs_processed": 0.26,
        },
        {
            **row,
            "experiment": "mnist-dense",
            "threshold": None,
            "split": "test",
            "value": 0.97,
            "inputs_processed": 1.0,
        },
    ]
    table: pd.DataFrame = grid_table(rows)
    table["alias"] = ["knee;cheapest", "knee;cheapest", "most-accurate"]
    write_table(table, folder / "front.csv")


def test_front_shows_the_points_cheapest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pareto" / "mnist").mkdir(parents=True)
    write_front(tmp_path / "pareto" / "mnist")
    monkeypatch.setattr(cli.front, "_compare_link", lambda _, server, *__: f"{server}/#/compare")
    monkeypatch.setenv("COLUMNS", "120")
    result = skipw("front", "mnist", "--data", tmp_path)
    assert result.exit_code == 0, result.output
    first, second = (line for line in result.output.splitlines() if "mnist-" in line)
    assert [word in first for word in ("mnist-skipw", "3", "25.0%", "91.0%", "knee, cheapest")] == [True] * 5
    assert [word in second for word in ("mnist-dense", "97.0%", "most-accurate", "nan")] == [True] * 3 + [
        False
    ]
    assert "http://127.0.0.1:5000/#/compare" in result.output


@pytest.mark.parametrize("terminal", [False, True])
def test_front_never_breaks_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    (tmp_path / "pareto" / "mnist").mkdir(parents=True)
    write_front(tmp_path / "pareto" / "mnist")
    monkeypatch.setattr(cli.front, "_compare_link", lambda *_: None)
    monkeypatch.setenv("COLUMNS", "50")
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    lines = skipw("front", "mnist", "--data", tmp_path).output.splitlines()
    assert any("mnist-dense" in line and "most-accurate" in line for line in lines)
    assert any("knee, cheapest" in line for line in lines)
    assert any("│" in line for line in lines) is not terminal  # no room for a frame


def test_front_of_shipped_models_where_none_was_made_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pretrained" / "mnist").mkdir(parents=True)
    write_front(tmp_path / "pretrained" / "mnist")
    monkeypatch.chdir(tmp_path)
    asked: list[tuple[Path, bool]] = []
    monkeypatch.setattr(cli.front, "_compare_link", lambda _, __, *front: asked.append(front))
    assert "Shipped models (pretrained/mnist)" in skipw("front", "mnist").output
    (tmp_path / "data" / "pareto" / "mnist").mkdir(parents=True)
    write_front(tmp_path / "data" / "pareto" / "mnist")
    assert "Shipped" not in skipw("front", "mnist").output
    assert "Shipped" in skipw("front", "mnist", "--shipped").output
    own, box = Path("data/pareto/mnist/front.csv"), Path("pretrained/mnist/front.csv")
    assert asked == [(box, True), (own, False), (box, True)]


def test_front_without_results_says_what_to_do(tmp_path: Path) -> None:
    result = skipw("front", "har", "--data", tmp_path)
    assert result.exit_code == 1
    assert "make repro" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("words", [("front",), ("study",), ("search", "--trials", 1)], ids=str)
def test_a_misspelt_data_set_is_told_the_known_ones(words: tuple[object, ...], tmp_path: Path) -> None:
    """Whether or not there are fronts: that says nothing of it."""
    (tmp_path / "pareto" / "mnist").mkdir(parents=True)
    write_front(tmp_path / "pareto" / "mnist")
    command, *rest = words
    where = ("--data", tmp_path) if command == "front" else ()
    result = skipw(command, "mnst", *rest, *where)
    assert result.exit_code == 1
    said = "skipw: expected a data set of adding, mnist, imdb, har, got 'mnst'; did you mean 'mnist'?"
    assert result.output.strip() == said
    assert "got 'x'." in skipw(command, "x", *rest, *where).output


@pytest.mark.parametrize("command", ["search", "study"])
@pytest.mark.parametrize(
    "where", ["mysql://me:s3cret@there/studies", "mysql+pymysql://there/x", "ftp://there/x"]
)
def test_a_storage_of_no_known_kind_is_told_the_known_ones(
    command: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)
    result = skipw(command, "adding", "--storage", where)
    said = " ".join(result.output.split())
    assert result.exit_code == 1 and said.startswith(
        "skipw: studies are kept in a journal file, sqlite:///FILE, "
    )
    assert "postgresql+psycopg://USER@HOST/NAME or grpc://HOST:PORT, got" in said
    assert "pip install" not in said and "s3cret" not in said
    assert not list(tmp_path.iterdir())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A saved model over two numbers an input."""
    architecture = Architecture("skipw", 2, 3, "classification", hidden_size=5, window=4)
    description = {
        "task": "classification",
        "classes": ["a", "b", "c"],
        "normaliser": Normaliser("none", 2).to_json(),
        "vocabulary": None,
    }
    save_model(tmp_path / "model", architecture.build(), description)
    return tmp_path / "model"


SEQUENCE = [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6], [0.7, 0.8]]
CSV = "x,y\n" + "\n".join(f"{a},{b}" for a, b in SEQUENCE)


def answers(result: Result) -> list[dict]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_json_csv_and_standard_input_are_the_same(model: Path, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps(SEQUENCE))
    (tmp_path / "two.json").write_text(json.dumps([SEQUENCE, SEQUENCE[:3]]))
    (tmp_path / "one.csv").write_text(CSV)
    (one,) = answers(skipw("predict", model, tmp_path / "one.json"))
    first, second = answers(skipw("predict", model, tmp_path / "two.json"))
    assert one["prediction"] in ("a", "b", "c")
    assert len(one["scores"]) == 3
    assert first["scores"] == pytest.approx(one["scores"], rel=1e-5)
    assert second["scores"] != one["scores"]
    for text in (json.dumps(SEQUENCE), json.dumps({"sequence": SEQUENCE}), CSV):
        assert answers(skipw("predict", model, "-", text=text)) == [one]
    assert answers(skipw("predict", model, tmp_path / "one.csv")) == [one]


@pytest.mark.parametrize("name", ["one.csv", "one.json"])
def test_a_byte_order_mark_changes_nothing(model: Path, tmp_path: Path, name: str) -> None:
    text = json.dumps(SEQUENCE) if name == "one.json" else CSV.removeprefix("x,y\n")
    (tmp_path / name).write_text(text, encoding="utf-8-sig")
    expected = answers(skipw("predict", model, "-", text=text))
    assert answers(skipw("predict", model, tmp_path / name)) == expected
    assert answers(skipw("predict", model, "-", text="\ufeff" + text)) == expected


def test_a_table_of_titles_alone_is_a_message(model: Path, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("x,y\n")
    assert "holds titles only" in skipw("predict", model, tmp_path / "one.csv").output


def test_the_operating_point_is_obeyed(model: Path) -> None:
    (none,) = answers(skipw("predict", model, "-", "--budget", 0, text=CSV))
    (all_,) = answers(skipw("predict", model, "-", "--threshold", 0, text=CSV))
    assert (none["inputs_processed"], all_["inputs_processed"]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("[[1, 2], [3", "is not JSON"),
        ("1,2\n3,x\n5,6", "line 2"),
        ("[[1, 2], [3, 4, 5]]", "same width"),
        ("{}", "expected a sequence"),
        ('{"a": 1}', "got an object with 'a'."),
        ('{"sequence": null}', "got null."),
        ("0.1,oops\n0.2,1\n", "line 1: expected numbers with commas between, got 'oops' in field 2"),
        ("x,y\na,b\n0.2,1\n", "line 2: expected numbers with commas between, got 'a' in field 1"),
    ],
)
def test_bad_input_is_a_message(model: Path, text: str, words: str) -> None:
    result = skipw("predict", model, "-", text=text)
    assert result.exit_code == 1
    assert words in result.output


def test_a_budget_beyond_the_window_is_a_message(model: Path) -> None:
    result = skipw("predict", model, "-", "--budget", 5, text=CSV)
    assert result.exit_code == 1
    assert "window" in result.output


def test_doctor_names_versions_backends_and_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        cli.doctor, "_places", lambda dataset: [(dataset, "the moon", "no: too far"), ("x", "y", "yes")]
    )
    monkeypatch.setenv("COLUMNS", "120")
    result = skipw("doctor", "--data", tmp_path)
    assert result.exit_code == 0, result.output
    for word in ("torch", "reference", "compact", "CPU", "mnist", "the moon", "too far", "nothing yet"):
        assert word in result.output
