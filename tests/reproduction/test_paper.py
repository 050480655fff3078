"""The perfect policy, the paper's stated numbers, and the counted operations."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from skipw.models.architecture import Architecture
from skipw.reproduction.flops import dense_flops, input_flops, sequence_flops
from skipw.reproduction.paper import perfect_policy, stated, stated_points

READ_INPUTS = [7.8, 15.0, 21.8, 28.2, 34.0, 36.3, 38.5, 40.5, 42.3, 44.0]
READ_ERRORS = [0.0700, 0.0567, 0.0433, 0.0300, 0.0167, 0.0133, 0.0100, 0.0067, 0.0033, 0.0]


def test_the_perfect_policy_is_that_of_the_readings() -> None:
    table = perfect_policy(10)
    assert table["budget"].tolist() == list(range(1, 11))
    assert (100 * table["inputs"]).tolist() == pytest.approx(READ_INPUTS, abs=0.05)
    assert table["half_mse"].tolist() == pytest.approx(READ_ERRORS, abs=5e-5)


def test_a_window_that_holds_both_markers_has_no_policy() -> None:
    assert perfect_policy(50).empty


def test_the_papers_numbers_are_shares_beside_ours() -> None:
    mnist = stated_points("mnist")
    assert mnist["value"].between(0, 1).all() and mnist["inputs"].between(0, 1).all()
    assert len(mnist) == sum(row["source"] == "SkipW paper" for row in stated("table2")) == 15
    assert stated_points("adding")["value"].min() == 3.56e-5
    assert stated_points("imdb").empty


def dense(cell: str, **changes: int) -> Architecture:
    values = {"hidden_size": 7, "num_layers": 2, "head_hidden": 5} | changes
    return Architecture(
        model="dense", input_size=3, num_outputs=4, task="classification", cell=cell, **values
    )


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_products_are_counted_as_torch_counts_them(cell: str) -> None:
    architecture = dense(cell)
    length = 9
    cells = {"gru": torch.nn.GRUCell, "lstm": torch.nn.LSTMCell}[cell]
    layers = [cells(3, 7), cells(7, 7)]
    head = torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.ReLU(), torch.nn.Linear(5, 4))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        states: list = [None, None]
        for _ in range(length):
            below = torch.randn(1, 3)
            for place, layer in enumerate(layers):
                states[place] = layer(below, states[place])
                below = states[place] if cell == "gru" else states[place][0]
        head(below)
    assert dense_flops(architecture.to_json(), length) == counter.get_total_flops()


def test_the_gates_cost_is_counted() -> None:
    shape = dense("gru", num_layers=1, head_hidden=0).to_json()
    head = 2 * 7 * 4
    skipw = shape | {"model": "skipw", "window": 4, "time_feature": "steps"}
    assert sequence_flops(skipw, 10, 0) == head + 3 * 2 * 4 * 8  # three windows, the last cut short
    assert sequence_flops(skipw | {"time_feature": "none"}, 10, 0) == head + 3 * 2 * 4 * 7
    seen = skipw | {"input_size": 3, "gate_inputs": ["since_update", "importance", "input"]}
    assert sequence_flops(seen, 10, 0) == head + 3 * 2 * 4 * (8 + 1 + 4 + 3)
    own = skipw | {"gate_windows": 3}
    assert sequence_flops(own, 10, 0) == head + 3 * 4 * (
        2 * 8 + 1
    )  # one more addition a slot, however many windows
    thrrnn = shape | {"model": "thrrnn"}
    assert sequence_flops(thrrnn, 10, 2) == head + 2 * (input_flops(shape) + 2 * 7)
    assert sequence_flops(shape, 10, 10) == dense_flops(shape, 10)
