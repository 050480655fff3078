"""The front of a data set: what is left out, what wins a tie, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from skipw.errors import DataFormatError
from skipw.evaluation.front import FRONT_COLUMNS, choose_front, operating_points, read_grids, summarise
from skipw.evaluation.table import GRID_COLUMNS, grid_table, write_table

CONSTANT = {"val": 0.3, "test": 0.31}


def row(experiment: str, cost: float, value: float, **changes: Any) -> list[dict[str, Any]]:
    """A val and a test row; the test row is a little worse."""
    shared = {
        "experiment": experiment, "dataset": "toy", "data_source": "generated", "model": "skipw",
        "cell": "gru",
        "select": "topk", "hidden_size": 4, "num_layers": 1, "window": 4, "cost_per_input": 0.1, "budget": 2,
        "threshold": 0.5, "metric": "accuracy", "loss": 1.0, "inputs_processed_std": 0.0,
        "max_inputs_in_window": 2, "sequences": 10,
    }  # fmt: skip
    shared |= changes
    return [
        shared | {"split": "val", "value": value, "inputs_processed": cost},
        shared | {"split": "test", "value": value - 0.01, "inputs_processed": cost + 0.01},
    ]


def saved(folder: Path, name: str, rows: list[list[dict[str, Any]]]) -> Path:
    path = folder / name
    write_table(grid_table(r for pair in rows for r in pair), path)
    return path


@pytest.fixture
def grid(tmp_path: Path) -> pd.DataFrame:
    empty = {"budget": None, "threshold": None, "window": None, "select": None}
    skipw = [
        row("toy-skipw", 0.0, 0.9, budget=0),
        row("toy-skipw", 0.1, 0.25, budget=1),
        row("toy-skipw", 0.2, 0.7, budget=2),
        row("toy-skipw", 0.4, 0.9, budget=4),
        row("toy-skipw", 0.4, 0.9, budget=3),
        row("toy-skipw", 0.5, 0.85, budget=4, threshold=0.3),
    ]
    sampled = [row("toy-random", rate, 0.3 + rate / 2, model="random", **empty) for rate in (0.1, 0.9)]
    dense = [row("toy-dense", 1.0, 0.95, model="dense", **empty)]
    paths = [saved(tmp_path, f"{i}.csv", rows) for i, rows in enumerate((skipw, sampled, dense))]
    return read_grids(paths)


def test_front_is_chosen_on_val_and_reported_on_test(grid: pd.DataFrame) -> None:
    front = choose_front(grid, "accuracy", CONSTANT["val"])
    assert tuple(front.columns) == FRONT_COLUMNS == (*GRID_COLUMNS, "alias")
    assert front["split"].tolist() == ["val", "test"] * 4
    on_val = front[front["split"] == "val"]
    assert on_val["inputs_processed"].tolist() == [0.1, 0.2, 0.4, 1.0]
    assert on_val["experiment"].tolist() == ["toy-random", "toy-skipw", "toy-skipw", "toy-dense"]
    assert on_val["alias"].tolist() == ["cheapest", "", "knee", "most-accurate"]
    on_test = front[front["split"] == "test"]
    assert on_test["value"].tolist() == pytest.approx([0.34, 0.69, 0.89, 0.94])
    assert (on_test["alias"].tolist()) == on_val["alias"].tolist()


def test_no_budget_of_zero_nothing_worse_than_constant_and_the_smaller_budget_on_a_tie(
    grid: pd.DataFrame,
) -> None:
    front = choose_front(grid, "accuracy", CONSTANT["val"])
    assert 0 not in front["budget"].dropna().tolist()
    assert front["value"].min() > CONSTANT["val"]
    assert front.loc[front["inputs_processed"] == 0.4, "budget"].tolist() == [3]
    fewer = choose_front(grid, "accuracy", CONSTANT["val"], min_gain=0.45)
    assert fewer.loc[fewer["split"] == "val", "inputs_processed"].tolist() == [0.4, 1.0]


def test_errors_are_minimised(grid: pd.DataFrame) -> None:
    turned = grid.assign(value=1 - grid["value"], metric="mse")
    front = choose_front(turned, "mse", 0.7)
    assert front.loc[front["split"] == "val", "inputs_processed"].tolist() == [0.1, 0.2, 0.4, 1.0]
    volume = summarise(front, turned, "mse", {"val": 0.7, "test": 0.7})["hypervolume"]["val"]
    expected = (
        0.05 * 0.9 + 0.35 * 0.8 + 0.2 * 0.6
    ) / 0.7  # steps of gain over .3 times cost still free; dense adds 0
    assert volume == pytest.approx(expected)


def test_summary_counts_and_names_the_alias_points(grid: pd.DataFrame) -> None:
    front = choose_front(grid, "accuracy", CONSTANT["val"])
    summary = summarise(front, grid, "accuracy", CONSTANT)
    assert summary["operating_points"] == 9
    assert summary["front_points"] == 4
    assert summary["front_points_by_model"] == {"skipw": 2, "random": 1, "dense": 1}
    knee = summary["aliases"]["knee"]
    assert (knee["experiment"], knee["budget"], knee["threshold"]) == ("toy-skipw", 3, 0.5)
    assert knee["test"]["value"] == pytest.approx(0.89)
    assert 0 < summary["hypervolume"]["test"] < summary["hypervolume"]["val"] < 1


def test_nothing_better_than_constant_gives_an_empty_front(grid: pd.DataFrame) -> None:
    front = choose_front(grid, "accuracy", 0.99)
    summary = summarise(front, grid, "accuracy", {"val": 0.99, "test": 0.99})
    assert front.empty
    assert tuple(front.columns) == FRONT_COLUMNS
    assert summary["hypervolume"] == {"val": 0.0, "test": 0.0}
    assert summary["aliases"]["knee"] is None


def test_rates_without_budget_and_threshold_are_told_apart(grid: pd.DataFrame) -> None:
    points = operating_points(grid, "accuracy")
    random = points[points["model"] == "random"]
    assert random["inputs_processed_test"].tolist() == pytest.approx([0.11, 0.91])


def test_mixed_sources_missing_grids_and_missing_splits_are_errors(
    tmp_path: Path, grid: pd.DataFrame
) -> None:
    one = saved(tmp_path, "a.csv", [row("toy-skipw", 0.1, 0.5)])
    other = saved(tmp_path, "b.csv", [row("toy-dense", 0.1, 0.5, data_source="mirror")])
    with pytest.raises(DataFormatError, match=r"never mixes.*generated: toy-skipw; mirror: toy-dense"):
        read_grids([one, other])
    with pytest.raises(DataFormatError, match="run the evaluate stage"):
        read_grids([])
    with pytest.raises(DataFormatError, match="toy-dense lacks one"):
        choose_front(grid[(grid["model"] != "dense") | (grid["split"] == "val")], "accuracy", 0.3)
