"""The scripts of benchmarks/: what can't be measured is an error in a line, and nothing is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks import any_window, governor, int8

from skipw.data.adding import prepare_adding
from skipw.data.normaliser import Normaliser
from skipw.models.architecture import Architecture
from skipw.models.saved import save_model


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Prepared sequences of Adding; of models adding-skipw with windows of 5, and a dense one."""
    root = tmp_path / "data"
    prepare_adding(root / "prepared" / "adding", seed=0, num_steps=10, train=8, val=8, test=20)
    for name, kind, window in (("adding-skipw", "skipw", 5), ("adding-dense", "dense", None)):
        model = Architecture(kind, 2, 1, "regression", hidden_size=4, window=window).build()
        description = {
            "experiment": name, "dataset": "adding", "data_source": "generated", "task": "regression",
            "metric": "mse", "normaliser": Normaliser("none", 2).to_json(), "seed": 0, "cost_per_input": 0.0,
        }  # fmt: skip
        save_model(root / "models" / "adding" / name, model, description)
    return root


def refused(script: Any, *words: object) -> str:
    """What a script says that ends with status 1."""
    with pytest.raises(SystemExit) as ended:
        script.main([str(word) for word in words])
    assert ended.value.code not in (None, 0)
    return str(ended.value.code)


def test_int8_without_models_writes_nothing(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "int8.json"
    assert refused(int8, "--data", tmp_path / "empty", "--out", out, "--limit", 10) == "1"
    assert f"int8: there are no models {tmp_path / 'empty'}/models" in caplog.text
    assert refused(int8, "--data", data, "--out", out, "--limit", 0) == "1"
    assert "--limit must be at least 1, got 0" in caplog.text
    assert not out.exists()
    int8.main(["--data", str(data), "--out", str(out), "--limit", "10"])
    rows = json.loads(out.read_text())["rows"]
    assert {row["experiment"] for row in rows} == {"adding-skipw"} and {row["sequences"] for row in rows} == {
        10
    }


def test_any_window_without_a_budget_within_the_window_writes_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, prepared = tmp_path / "any.json", ("--prepared", data / "prepared")
    good, dense = (data / "models" / "adding" / name for name in ("adding-skipw", "adding-dense"))
    more = (*prepared, "--out", out)
    said = refused(any_window, good, *more, "--budgets", 6, 11)
    assert said == f"any_window: {good} takes budgets from 0 to 5, got --budgets 6 11."
    assert "has no windows" in refused(any_window, good, dense, *more, "--budgets", 1)
    assert "model.json" in refused(any_window, good, good.with_name("nothere"), *more, "--budgets", 1)
    assert "limit must be at least 1" in refused(any_window, good, *more, "--budgets", 1, "--sequences", 0)
    assert not out.exists() and not capsys.readouterr().out
    any_window.main([str(word) for word in (good, *more, "--budgets", 2, 11)])
    (found,) = json.loads(out.read_text()).values()
    assert [row["budget"] for row in found["budgets"]] == [2] and "| 2 |" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--model", "--data", "--grid"])
def test_the_governor_names_what_is_missing(option: str, data: Path, tmp_path: Path) -> None:
    places = {
        "--model": data / "models" / "adding" / "adding-skipw",
        "--data": data / "prepared" / "adding",
        "--grid": tmp_path / "grid.csv",
    }
    missing = tmp_path / "nothere"
    words = [word for name, place in (places | {option: missing}).items() for word in (name, place)]
    said = refused(governor, *words, "--out", tmp_path / "governor.json")
    assert said.startswith("governor: ") and str(missing) in said and len(said.splitlines()) == 1
    assert not (tmp_path / "governor.json").exists()
