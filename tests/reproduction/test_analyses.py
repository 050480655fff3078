"""Every analysis on small real input: what its tables say must follow from the models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from skipw.data.prepared import load_split
from skipw.operating_point import OperatingPoint
from skipw.reproduction import costs
from skipw.reproduction.analyses import ANALYSES, analyse
from skipw.reproduction.digits import painted
from skipw.reproduction.runs import first_updates, run_budgets
from skipw.reproduction.work import Findings, Work

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(work: Work, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All analyses, run once."""
    root = tmp_path_factory.mktemp("results")
    for name in ANALYSES:
        (root / name).mkdir()
        analyse(name, work, root / name)
    return root


def table(results: Path, analysis: str, name: str) -> pd.DataFrame:
    return pd.read_csv(results / analysis / f"{name}.csv")


def test_every_table_and_figure_that_is_announced_is_there(results: Path) -> None:
    for name in ANALYSES:
        found = json.loads((results / name / "findings.json").read_text())
        files = [f"{one['name']}.csv" for one in found["tables"]] + [one["file"] for one in found["figures"]]
        assert files, name
        for file in files:
            assert (results / name / file).stat().st_size > 0


def test_what_was_not_trained_is_said(results: Path) -> None:
    missing = {
        name: json.loads((results / name / "findings.json").read_text())["missing"] for name in ANALYSES
    }
    assert "imdb: nothing was trained and evaluated" in missing["trained"]
    assert any("har" in what and "SkipRNN" in what for what in missing["tradeoff"])
    assert "har: selectors at L = 16" in missing["selectors"]
    assert any("L = 16" in what for what in missing["switching"])
    assert missing["anytime"] == []


def test_points_have_every_budget_and_threshold(results: Path) -> None:
    points = table(results, "tradeoff", "adding-points")
    own = points[points["experiment"] == "adding-one"]
    assert sorted(own["budget"].unique()) == list(range(1, 11))
    assert set(own["threshold"]) == {0.4, 0.5, 0.6}
    assert set(points["metric"]) == {"paper_mse"}


def test_the_bound_table_counts_every_threshold(results: Path) -> None:
    windows = table(results, "bound", "windows")
    assert (windows["points"] == 3).all() and not windows["exceeded"].any()
    shares = table(results, "bound", "per-sequence")
    assert (shares["max"] <= shares["limit"] + 5e-4).all()


def test_without_the_threshold_exactly_k_inputs_a_window(results: Path) -> None:
    thresholds = table(results, "ablations", "thresholds")
    free = thresholds[thresholds["threshold"] == 0]
    assert free["window_1"].tolist() == pytest.approx(free["budget"].tolist())
    assert free["inputs"].tolist() == pytest.approx((free["budget"] / free["window"]).tolist())


def test_the_parts_match_a_run_of_the_model(work: Work, results: Path) -> None:
    parts = table(results, "parts", "parts").set_index("budget")
    shown = next(one for one in work.experiments("adding") if one.name == parts["experiment"].iloc[0])
    split = work.test("adding")
    import torch

    answer = work.model(shown)(torch.from_numpy(np.array(split.inputs)), at=OperatingPoint(3, 0.5))
    updates, marked = answer.rnn.updates.numpy(), split.inputs[:, :, 1] > 0.5
    first = np.array([row.argmax() for row in marked])
    lost = 1 - updates[np.arange(len(first)), first].mean()
    assert parts.loc[3, "missed_first"] == pytest.approx(lost)
    up_to_first = np.arange(50) <= first[:, None]
    assert parts.loc[3, "p1"] == pytest.approx(updates[up_to_first].mean())


def test_every_selector_keeps_the_bound_and_full_windows_agree(results: Path) -> None:
    variants = table(results, "selectors", "variants")
    assert (variants["inputs"] <= variants["budget"] / variants["window"] + 1e-9).all()
    whole = variants[(variants["budget"] == variants["window"]) & (variants["threshold"] == 0.5)]
    assert whole.groupby("window")["value"].nunique().max() == 1
    assert set(variants["select"]) == {"topk", "random", "first", "last", "first_above", "sample"}


def test_switching_begins_and_ends_at_the_two_points(work: Work, results: Path) -> None:
    switching = table(results, "switching", "switching")
    own = switching[switching["dataset"] == "adding"].sort_values("position")
    shown = next(one for one in work.experiments("adding") if one.name == own["experiment"].iloc[0])
    runs = run_budgets(work, shown, [0.5])
    assert own["position"].iloc[-1] == own["num_steps"].iloc[-1] == 50
    assert own["value"].iloc[0] == pytest.approx(runs[5, 0.5].values.mean(), rel=1e-5)
    assert own["value"].iloc[-1] == pytest.approx(runs[10, 0.5].values.mean(), rel=1e-5)


def test_seeds_are_averaged(work: Work, results: Path) -> None:
    seeds = table(results, "seeds", "seeds")
    own = seeds[(seeds["dataset"] == "adding") & (seeds["budget"] == 4)].iloc[0]
    points = work.points("adding")
    values = points[
        points["experiment"].isin(["adding-one", "adding-one-again"])
        & (points["budget"] == 4)
        & (points["threshold"] == 0.5)
    ]["value"]
    assert own["seeds"] == 2 and own["value_mean"] == pytest.approx(values.mean())


def test_ablations_are_pairs_one_setting_apart(results: Path) -> None:
    pairs = table(results, "anytime", "ablations")
    own = pairs[(pairs["dataset"] == "adding") & (pairs["budget"] == 10)]
    assert set(own["setting"]) == {"random_budget", "time_feature"}
    against = table(results, "anytime", "at-every-budget")
    cheaper = against.dropna(subset=["one_cost_value"])
    assert set(against["dataset"]) == {"adding", "mnist", "har"}
    assert not cheaper["one_cost_experiment"].str.contains("many").any(), "trained at random budgets"


def test_the_first_inputs_of_each_window() -> None:
    updates = first_updates(np.array([7, 3]), 8, 4, 2)
    assert updates.astype(int).tolist() == [[1, 1, 0, 0, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0]]


def test_skipped_pixels_are_blue() -> None:
    image = painted(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[True, True], [False, False]]))
    assert image[0].tolist() == [[0, 0, 0], [1, 1, 1]]
    assert (image[1, :, 2] > image[1, :, 0]).all()


def test_an_analysis_of_an_empty_folder_says_what_is_missing(tmp_path: Path) -> None:
    work = Work(tmp_path / "nothing")
    for name in ANALYSES:
        folder = tmp_path / name
        folder.mkdir()
        found = analyse(name, work, folder)
        assert not found["tables"] and not found["figures"]


def test_a_folder_without_grids_is_not_an_experiment(data: Path, tmp_path: Path) -> None:
    shutil.rmtree(data / "evaluation" / "har")
    assert Work(data).datasets == ["adding", "mnist"]
    assert len(load_split(data / "prepared" / "har", "test")) == 75


def test_fronts_over_operations(results: Path, work: Work) -> None:
    """On val each point costs more than the one before it and is better, and none that is left out beats one."""
    fronts = table(results, "costs", "fronts")
    assert {"skipw", "dense"} <= set(fronts["model"])
    for (dataset, model, cell), own in fronts.groupby(["dataset", "model", "cell"]):
        gain = own["value_val"] if dataset != "adding" else -own["value_val"]
        assert (own["flops_val"].diff().dropna() > 0).all(), (dataset, model, cell)
        assert (gain.diff().dropna() > 0).all(), (dataset, model, cell)
        points = work.points(dataset)
        all_gain = points["value_val"] if dataset != "adding" else -points["value_val"]
        same = points[(points["model"] == model) & (points["inputs_val"] > 0)]
        assert gain.max() == pytest.approx(all_gain[same.index].max()), (dataset, model)


def test_a_data_set_without_a_counted_model_has_no_front(work: Work, tmp_path: Path) -> None:
    """One of which random sampling alone was evaluated, beside others."""

    class Further:
        @property
        def datasets(self) -> list[str]:
            return [*work.datasets, "imdb"]

        def experiments(self, dataset: str, *models: str) -> list[Any]:
            return [] if dataset == "imdb" else work.experiments(dataset, *models)

        def points(self, dataset: str) -> pd.DataFrame:
            return work.points("har").iloc[:0] if dataset == "imdb" else work.points(dataset)

        def __getattr__(self, name: str) -> Any:
            return getattr(work, name)

    findings = Findings(tmp_path, "costs")
    costs.run(Further(), findings)  # type: ignore[arg-type]
    assert findings.write()["missing"] == ["imdb: no model to count"]
    assert set(pd.read_csv(tmp_path / "fronts.csv")["dataset"]) == set(work.datasets)
