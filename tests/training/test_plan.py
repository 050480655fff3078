"""Plans: which inputs they hold, what an operating point takes of them, gates that learn to follow one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from skipw import OperatingPoint
from skipw.data.normaliser import Normaliser
from skipw.data.prepared import Split, full_lengths, load_split, save_prepared
from skipw.errors import ParamsError, ShapeError
from skipw.models import SkipW
from skipw.models.saved import load_model
from skipw.params import TrainSettings, load
from skipw.training import fit
from skipw.training.plan import Plan, Plans, disagreement, write_plans
from skipw.training.plan_search import _strongest, find_plan, plans_of

Settings = Callable[..., TrainSettings]
T, L = 14, 4  # the last window is shorter


def made_plan() -> Plan:
    return Plan(np.array([5, 1, 6, 12, 7, 0]), T, L)


def test_pairs_are_neighbours_in_the_order_of_a_window() -> None:
    assert made_plan().pairs.T.tolist() == [[5, 6], [6, 7], [1, 0]]
    assert Plan(np.array([2, 9]), T, L).pairs.shape == (2, 0)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [(None, [0, 1, 5, 6, 7, 12]), (L, [0, 1, 5, 6, 7, 12]), (2, [0, 1, 5, 6, 12]), (1, [1, 5, 12])],
)
def test_a_budget_takes_the_first_of_every_window(budget: int | None, expected: list[int]) -> None:
    assert made_plan().inputs_at(budget).tolist() == expected


def useful_inputs(rows: int, seed: int, useful: dict[int, float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise in 24 inputs of two values; the class is the sign of a weighted sum of some of them."""
    x = torch.randn(rows, 24, 2, generator=torch.Generator().manual_seed(seed))
    total = sum(weight * x[:, index, 1] for index, weight in useful.items())
    return x, (torch.as_tensor(total) > 0).long()


def test_a_plan_holds_the_inputs_that_matter_in_their_order() -> None:
    x, y = useful_inputs(4000, 0, {3: 4.0, 10: 2.0, 16: 1.0})
    plan = find_plan(x, y, count=3, window=6, budget=6, classes=2, seed=0, updates=500)
    assert plan.order.tolist() == [3, 10, 16]
    again = find_plan(x, y, count=3, window=6, budget=6, classes=2, seed=0, updates=500)
    assert again.order.tolist() == plan.order.tolist()


def test_a_plan_keeps_to_the_budget_of_every_window() -> None:
    x, y = useful_inputs(4000, 1, {6: 1.0, 7: 1.0, 8: 1.0, 14: 0.7})
    plan = find_plan(x, y, count=3, window=6, budget=2, classes=2, seed=0, updates=500)
    assert np.bincount(plan.order // 6).max() <= 2
    assert 14 in plan.order
    assert len(set(plan.order) & {6, 7, 8}) == 2


def test_inputs_that_never_change_are_in_no_plan() -> None:
    x, y = useful_inputs(500, 2, {3: 1.0})
    x[:, 12:] = 5.0
    plan = find_plan(x, y, count=20, window=6, budget=6, classes=2, seed=0, updates=500)
    assert sorted(plan.order) == list(range(12))


def test_sequences_that_are_all_the_same_have_no_plan() -> None:
    with pytest.raises(ParamsError, match="nothing to choose from"):
        find_plan(
            torch.ones(9, 4, 1), torch.zeros(9), count=2, window=2, budget=1, classes=0, seed=0, updates=9
        )


def test_each_gate_has_its_plan_and_the_first_is_free() -> None:
    small, middle = made_plan(), Plan(np.array([1, 4]), T, L)
    plans = Plans((small, middle), (1, 3), L)
    at = [None if budget is None else OperatingPoint(budget) for budget in (0, 1, 2, 3, L, None)]
    assert [plans.at(point) for point in at] == [small, small, middle, middle, None, None]
    first = Plans((small,), (1, 3), L)
    assert [first.at(point) for point in at] == [small, small, None, None, None, None]
    alone = Plans((small,), (), L)
    assert [alone.at(point) for point in at] == [small] * 6


@pytest.mark.parametrize("windows", [4, 6])
def test_a_plan_is_written_where_windows_have_biases_of_their_own(windows: int) -> None:
    """Gates follow it at every budget, whatever the state, and shut once it is over; the first gate stays free."""
    torch.manual_seed(0)
    model = SkipW(
        "gru", 2, 5, window=L, gate_budgets=(2, 3), gate_windows=windows, gate_inputs=("importance",)
    )
    torch.nn.init.normal_(model.gate.weight)
    free = model.gate.weight[:L].clone()
    plans = Plans((made_plan(), Plan(np.array([9, 1, 8]), T, L)), (2, 3), L)
    assert write_plans(model, plans)
    x = 10 * torch.randn(5, T, 2)
    for budget in (1, 2, 3):
        wanted = plans.plans[budget > 2].inputs_at(budget)
        found = model(x, at=OperatingPoint(budget)).updates
        assert found.nonzero()[:, 1].view(5, -1).tolist() == [wanted.tolist()] * 5
    assert torch.equal(model.gate.weight[:L], free)
    if windows > 4:
        longer = model(torch.randn(5, 2 * T, 2), at=OperatingPoint(2)).updates
        assert not longer[:, 4 * L :].any()


@pytest.mark.parametrize("windows", [0, 3])
def test_without_a_bias_for_every_window_a_plan_has_to_be_learnt(windows: int) -> None:
    model = SkipW("gru", 2, 5, window=L, gate_windows=windows)
    before = model.gate.weight.clone()
    assert not write_plans(model, Plans((made_plan(),), (), L))
    assert torch.equal(model.gate.weight, before)


def test_following_asks_the_gate_of_the_budget() -> None:
    torch.manual_seed(0)
    model, x, chosen = (
        SkipW("gru", 2, 5, window=L, gate_budgets=(1, 3)),
        torch.randn(3, T, 2),
        torch.tensor([2]),
    )
    torch.nn.init.normal_(model.gate.weight)
    state = model(x[:, :0]).state
    logits = {budget: model.follow(x, chosen, budget=budget)[1][:, 0] for budget in (1, 2, 3, L, None)}
    for budget, found in logits.items():
        torch.testing.assert_close(found, torch.logit(model.window_importance(state, budget)))
    assert torch.equal(logits[2], logits[3]) and torch.equal(logits[L], logits[None])
    assert not torch.equal(logits[1], logits[2]) and not torch.equal(logits[2], logits[L])


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("time_feature", ["steps", "window", "since_update", "none"])
@pytest.mark.parametrize("chosen", [[], [0], [2, 3, 4, 9, 13], list(range(T))])
def test_following_gives_the_states_and_logits_of_the_gates_own_run(
    chosen: list[int], time_feature: str, layers: int
) -> None:
    torch.manual_seed(0)
    model = SkipW("gru", 2, 5, layers, window=L, time_feature=time_feature, time_scale=3.0)
    x = torch.randn(3, T, 2)
    output, logits = model.follow(x, torch.tensor(chosen, dtype=torch.long))
    updates = torch.zeros(3, T, dtype=torch.bool)
    updates[:, chosen] = True
    torch.testing.assert_close(output, model(x, updates=updates).output[:, -1], atol=1e-6, rtol=1e-5)
    state = None
    for window, start in enumerate(range(0, T, L)):
        part = slice(start, min(start + L, T))
        if state is None:
            state = model(x[:, :0], updates=updates[:, :0]).state
        expected = torch.logit(model.window_importance(state))
        torch.testing.assert_close(logits[:, window], expected, atol=1e-4, rtol=1e-4)
        state = model(x[:, part], state=state, updates=updates[:, part]).state


def test_the_gates_gradient_reaches_the_states_as_far_as_it_may() -> None:
    norms = []
    for factor in (0.0, 0.5, 1.0):
        torch.manual_seed(0)
        model = SkipW("gru", 1, 4, window=L, gate_state_gradient=factor)
        _, logits = model.follow(torch.randn(2, T, 1), torch.tensor([1, 4, 9]))
        disagreement(logits, made_plan()).backward()
        assert model.gate.weight.grad is not None
        norms.append(float(sum(p.grad.abs().sum() for p in model.cells.parameters() if p.grad is not None)))
    assert norms[0] == 0
    assert norms[1] == pytest.approx(norms[2] / 2, rel=1e-4)
    torch.manual_seed(0)
    model = SkipW("gru", 1, 4, window=L, gate_state_gradient=0.0)
    _, logits = model.follow(torch.randn(2, T, 1), torch.tensor([1, 4, 9]), state_gradient=0.5)
    disagreement(logits, made_plan()).backward()
    asked = float(sum(p.grad.abs().sum() for p in model.cells.parameters() if p.grad is not None))
    assert asked == pytest.approx(norms[1], rel=1e-4)


@pytest.mark.parametrize("options", [{"cell": "lstm"}, {"cell": "gru", "gate_inputs": ("importance",)}])
def test_models_that_can_not_follow_say_so(options: dict[str, object]) -> None:
    model = SkipW(input_size=1, hidden_size=3, window=L, **{"cell": "gru", **options})  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="follow needs"):
        model.follow(torch.zeros(1, T, 1), torch.tensor([0]))


def test_disagreement_falls_to_nothing_for_a_gate_that_says_what_the_plan_says() -> None:
    """Logits by hand: open and shut as in the plan, and the plan's order within a window."""
    plan = made_plan()
    logits = torch.full((2, 16), -30.0)
    for place, index in enumerate(plan.order.tolist()):
        logits[:, index] = 30.0 - 4 * place
    agreeing = disagreement(logits.view(2, -1, L), plan)
    assert float(agreeing) < 0.1
    turned = logits.clone()
    turned[:, [5, 6]] = logits[:, [6, 5]]  # all open and shut as before
    assert float(disagreement(turned.view(2, -1, L), plan)) == pytest.approx(9, abs=0.1)
    shut = logits.clone()
    shut[:, 12] = -10.0
    assert float(disagreement(shut.view(2, -1, L), plan)) == pytest.approx(30, rel=0.01)
    opened = logits.clone()
    opened[0, 9] = 10.0  # one of two sequences
    assert float(disagreement(opened.view(2, -1, L), plan)) == pytest.approx(5, rel=0.01)
    early = logits.clone()
    early[0, 3] = 10.0  # in the first window that is read
    assert float(disagreement(early.view(2, -1, L), plan)) == pytest.approx(100, rel=0.01)


def test_no_window_between_others_is_left_empty() -> None:
    """Inputs of the middle window matter least of all; a gate needs one there to know where it is."""
    use = torch.tensor([0.9, 0.8, 0.7, 0.2, 0.1, 0.15, 0.6, 0.5, 0.4])
    assert _strongest(use, 4, 3, 3).nonzero()[:, 0].tolist() == [0, 1, 3, 6]
    assert _strongest(use, 2, 3, 3).nonzero()[:, 0].tolist() == [0, 1]
    assert _strongest(use, 6, 3, 2).nonzero()[:, 0].tolist() == [0, 1, 3, 5, 6, 7]
    use[3:6] = -1.0  # there is none to be had
    assert _strongest(use, 4, 3, 3).nonzero()[:, 0].tolist() == [0, 1, 2, 6]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 inputs of width 2 in sequences of one length; three of them make the class."""
    folder = tmp_path_factory.mktemp("prepared") / "har"
    splits = {}
    for seed, (name, rows) in enumerate({"train": 2000, "val": 300, "test": 10}.items()):
        x, y = useful_inputs(rows, seed, {3: 2.0, 10: 1.5, 16: 1.0})
        splits[name] = Split(x.numpy(), y.numpy(), full_lengths(x.numpy()))
    meta = {
        "dataset": "har",
        "title": "Made for tests",
        "data_source": "generated",
        "task": "classification",
        "metric": "accuracy",
        "classes": ["below", "above"],
        "input_size": 2,
        "num_steps": 24,
        "normaliser": Normaliser("none", 2).to_json(),
        "vocabulary_size": 0,
        "embedding_size": 0,
        "preprocessing": {},
    }
    save_prepared(folder, splits, meta, {})
    return folder


PLANNED = {
    "window": 6,
    "budget": 2,
    "plan_inputs": 0.13,
    "plan_updates": 800,
    "cost_per_input": 1e-3,
    "learning_rate": 3e-3,
    "batch_size": 64,
}


@pytest.mark.parametrize(
    "more",
    [{"num_layers": 2}, {"cell": "fastgrnn"}, {"random_budget": 1.0, "sandwich": True, "distill": 0.5}],
    ids=str,
)
def test_gates_learn_to_follow_a_plan(
    more: dict[str, Any], settings: Settings, prepared: Path, tmp_path: Path
) -> None:
    """What is validated and kept is the gates' own choice: it is the plan, and the task is solved with three inputs."""
    chosen = settings("har", steps=1200, val_every=400, plan_weight=0.3, **PLANNED, **more)
    best = fit(chosen, prepared, tmp_path / "out", scratch=tmp_path / "scratch", progress=False)
    model, _ = load_model(tmp_path / "out")
    x = torch.from_numpy(np.array(load_split(prepared, "test").inputs))
    updates = model(x, at=OperatingPoint(budget=2)).rnn.updates
    assert updates.nonzero()[:, 1].tolist() == [3, 10, 16] * len(x)
    assert best["val_inputs_processed"] == pytest.approx(3 / 24)
    assert best["val_accuracy"] > 0.9
    assert not list((tmp_path / "scratch").iterdir())


def test_gates_of_their_own_follow_plans_of_their_own(
    settings: Settings, prepared: Path, tmp_path: Path
) -> None:
    """The gate of K = 1 follows two inputs, the first one is free."""
    own = {
        **PLANNED,
        "plan_inputs": (2 / 24 + 1e-9,),
        "gate_budgets": (1,),
        "random_budget": 1.0,
        "sandwich": True,
    }
    chosen = settings("har", steps=1600, val_every=400, plan_weight=0.3, **own)
    fit(chosen, prepared, tmp_path / "out", scratch=tmp_path / "scratch", progress=False)
    model, _ = load_model(tmp_path / "out")
    split = load_split(prepared, "test")
    x = torch.from_numpy(np.array(split.inputs))
    few = model(x, at=OperatingPoint(budget=1)).rnn.updates
    assert few.nonzero()[:, 1].tolist() == [3, 10] * len(x)
    val = load_split(prepared, "val")
    scores = {
        budget: model(torch.from_numpy(np.array(val.inputs)), at=OperatingPoint(budget)).scores
        for budget in (1, 2)
    }
    right = {
        budget: float((score.argmax(-1) == torch.from_numpy(np.array(val.targets))).float().mean())
        for budget, score in scores.items()
    }
    assert right[1] > 0.8 and right[2] > 0.9, right


def test_a_written_plan_needs_no_learning(settings: Settings, prepared: Path, tmp_path: Path) -> None:
    """After one step the gates' own run is the plan's."""
    own = {**PLANNED, "gate_windows": 99, "plan_weight": 0.0}
    fit(
        settings("har", steps=1, val_every=1, **own),
        prepared,
        tmp_path / "o",
        scratch=tmp_path / "s",
        progress=False,
    )
    model, _ = load_model(tmp_path / "o")
    x = torch.from_numpy(np.array(load_split(prepared, "test").inputs))
    updates = model(x).rnn.updates
    assert updates.any() and torch.equal(updates, updates[:1].expand_as(updates))
    assert int(updates[0].sum()) == 3


def test_after_the_plan_gates_are_free_and_inputs_have_their_price(
    settings: Settings, prepared: Path, tmp_path: Path
) -> None:
    """A price that no input is worth: followed to the end the plan stays, from half-way on gates shut."""
    shares = []
    for until in (1.0, 0.5):
        chosen = settings(
            "har",
            steps=1600,
            val_every=400,
            plan_weight=0.3,
            plan_until=until,
            **{**PLANNED, "cost_per_input": 5.0},
        )
        fit(chosen, prepared, tmp_path / str(until), scratch=tmp_path / "scratch", progress=False)
        rows = pd.read_csv(tmp_path / str(until) / "history.csv")
        shares.append(rows["val_inputs_processed"].tolist())
    assert shares[0][-1] == pytest.approx(3 / 24)
    assert shares[0][:2] == shares[1][:2], "the first half is the same"
    assert shares[1][-1] < 0.01


def test_a_plan_is_looked_for_once(
    settings: Settings, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings("har", **PLANNED)
    several = settings(
        "har", **{**PLANNED, "plan_inputs": (0.09, 0.13), "gate_budgets": (1, 2), "budget": None}
    )
    first, second = (plans_of(one, prepared, tmp_path) for one in (chosen, several))
    assert first is not None and second is not None
    assert sorted(first.plans[0].order) == [3, 10, 16]
    assert [sorted(plan.order) for plan in second.plans] == [[3, 10], [3, 10, 16]]
    monkeypatch.setattr("skipw.training.plan_search.find_plan", None)
    for one, found in ((chosen, first), (several, second)):
        again = plans_of(one, prepared, tmp_path)
        assert again is not None
        assert [plan.order.tolist() for plan in again.plans] == [plan.order.tolist() for plan in found.plans]
    assert plans_of(settings("har"), prepared, tmp_path) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"no array", np.array([3, 99]), np.array([3, 3]), np.array([0.5]), np.array([[3]]), np.array([-1])],
)
def test_a_damaged_plan_is_looked_for_again(
    content: bytes | np.ndarray,
    settings: Settings,
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = tmp_path / "plan.npy"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        np.save(file, content)
    whole = Plan(np.array([16, 3, 10]), 24, 6)
    monkeypatch.setattr("skipw.training.plan_search.find_plan", lambda *_, **__: whole)
    found = plans_of(settings("har", **PLANNED), prepared, tmp_path)
    assert found is not None and found.plans[0].order.tolist() == [16, 3, 10]
    assert "plan.npy is damaged" in caplog.text
    assert np.load(file).tolist() == [16, 3, 10]


@pytest.mark.parametrize("kind", ["slopes", "words"])
def test_data_without_a_fixed_length_has_no_plan(
    kind: str, settings: Settings, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder: Path = request.getfixturevalue(kind)
    chosen = settings(folder.name, plan_inputs=0.2)
    with pytest.raises(ParamsError, match="plan_inputs needs numbers in sequences of one length"):
        fit(chosen, folder, tmp_path / "out", scratch=tmp_path / "scratch", progress=False)


@pytest.mark.parametrize(
    ("own", "refused"),
    [
        ("model: thrrnn", "a plan needs model skipw, got thrrnn"),
        ("model: skipw, cell: lstm", "a plan needs cell gru or fastgrnn, got lstm"),
        ("model: skipw, bound: any", "a plan needs bound aligned, got any"),
        ("model: skipw, select: first", "a plan needs select topk, got first"),
        ("model: skipw, gate_inputs: [input]", r"a plan needs no gate_inputs, got \['input'\]; docs"),
        ("model: skipw, plan_inputs: 0.0", "plan_inputs"),
        ("model: skipw, plan_inputs: []", "plan_inputs"),
        ("model: skipw, plan_inputs: [0.1]", r"plan_inputs: expected one share, got \[0.1\]"),
        (
            "model: skipw, gate_budgets: [1, 3]",
            "expected a list of up to 2 shares, for the first of gate_budgets, got 0.1",
        ),
        (
            "model: skipw, gate_budgets: [1, 3], plan_inputs: [0.1, 0.1, 0.2]",
            "expected a list of up to 2 shares",
        ),
    ],
)
def test_settings_that_do_not_go_with_a_plan(own: str, refused: str, tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    own = own if "plan_inputs" in own else f"{own}, plan_inputs: 0.1"
    entry = f"{{dataset: har, window: 5, {own}, start: data/prepared/har}}"
    file.write_text(f"train:\n  experiments:\n    har-one: {entry}\n")
    with pytest.raises(ParamsError, match=refused):
        load(file)
