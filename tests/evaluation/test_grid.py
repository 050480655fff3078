"""The grid equals one plain run a point, holds the bound, and says what it was asked to say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from skipw.data.prepared import Split
from skipw.errors import BudgetError, DataFormatError
from skipw.evaluation.grid import count_points, grid_points, grid_rows, result_rows
from skipw.evaluation.sequence_results import inputs_per_window, run_sequences
from skipw.evaluation.subsampling import REPEAT_COLUMNS, periodic_rows, random_rows
from skipw.evaluation.table import GRID_COLUMNS, grid_table, read_grid, write_table
from skipw.operating_point import OperatingPoint

THRESHOLDS = (0.3, 0.5, 0.7)


@pytest.mark.parametrize("select", ["topk", "first", "first_above", "random"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_grid_equals_a_run_for_each_point(
    split: Split, select: str, seed: int, make_model, make_identity
) -> None:
    model = make_model("skipw", select=select)
    torch.manual_seed(seed)
    with torch.no_grad():
        model.rnn.gate.weight.normal_(0, 2.0)
    identity = make_identity(model)
    points = list(grid_points(model, split, identity, THRESHOLDS, batch_size=7))
    assert len(points) == count_points("skipw", 4, THRESHOLDS) == 15
    for point, results in points:
        plain = run_sequences(model, split, window=4, at=point, batch_size=7)
        np.testing.assert_array_equal(results.updates, plain.updates)
        np.testing.assert_array_equal(results.max_in_window, plain.max_in_window)
        np.testing.assert_array_equal(results.measures["accuracy"], plain.measures["accuracy"])
        np.testing.assert_allclose(results.task_loss, plain.task_loss, atol=1e-6)


def test_smaller_budgets_run_only_the_sequences_they_touch(split: Split, make_model, make_identity) -> None:
    model, ran = make_model("skipw"), []
    model.register_forward_pre_hook(
        lambda _, args, kwargs: ran.append((kwargs["at"].budget, len(args[0]))), with_kwargs=True
    )
    points = dict(grid_points(model, split, make_identity(model), (0.5,)))
    wanted = {point.budget: results.wanted for point, results in points.items()}
    counted = {budget: sum(rows for b, rows in ran if b == budget) for budget in range(5)}
    assert counted[4] == 40
    assert [counted[k] for k in range(4)] == [int((wanted[k + 1] > k).sum()) for k in range(4)]
    assert sum(counted.values()) < 5 * 40


def test_a_window_cut_short_still_loses_an_input_to_a_smaller_budget(make_model, make_identity) -> None:
    """Slot 2 is wanted most but never comes: at budget 1 slot 1 is skipped, although one input would fit."""
    model = make_model("skipw")
    with torch.no_grad():
        model.rnn.gate.weight.zero_()
        model.rnn.gate.bias.copy_(torch.tensor([-2.0, 1.0, 2.0, -2.0]))
    inputs = np.zeros((1, 2, 3), dtype=np.float32)
    short = Split(inputs, np.zeros(1, dtype=np.int64), np.array([2]))
    points = {p.budget: r for p, r in grid_points(model, short, make_identity(model), (0.5,))}
    assert points[2].max_in_window.tolist() == [1]
    assert points[1].max_in_window.tolist() == [0]


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
    assert len(table) == points == count_points(kind, None, THRESHOLDS)
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
