"""The grid equals one plain run a point, holds the bound, and says what it was asked to say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from skipw.data.prepared import Split
from skipw.errors import BudgetError, DataFormatError
from skipw.evaluation.grid import grid_points, grid_rows, operating_points_of, result_rows
from skipw.evaluation.sequence_results import inputs_per_window, joined, most_in_window, run_sequences
from skipw.evaluation.subsampling import REPEAT_COLUMNS, next_part, periodic_rows, random_rows, some_sequences
from skipw.evaluation.table import GRID_COLUMNS, grid_table, read_grid, write_table
from skipw.operating_point import OperatingPoint

THRESHOLDS = (0.3, 0.5, 0.7)


def collected(points) -> dict:
    """The results of each point over all sequences."""
    parts: dict = {}
    for point, _, results in points:
        parts.setdefault(point, []).append(results)
    return {point: joined(part) for point, part in parts.items()}


@pytest.mark.parametrize(
    ("select", "shape"),
    [
        ("topk", {}),
        ("topk", {"cell": "lstm", "window": 1}),
        ("topk", {"num_layers": 2, "window": 11}),
        ("topk", {"window": 20}),
        ("topk", {"gate_inputs": ("budget",)}),
        ("topk", {"gate_inputs": ("importance",)}),
        ("topk", {"gate_budgets": (1, 3)}),
        ("topk", {"gate_budgets": (2,), "gate_windows": 2}),
        ("first", {"gate_budgets": (2,), "gate_inputs": ("importance",)}),
        ("topk", {"largest_budget": 3}),
        ("topk", {"largest_budget": 2, "gate_budgets": (1, 3)}),
        ("first", {}),
        ("last", {"cell": "lstm"}),
        ("first_above", {}),
        ("random", {"window": 2}),
        ("sample", {"window": 2}),
    ],
)
def test_grid_equals_a_run_for_each_point(
    split: Split, select: str, shape: dict, make_model, make_identity
) -> None:
    model = make_model("skipw", select=select, **shape)
    identity, window = make_identity(model), model.rnn.window
    points = collected(grid_points(model, split, identity, THRESHOLDS, batch_size=17))
    assert list(points) == operating_points_of(identity, THRESHOLDS)
    assert len(points) == 3 * (window + 1)
    for point, results in points.items():
        plain = run_sequences(model, split, window=window, at=point, batch_size=17)
        np.testing.assert_array_equal(results.updates, plain.updates)
        np.testing.assert_array_equal(results.max_in_window, plain.max_in_window)
        np.testing.assert_array_equal(results.measures["accuracy"], plain.measures["accuracy"])
        np.testing.assert_allclose(results.task_loss, plain.task_loss, atol=1e-6)


def test_a_cross_holds_every_budget_and_every_threshold_once(split: Split, make_model, make_identity) -> None:
    model = make_model("skipw")
    identity, window = make_identity(model), model.rnn.window
    whole = collected(grid_points(model, split, identity, (0.3, 0.45, 0.7)))
    cross = collected(grid_points(model, split, identity, (0.3, 0.45, 0.7), cross=True))
    wanted = [OperatingPoint(window, 0.3)]
    wanted += [OperatingPoint(budget, 0.45) for budget in range(window + 1)]
    assert list(cross) == [*wanted, OperatingPoint(window, 0.7)]
    for point, results in cross.items():
        np.testing.assert_array_equal(results.updates, whole[point].updates)


def test_grid_of_saturated_gates_and_nan_equals_a_run_for_each_point(
    split: Split, make_model, make_identity
) -> None:
    model = make_model("skipw")
    with torch.no_grad():
        model.rnn.gate.weight.mul_(30)
        model.rnn.gate.bias[2] = float("nan")
    points = collected(grid_points(model, split, make_identity(model), (0.0, 0.5, 1.0)))
    for point, results in points.items():
        plain = run_sequences(model, split, window=4, at=point)
        np.testing.assert_array_equal(results.updates, plain.updates)
        assert not results.updates[:, 2::4].any()


@pytest.mark.parametrize("budgets", [(), (2,)], ids=repr)
def test_a_budget_is_run_only_from_the_window_where_it_differs(
    split: Split, budgets: tuple[int, ...], make_model, make_identity
) -> None:
    model, ran = make_model("skipw", gate_budgets=budgets), []
    model.register_forward_pre_hook(
        lambda _, args, kwargs: ran.append(int(kwargs["lengths"].sum())), with_kwargs=True
    )
    points = collected(grid_points(model, split, make_identity(model), THRESHOLDS))
    gates = 1 + len(budgets)
    wanted = int(split.lengths.sum()) * len(THRESHOLDS) * gates  # one whole run a threshold and gate
    for point, results in points.items():
        largest = next((most for most in budgets if point.budget_in(4) <= most), 4)
        whole = points[OperatingPoint(largest, point.threshold)].updates
        for row, length in enumerate(split.lengths):
            differs = (results.updates[row] != whole[row]).nonzero()[0]
            if len(differs):
                wanted += int(length) - int(differs[0]) // 4 * 4
    assert sum(ran) == wanted
    assert wanted < int(split.lengths.sum()) * len(points)


def test_a_window_cut_short_still_loses_an_input_to_a_smaller_budget(make_model, make_identity) -> None:
    """Slot 2 is wanted most but never comes: at budget 1 slot 1 is skipped, although one input would fit."""
    model = make_model("skipw")
    with torch.no_grad():
        model.rnn.gate.weight.zero_()
        model.rnn.gate.bias.copy_(torch.tensor([-2.0, 1.0, 2.0, -2.0]))
    inputs = np.zeros((1, 2, 3), dtype=np.float32)
    short = Split(inputs, np.zeros(1, dtype=np.int64), np.array([2]))
    points = collected(grid_points(model, short, make_identity(model), (0.5,)))
    most = {point.budget: results.max_in_window.tolist() for point, results in points.items()}
    assert most == {0: [0], 1: [0], 2: [1], 3: [1], 4: [1]}


def test_the_bound_holds_in_every_row_and_a_violation_is_an_error(
    split: Split, make_model, make_identity
) -> None:
    model = make_model("skipw")
    identity = make_identity(model)
    table = grid_table(grid_rows(identity, "val", grid_points(model, split, identity, (0.0, 0.5))))
    assert (table["max_inputs_in_window"] <= table["budget"]).all()
    full = table[(table["budget"] == 2) & (table["threshold"] == 0.0)]
    assert full["max_inputs_in_window"].item() == 2
    generous = run_sequences(model, split, window=4, at=OperatingPoint(4, 0.0))
    with pytest.raises(BudgetError, match="budget of 1"):
        result_rows(identity, OperatingPoint(1, 0.0), "val", generous)


def test_rows_have_the_columns_and_the_numbers(split: Split, make_model, make_identity) -> None:
    model = make_model("skipw")
    identity = make_identity(model)
    table = grid_table(grid_rows(identity, "test", grid_points(model, split, identity, (0.5,))))
    assert tuple(table.columns) == GRID_COLUMNS
    assert table["budget"].tolist() == [0, 1, 2, 3, 4]
    row = table.iloc[3]
    out = model(
        torch.from_numpy(split.inputs), at=OperatingPoint(3, 0.5), lengths=torch.from_numpy(split.lengths)
    )
    goal = torch.from_numpy(split.targets)
    loss = torch.nn.functional.cross_entropy(out.scores, goal) + 0.01 * out.rnn.input_cost.mean()
    assert row["value"] == pytest.approx((out.scores.argmax(-1) == goal).double().mean().item())
    assert row["loss"] == pytest.approx(loss.item(), abs=1e-5)
    assert row["inputs_processed"] == pytest.approx(out.rnn.inputs_processed.mean().item(), abs=1e-6)
    assert row["sequences"] == 40
    assert row["window"] == 4
    assert row["select"] == "topk"
    nothing = table.iloc[0]
    assert nothing["inputs_processed"] == 0
    assert nothing["max_inputs_in_window"] == 0


def test_regression_reports_mse_and_half_of_it(split: Split, make_model, make_identity) -> None:
    model = make_model("skipw", num_outputs=1, task="regression")
    regression = Split(split.inputs, split.targets.astype(np.float32), split.lengths)
    identity = make_identity(model)
    table = grid_table(grid_rows(identity, "val", grid_points(model, regression, identity, (0.5,))))
    values = table.pivot(index="budget", columns="metric", values="value")
    assert set(values.columns) == {"mse", "paper_mse"}
    np.testing.assert_allclose(values["paper_mse"], values["mse"] / 2)


@pytest.mark.parametrize(("kind", "points"), [("thrrnn", 3), ("skiprnn", 1), ("dense", 1)])
def test_models_without_a_budget_leave_it_empty(
    split: Split, kind: str, points: int, make_model, make_identity
) -> None:
    model = make_model(kind)
    identity = make_identity(model)
    table = grid_table(grid_rows(identity, "val", grid_points(model, split, identity, THRESHOLDS)))
    assert len(table) == points == len(operating_points_of(identity, THRESHOLDS))
    assert table["budget"].isna().all()
    assert table["window"].isna().all()
    assert table["select"].isna().all()
    expected = {"thrrnn": list(THRESHOLDS), "skiprnn": [0.5]}.get(kind)
    if expected is None:
        assert table["threshold"].isna().all()
        assert table["inputs_processed"].item() == 1
        assert table["max_inputs_in_window"].item() == 4
    else:
        assert table["threshold"].tolist() == expected


def test_random_rows_are_means_of_the_repetitions(split: Split, make_model, make_identity) -> None:
    model = make_model("random")
    identity = make_identity(model)
    rows, repeats = random_rows(model, split, identity, "test", (0.0, 0.4, 1.0), 6, seed=3)
    again, _ = random_rows(model, split, identity, "test", (0.0, 0.4, 1.0), 6, seed=3, batch_size=7)
    table, single = grid_table(rows), pd.DataFrame(repeats)
    assert set(single.columns) == set(REPEAT_COLUMNS)
    assert len(single) == 18
    middle = single[single["rate"] == 0.4]
    assert middle["inputs_processed"].nunique() > 1
    assert table["value"].tolist() == pytest.approx(single.groupby("rate")["value"].mean().tolist())
    assert table["inputs_processed"].tolist()[::2] == [0.0, 1.0]
    assert table["budget"].isna().all()
    assert table["threshold"].isna().all()
    np.testing.assert_allclose(grid_table(again)["value"], table["value"])


def test_parts_of_a_split_stand_for_the_whole(split: Split) -> None:
    inputs = np.arange(40, dtype=np.float32).reshape(40, 1, 1)
    numbered = Split(inputs, np.arange(40), np.ones(40, dtype=np.int64))
    parts = [next_part(numbered, 16, number).targets for number in range(5)]
    assert sorted(np.concatenate(parts)) == sorted([*range(40)] * 2)
    assert all(len(set(part)) == 16 for part in parts)
    assert parts[0].tolist() != list(range(16))
    np.testing.assert_array_equal(some_sequences(numbered, 16).targets, parts[0])
    assert some_sequences(numbered, 40) is numbered
    assert some_sequences(numbered, None) is numbered


def test_random_rows_of_parts_cover_the_split(split: Split, make_model, make_identity) -> None:
    model = make_model("random")
    rows, repeats = random_rows(model, split, make_identity(model), "val", (1.0,), 5, sequences=16)
    whole, _ = random_rows(model, split, make_identity(model), "val", (1.0,), 1)
    assert rows[0]["sequences"] == whole[0]["sequences"] == 40
    assert rows[0]["value"] == pytest.approx(whole[0]["value"])  # five parts of 16 go round 40 twice
    assert len({row["value"] for row in repeats}) > 1


def test_periodic_rows_take_the_share_they_are_told(split: Split, make_model, make_identity) -> None:
    model = make_model("random")
    whole = Split(split.inputs, split.targets, np.full(40, 11))
    rows = periodic_rows(model, whole, make_identity(model, "periodic"), "val", (0.25, 1.0))
    table = grid_table(rows)
    assert table["inputs_processed"].tolist() == pytest.approx([3 / 11, 1.0], abs=0.05)
    assert table["model"].tolist() == ["periodic"] * 2
    assert (table["inputs_processed_std"] < 1e-6).all()


def test_counts_in_windows_by_hand() -> None:
    updates = torch.tensor([[1, 1, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0, 1]]).bool()
    assert inputs_per_window(updates, 3).tolist() == [[2, 2, 1], [0, 0, 1]]
    assert most_in_window(updates, 3).tolist() == [2, 1]
    assert most_in_window(updates, 3, "any").tolist() == [3, 1]
    assert most_in_window(updates, 9, "any").tolist() == [5, 1]
    assert most_in_window(updates[:, :0], 3, "any").tolist() == [0, 0]


def test_a_grid_survives_its_file_and_a_damaged_one_is_refused(
    split: Split, tmp_path, make_model, make_identity
) -> None:
    model = make_model("random")
    rows, _ = random_rows(model, split, make_identity(model), "val", (0.2, 0.6), 2)
    table = grid_table(rows)
    write_table(table, tmp_path / "grid.csv")
    back = read_grid(tmp_path / "grid.csv")
    assert back["occurrence"].tolist() == [0, 1]
    pd.testing.assert_frame_equal(
        back[list(GRID_COLUMNS)], table, check_dtype=False, check_exact=True, check_column_type=False
    )
    text = (tmp_path / "grid.csv").read_text().replace("inputs_processed_std", "spread")
    (tmp_path / "grid.csv").write_text(text)
    with pytest.raises(DataFormatError, match="evaluate stage again"):
        read_grid(tmp_path / "grid.csv")
    with pytest.raises(DataFormatError, match="not a readable grid"):
        read_grid(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    ("column", "wrong", "kind"),
    [("value", "0.1.2", "number"), ("budget", "2.5", "whole number"), ("sequences", "x", "whole")],
)
def test_a_damaged_number_is_named_with_its_place(tmp_path: Path, column: str, wrong: str, kind: str) -> None:
    values = {"experiment": "adding-skipw", "budget": "2", "value": "0.5", "sequences": "9"}
    rows = [[values.get(name, "") for name in GRID_COLUMNS] for _ in range(3)]
    rows[1][GRID_COLUMNS.index(column)] = wrong
    path = tmp_path / "grid.csv"
    path.write_text("\n".join(",".join(row) for row in [list(GRID_COLUMNS), *rows]))
    words = rf"grid\.csv, line 3: {column}: expected a {kind}.*, got '{wrong}'; run the evaluate stage again"
    with pytest.raises(DataFormatError, match=words):
        read_grid(path)


def test_the_count_is_over_what_the_model_bounds(split: Split, make_model) -> None:
    """So that an evaluation would notice a violation of the bound over any L inputs too."""
    model = make_model("skipw", window=4, select="random")  # its choice changes from window to window
    point = OperatingPoint(2, 0.0)
    aligned = run_sequences(model, split, window=4, at=point)
    assert aligned.updates is not None
    straddling = most_in_window(torch.from_numpy(aligned.updates), 4, "any")
    assert aligned.max_in_window.max() == 2 < int(straddling.max()), "no two windows meet in processed inputs"
    model.set_bound("any")
    anywhere = run_sequences(model, split, window=4, at=point)
    assert anywhere.updates is not None and anywhere.max_in_window.max() == 2
    counted = most_in_window(torch.from_numpy(anywhere.updates), 4, "any")
    assert anywhere.max_in_window.tolist() == counted.tolist()
