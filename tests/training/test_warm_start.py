from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from skipw.errors import ParamsError
from skipw.models.architecture import Architecture
from skipw.models.saved import load_description, save_model
from skipw.models.task import SequenceModel
from skipw.operating_point import OperatingPoint
from skipw.params import TrainSettings
from skipw.training import fit, warm_start


def build(model: str, **changes: Any) -> SequenceModel:
    window = 4 if model == "skipw" else None
    values: dict[str, Any] = {"hidden_size": 6, "window": window, **changes}
    return Architecture(model, 3, 4, "classification", **values).build()


def same(a: SequenceModel, b: SequenceModel, prefix: str) -> bool:
    theirs = b.state_dict()
    return all(torch.equal(w, theirs[k]) for k, w in a.state_dict().items() if k.startswith(prefix))


@pytest.mark.parametrize(
    ("donor", "ours"),
    [
        ("skipw", "skipw"),
        ("thrrnn", "skiprnn"),
        ("skiprnn", "thrrnn"),
        ("dense", "random"),
        ("random", "dense"),
    ],
)
def test_models_that_match_give_all_their_weights(donor: str, ours: str, tmp_path: Path) -> None:
    source, target = build(donor), build(ours)
    save_model(tmp_path, source, {"experiment": "b", "lineage": ["a"]})
    assert warm_start(target, tmp_path) == ["a", "b"]
    assert same(source, target, "")


@pytest.mark.parametrize("donor", ["dense", "skipw", "thrrnn"])
@pytest.mark.parametrize("ours", ["skipw", "skiprnn", "random"])
def test_a_model_of_another_kind_gives_cells_and_head_but_no_gate(
    donor: str, ours: str, tmp_path: Path
) -> None:
    kinds = {"random": "dense", "skiprnn": "thrrnn"}
    if kinds.get(ours, ours) == donor:
        ours = {"skipw": "thrrnn", "skiprnn": "skipw", "random": "skipw"}[ours]
    source, target = build(donor), build(ours)
    before = {name: weight.clone() for name, weight in target.state_dict().items() if ".gate." in name}
    save_model(tmp_path, source, {"experiment": "har-donor"})
    assert warm_start(target, tmp_path) == ["har-donor"]
    for part in ("rnn.cells.", "rnn.initial_state", "head."):
        assert same(source, target, part)
    assert all(torch.equal(weight, target.state_dict()[name]) for name, weight in before.items())


def test_a_gate_that_sees_more_starts_as_the_donor_s(tmp_path: Path) -> None:
    source = build("skipw", gate_inputs=("importance",))
    with torch.no_grad():
        source.rnn.gate.weight.normal_()
    target = build("skipw", gate_inputs=("since_update", "importance", "input"))
    save_model(tmp_path, source, {"experiment": "donor"})
    warm_start(target, tmp_path)
    x = torch.randn(3, 20, 3)
    expected, got = source.eval()(x).rnn, target.eval()(x).rnn
    assert torch.equal(expected.updates, got.updates) and expected.updates.any()
    assert torch.allclose(expected.importance, got.importance, atol=1e-6)


def test_windows_of_their_own_start_as_the_donor_s(tmp_path: Path) -> None:
    """From a donor without they start at 0; with as many they are copied; with another number they don't fit."""
    x = torch.randn(3, 20, 3)
    for theirs in (0, 3):
        source = build("skipw", gate_windows=theirs, gate_inputs=("importance",))
        with torch.no_grad():
            source.rnn.gate.weight.normal_()
        save_model(tmp_path, source, {"experiment": "donor"})
        target = build("skipw", gate_windows=3, gate_inputs=("importance", "input"), gate_budgets=(2,))
        warm_start(target, tmp_path)
        for at in (OperatingPoint(2), OperatingPoint()):
            expected, got = source.eval()(x, at=at).rnn, target.eval()(x, at=at).rnn
            assert torch.equal(expected.updates, got.updates) and expected.updates.any()
            assert torch.allclose(expected.importance, got.importance, atol=1e-6)
    with pytest.raises(ParamsError, match="gate.weight is"):
        warm_start(build("skipw", gate_windows=4, gate_inputs=("importance",)), tmp_path)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [((), (1, 2)), ((1, 2), ()), ((2,), (1, 3)), ((1, 3), (1, 2, 3))],
)
def test_each_gate_starts_as_the_donor_s_for_its_budget(
    theirs: tuple[int, ...], ours: tuple[int, ...], tmp_path: Path
) -> None:
    source = build("skipw", gate_budgets=theirs, gate_inputs=("importance",))
    with torch.no_grad():
        source.rnn.gate.weight.normal_()
    target = build("skipw", gate_budgets=ours, gate_inputs=("importance", "input"))
    save_model(tmp_path, source, {"experiment": "donor"})
    warm_start(target, tmp_path)
    x = torch.randn(3, 20, 3)
    for budget in (*ours, 4):
        at = OperatingPoint(budget)
        expected, got = source.eval()(x, at=at).rnn, target.eval()(x, at=at).rnn
        assert torch.equal(expected.updates, got.updates) and expected.updates.any()
        assert torch.allclose(expected.importance, got.importance, atol=1e-6)


def test_a_gate_that_the_donor_never_asks_is_not_taken(tmp_path: Path) -> None:
    """Its largest budget is 2: what it does at K = L is what its second gate says."""
    source = build("skipw", gate_budgets=(2, 3), largest_budget=2)
    with torch.no_grad():
        source.rnn.gate.weight.normal_()
    save_model(tmp_path, source, {"experiment": "donor"})
    target = build("skipw", gate_budgets=(1,), largest_budget=2)
    warm_start(target, tmp_path)
    x = torch.randn(3, 20, 3)
    expected, got = source.eval()(x).rnn, target.eval()(x).rnn
    assert torch.equal(expected.updates, got.updates) and expected.updates.any()


@pytest.mark.parametrize(
    ("time_feature", "theirs", "ours"),
    [
        *((name, (), ()) for name in ("steps", "window", "since_update", "none")),
        ("steps", ("since_update",), ("since_update",)),
        ("none", ("since_update", "importance"), ("since_update", "importance", "input")),
        ("window", ("importance",), ("since_update", "importance")),
    ],
)
def test_with_another_time_scale_gates_say_what_the_donor_s_say(
    time_feature: str, theirs: tuple[str, ...], ours: tuple[str, ...], tmp_path: Path
) -> None:
    source = build("skipw", time_feature=time_feature, time_scale=100.0, gate_inputs=theirs)
    with torch.no_grad():
        source.rnn.gate.weight.normal_()
    target = build("skipw", time_feature=time_feature, time_scale=7.0, gate_inputs=ours)
    save_model(tmp_path, source, {"experiment": "donor"})
    warm_start(target, tmp_path)
    x = torch.randn(3, 20, 3)
    expected, got = source.eval()(x).rnn, target.eval()(x).rnn
    assert torch.allclose(expected.importance, got.importance, atol=1e-5)


@pytest.mark.parametrize(
    ("donor", "theirs", "ours", "changes", "message"),
    [
        ("skipw", {"window": 5}, "skipw", {}, "gate.weight is"),
        ("skipw", {"gate_inputs": ["input"]}, "skipw", {"gate_inputs": ["importance"]}, "gate.weight is"),
        (
            "skipw",
            {"time_feature": "none"},
            "skipw",
            {"gate_inputs": ["since_update"]},
            "window and time_feature",
        ),
        ("dense", {"hidden_size": 7}, "skipw", {}, "use the same sizes"),
        ("dense", {"cell": "lstm"}, "skipw", {}, "its cells are lstm"),
        ("dense", {"initial_state": "zeros"}, "dense", {}, "initial_state"),
        ("dense", {}, "dense", {"initial_state": "zeros"}, "would be lost"),
    ],
)
def test_what_does_not_fit_is_refused(
    donor: str, theirs: dict[str, Any], ours: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    save_model(tmp_path, build(donor, **theirs), {"experiment": "x"})
    with pytest.raises(ParamsError, match=message):
        warm_start(build(ours, **changes), tmp_path)


def test_a_chain_of_trainings_records_its_lineage(
    settings: Callable[..., TrainSettings], slopes: Path, tmp_path: Path
) -> None:
    folders = {None: None}
    for name, donor in (("a", None), ("b", "a"), ("c", "b")):
        chosen = settings("har", experiment=f"har-{name}", init_from=donor and f"har-{donor}", steps=2)
        folder = tmp_path / name
        fit(chosen, slopes, folder, scratch=tmp_path / "s", init_from=folders[donor], progress=False)
        folders[name] = folder
    description = load_description(tmp_path / "c")
    assert description["init_from"] == "har-b"
    assert description["lineage"] == ["har-a", "har-b"]
