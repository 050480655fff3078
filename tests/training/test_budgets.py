"""Which operating points a step trains at."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from skipw.data.prepared import load_split
from skipw.errors import ParamsError
from skipw.models.saved import load_model
from skipw.operating_point import OperatingPoint
from skipw.params import TrainSettings, load
from skipw.training import fit
from skipw.training.budgets import passes_for_step

Settings = Callable[..., TrainSettings]


def drawn(settings: TrainSettings, steps: range) -> list[int]:
    """The budgets below "whatever the window holds" that these steps draw."""
    points = [passes_for_step(step, settings)[-1].at for step in steps]
    return [point.budget for point in points if point is not None and point.budget is not None]


def test_random_budgets_come_in_their_share_from_their_start_on(settings: Settings) -> None:
    chosen = settings("adding", steps=4000, random_budget=0.5, random_budget_from=0.5)
    late = drawn(chosen, range(2000, 4000))
    assert drawn(chosen, range(2000)) == []
    assert 900 < len(late) < 1100
    assert set(late) == {1, 2, 3, 4, 5}
    assert late == drawn(chosen, range(2000, 4000))


def test_logarithmic_draws_prefer_small_budgets(settings: Settings) -> None:
    chosen = settings("adding", steps=4000, window=28, random_budget=1.0, budget_draw="log")
    counts = Counter(drawn(chosen, range(4000)))
    assert set(counts) == set(range(1, 29))
    # As likely below 5.4 (the geometric middle of 1 and 29) as above.
    assert 1800 < sum(counts[k] for k in range(1, 6)) < 2250


@pytest.mark.parametrize("how", ["uniform", "log"])
def test_a_range_holds_all_draws(settings: Settings, how: str) -> None:
    chosen = settings(
        "adding", steps=4000, window=28, random_budget=1.0, budget_draw=how, budget_range=(4, 8)
    )
    counts = Counter(drawn(chosen, range(4000)))
    assert set(counts) == {4, 5, 6, 7, 8}
    expected = {"uniform": 1 / 5, "log": math.log(5 / 4) / math.log(9 / 4)}[how]
    assert counts[4] / 4000 == pytest.approx(expected, abs=0.03)


def test_every_gate_is_drawn_as_often_as_any_other_and_every_budget_of_it(settings: Settings) -> None:
    chosen = settings(
        "adding", steps=6000, window=28, random_budget=1.0, budget_draw="gates", gate_budgets=(1, 2, 3, 9),
        budget_range=(2, 12),
    )  # fmt: skip
    counts = Counter(drawn(chosen, range(6000)))
    assert set(counts) == set(range(2, 13))
    gates = [range(2, 3), range(3, 4), range(4, 10), range(10, 13)]
    for served in gates:
        for budget in served:
            assert counts[budget] / 6000 == pytest.approx(1 / 4 / len(served), abs=0.025)


@pytest.mark.parametrize(
    ("own", "refused"),
    [
        ("random_budget: 1.0, budget_draw: gates", "budget_draw: gates draws one of gate_budgets"),
        ("budget_range: [0, 3]", "budget_range: expected .* within 1 to 5"),
        ("budget_range: [3, 2]", "budget_range: expected .* within 1 to 5"),
        ("budget_range: [2, 6]", "budget_range: expected .* within 1 to 5"),
        ("budget: 6", "budget: expected K within 1 to 5, got 6"),
        ("budget: 0", "budget: expected at least 1, got 0"),
        ("budget: 3, budget_range: [2, 4]", "budget_range: expected .* within 1 to 3, got"),
        (
            "gate_budgets: [3, 2]",
            r"gate_budgets: expected a list of ascending budgets from 1 to 4, .*got \[3, 2\]",
        ),
        ("gate_budgets: [5]", "gate_budgets: expected a list of ascending budgets from 1 to 4"),
        ("gate_budgets: [0, 1]", "expected at least 1"),
    ],
)
def test_budgets_outside_the_window_are_refused(own: str, refused: str, tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    entry = f"{{dataset: har, model: skipw, window: 5, {own}, start: data/prepared/har}}"
    file.write_text(f"train:\n  experiments:\n    har-skipw: {entry}\n")
    with pytest.raises(ParamsError, match=refused):
        load(file)


def test_draws_stay_below_the_largest_budget(settings: Settings) -> None:
    chosen = settings("adding", steps=400, window=28, budget=3, random_budget=1.0, sandwich=True)
    whole = [passes_for_step(step, chosen)[0] for step in range(400)]
    assert {(one.at.budget, one.largest) for one in whole if one.at is not None} == {(3, True)}
    assert set(drawn(chosen, range(400))) == {1, 2, 3}


def test_a_model_trained_for_a_budget_is_validated_at_it(
    settings: Settings, adding: Path, tmp_path: Path
) -> None:
    common = {"steps": 40, "val_every": 20, "cost_per_input": 1e-4, "hidden_size": 8, "target_inputs": 0.9}
    for budget, share in ((2, 2 / 5), (None, 1.0)):
        out = tmp_path / f"K{budget}"
        fit(settings("adding", **common, budget=budget), adding, out, scratch=tmp_path, progress=False)
        history = pd.read_csv(out / "history.csv")
        for figure in (history.train_inputs_processed, history.val_inputs_processed):
            assert figure.iloc[0] == pytest.approx(share, abs=0.05)  # gates are open at first


def test_a_model_meant_for_a_budget_trains_as_one_trained_for_it_and_stays_there(
    settings: Settings, adding: Path, tmp_path: Path
) -> None:
    common = {"steps": 40, "val_every": 20, "cost_per_input": 1e-4, "hidden_size": 8}
    common |= {"random_budget": 0.5, "sandwich": True}
    models = {}
    for name in ("budget", "largest_budget"):
        fit(
            settings("adding", **common, **{name: 2}),
            adding,
            tmp_path / name,
            scratch=tmp_path,
            progress=False,
        )
        models[name], _ = load_model(tmp_path / name)
    trained, meant = models.values()
    assert (trained.rnn.largest_budget, meant.rnn.largest_budget) == (None, 2)
    for one, other in zip(trained.parameters(), meant.parameters(), strict=True):
        assert torch.equal(one, other)
    x = torch.from_numpy(np.array(load_split(adding, "val", 20).inputs))
    for budget in (2, 3, 5, None):
        assert torch.equal(
            meant(x, at=OperatingPoint(budget)).scores, trained(x, at=OperatingPoint(2)).scores
        )
    assert not torch.equal(trained(x).scores, meant(x).scores)


@pytest.mark.parametrize("average", [None, 0.7])
def test_a_training_of_gates_alone_leaves_everything_else_as_it_came(
    average: float | None, settings: Settings, adding: Path, tmp_path: Path
) -> None:
    """And of the gates those that no budget of this training asks; one of cells alone leaves the gates."""
    common = {"steps": 20, "val_every": 20, "hidden_size": 8, "cost_per_input": 1e-4, "average": average}
    own = {
        "gate_budgets": (1, 3),
        "budget": 3,
        "budget_range": (2, 3),
        "random_budget": 1.0,
        "train_only": "gates",
    }
    fit(settings("adding", **common), adding, tmp_path / "a", scratch=tmp_path, progress=False)
    chosen = settings("adding", experiment="adding-more", init_from="adding-skipw", **common, **own)
    fit(chosen, adding, tmp_path / "b", scratch=tmp_path, init_from=tmp_path / "a", progress=False)
    donor, model = (load_model(tmp_path / name)[0] for name in "ab")
    theirs = donor.state_dict()
    for name, weight in model.state_dict().items():
        if not name.startswith("rnn.gate."):
            assert torch.equal(weight, theirs[name]), name
            continue
        first, one, three = weight.chunk(3)
        assert torch.equal(first, theirs[name]) and torch.equal(one, theirs[name])
        assert not torch.equal(three, theirs[name])
    own["train_only"] = "cells"
    chosen = settings("adding", experiment="adding-on", init_from="adding-more", **common, **own)
    fit(chosen, adding, tmp_path / "c", scratch=tmp_path, init_from=tmp_path / "b", progress=False)
    before, after = model.state_dict(), load_model(tmp_path / "c")[0].state_dict()
    kept = {name for name, weight in before.items() if torch.equal(weight, after[name])}
    assert kept == {"rnn.gate.weight", "rnn.gate.bias"}


def test_a_part_of_a_model_without_gates_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    entry = "{dataset: har, model: dense, train_only: gates, start: data/prepared/har}"
    file.write_text(f"train:\n  experiments:\n    har-dense: {entry}\n")
    with pytest.raises(ParamsError, match="train_only: dense has no gate"):
        load(file)


@pytest.mark.parametrize(
    ("own", "refused"),
    [
        ("sandwich: true", "sandwich: it is for batches that draw their K; set random_budget"),
        ("sandwich: true, random_budget: 0.0, distill: 0.5", "sandwich: it is for batches that draw"),
        ("distill: 0.5", "distill: the scores at the largest K are those of sandwich; set it"),
        ("distill: 0.5, random_budget: 1.0", "distill: the scores at the largest K are those of sandwich"),
        ("train_only: gates", "train_only: the cells under these gates are those of init_from; name one"),
    ],
)
def test_what_would_change_nothing_is_refused(own: str, refused: str, tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    entry = f"{{dataset: har, model: skipw, window: 5, {own}, start: data/prepared/har}}"
    file.write_text(f"train:\n  experiments:\n    har-skipw: {entry}\n")
    with pytest.raises(ParamsError, match=refused):
        load(file)


def test_a_recipe_may_hold_what_only_skipw_draws(tmp_path: Path) -> None:
    """A dense model leaves it alone; a skipw that draws no K has to switch it off."""
    file = tmp_path / "params.yaml"
    file.write_text(
        """
train:
  recipes:
    har: {window: 5, sandwich: true, distill: 0.5}
  experiments:
    har-dense: {dataset: har, model: dense, start: data/prepared/har}
    har-skipw: {dataset: har, model: skipw, random_budget: 0.5, start: data/prepared/har}
    har-skipw-gates:
      {dataset: har, model: skipw, sandwich: false, distill: 0.0, train_only: gates, init_from: har-skipw,
       start: data/models/har/har-skipw}
"""
    )
    assert set(load(file).train.experiments) == {"har-dense", "har-skipw", "har-skipw-gates"}


def test_a_sandwich_runs_the_whole_window_first(settings: Settings) -> None:
    chosen = settings(
        "adding", steps=100, random_budget=1.0, sandwich=True, distill=0.75, random_threshold=(0.5, 0.6)
    )
    thresholds = set()
    for step in range(100):
        whole, small = passes_for_step(step, chosen)
        assert (whole.at, whole.distilled, whole.weight + small.weight) == (None, 0.0, 1.0)
        assert small.at is not None and small.distilled == 0.75
        thresholds.add(small.at.threshold)
    assert min(thresholds) >= 0.5 and max(thresholds) <= 0.6 and len(thresholds) == 100


@pytest.mark.parametrize("model", ["thrrnn", "dense"])
def test_only_skipw_draws_budgets(model: str, settings: Settings) -> None:
    (only,) = passes_for_step(3, settings("adding", model, random_budget=1.0, sandwich=True))
    assert only.at is None


def test_one_model_learns_every_budget(settings: Settings, adding: Path, tmp_path: Path) -> None:
    common = {"steps": 300, "val_every": 300, "cost_per_input": 1e-4, "hidden_size": 24, "seed": 2}
    common |= {"random_budget": 1.0, "sandwich": True, "selection_gradient": "zero_sum"}
    fit(settings("adding", **common, distill=0.5), adding, tmp_path / "m", scratch=tmp_path, progress=False)
    history = pd.read_csv(tmp_path / "m" / "history.csv")
    # The figures of a step are those of its pass at K = L: more than the 2.5 of 5 that a drawn K has on average.
    assert history.train_inputs_processed.iloc[-1] > 0.6
    assert history.val_loss.iloc[-1] < 0.02
