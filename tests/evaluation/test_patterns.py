"""Patterns and switches against small cases worked by hand and against plain runs."""

from __future__ import annotations

import numpy as np
import pytest

from skipw.data.adding import generate
from skipw.data.prepared import Split
from skipw.errors import ShapeError
from skipw.evaluation.patterns import ProcessedInputs, adding_masks
from skipw.evaluation.sequence_results import run_sequences
from skipw.evaluation.switching import switch_curve, switch_positions
from skipw.operating_point import OperatingPoint


def test_probability_by_position_counts_only_sequences_that_are_long_enough() -> None:
    updates = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1]], dtype=bool)
    seen = ProcessedInputs()
    seen.add(updates[:2], np.array([3, 1]))
    seen.add(updates[2:], np.array([3]))
    np.testing.assert_allclose(seen.by_position(), [2 / 3, 1.0, 0.5])
    assert seen.by_sequence() == {0.667: 2, 1.0: 1}
    assert set(seen.tables()) == {"patterns", "shares"}
    with pytest.raises(ShapeError, match="lengths"):
        seen.add(updates, np.array([3, 3]))


def test_parts_of_the_adding_task_for_a_perfect_policy() -> None:
    split = generate(500, 50, np.random.default_rng(0), balanced=True)
    first = split.inputs[:, :25, 1].argmax(1)[:, None]
    second = 25 + split.inputs[:, 25:, 1].argmax(1)[:, None]
    place = np.arange(50)
    perfect = (place <= first) | ((place >= 25) & (place <= second))
    seen = ProcessedInputs()
    seen.add(perfect, split.lengths, split.inputs)
    assert seen.by_part() == {"p1": 1.0, "p2": 0.0, "p3": 1.0, "p4": 0.0}
    assert np.sum(adding_masks(split.inputs[:, :, 1]), axis=0).tolist() == np.ones((500, 50)).tolist()
    assert seen.tables()["parts"]["share"].tolist() == [1.0, 0.0, 1.0, 0.0]


def test_positions_reach_from_the_second_point_alone_to_the_first_alone() -> None:
    assert switch_positions(50, 6) == [0, 10, 20, 30, 40, 50]
    assert switch_positions(3, 17) == [0, 1, 2, 3]


def test_a_switch_at_the_ends_is_no_switch_and_the_bound_holds_in_between(split: Split, make_model) -> None:
    model = make_model("skipw")
    first, second = OperatingPoint(4, 0.2), OperatingPoint(1, 0.5)
    table = switch_curve(model, split, first, second, range(12), window=4, batch_size=16)
    for position, point in ((0, second), (11, first)):
        plain = run_sequences(model, split, window=4, at=point)
        row = table[table["position"] == position].iloc[0]
        assert row["value"] == pytest.approx(plain.measures["accuracy"].mean())
        assert row["inputs_processed"] == pytest.approx(plain.inputs_processed.mean())
    assert table["inputs_processed"].is_monotonic_increasing
    assert table["max_inputs_in_window"].max() <= 4
    assert len(table) == 12
