from __future__ import annotations

from typing import Any

import pytest
import torch

from skipw.errors import ParamsError, ShapeError
from skipw.models.task import Architecture
from skipw.operating_point import OperatingPoint


def architecture(**changes: Any) -> Architecture:
    values: dict[str, Any] = {
        "model": "skipw",
        "input_size": 3,
        "num_outputs": 4,
        "task": "classification",
        "hidden_size": 6,
        "window": 4,
        **changes,
    }
    if values["model"] != "skipw":
        values["window"] = None
    return Architecture(**values)


@pytest.mark.parametrize("model", ["skipw", "thrrnn", "skiprnn", "dense", "random", "periodic"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_every_model_scores_a_batch(model: str, cell: str) -> None:
    built = architecture(model=model, cell=cell, num_layers=2, head_hidden=5).build().eval()
    inputs, lengths = torch.randn(2, 9, 3), torch.tensor([9, 4])
    result = built(inputs, lengths=lengths)
    assert result.scores.shape == (2, 4)
    assert bool((result.rnn.updates[1, 4:] == 0).all())
    alone = built(inputs[1:, :4])
    torch.testing.assert_close(result.scores[1:], alone.scores)


def test_operating_point_and_updates_reach_the_recurrent_layers() -> None:
    built = architecture().build().eval()
    inputs = torch.randn(2, 8, 3)
    bounded = built(inputs, at=OperatingPoint(budget=1, threshold=0.0))
    assert bounded.rnn.updates.sum(1).tolist() == [2, 2]
    mask = torch.zeros(2, 8, dtype=torch.bool)
    mask[:, 3] = True
    assert torch.equal(built(inputs, updates=mask).rnn.updates.bool(), mask)


def test_a_list_of_gate_biases_is_repeated_over_the_window() -> None:
    built = architecture(window=5, gate_bias=[2, -0.5]).build()
    assert built.rnn.gate.bias.tolist() == [2.0, -0.5, 2.0, -0.5, 2.0]
    other = architecture(model="thrrnn", gate_bias=[2, -0.5]).build()
    assert other.rnn.gate.bias.tolist() == [2.0]


def test_tokens_are_embedded_by_a_frozen_table() -> None:
    built = architecture(vocabulary_size=10, embedding_size=3).build().eval()
    assert built(torch.tensor([[1, 2, 0]], dtype=torch.int32)).scores.shape == (1, 4)
    assert not built.embedding.weight.requires_grad
    with pytest.raises(ShapeError, match="own vocabulary"):
        built(torch.tensor([[1, 10]]))
    with pytest.raises(ShapeError, match="token ids"):
        built(torch.randn(1, 2, 3))


def test_wrong_inputs_are_refused_with_a_remedy() -> None:
    with pytest.raises(ShapeError, match="leading batch dimension"):
        architecture().build()(torch.randn(9, 3))


def test_dropout_acts_in_training_only() -> None:
    built = architecture(model="dense", dropout=0.5, input_dropout=0.5).build()
    inputs = torch.randn(2, 5, 3)
    assert not torch.equal(built(inputs).scores, built(inputs).scores)
    built.eval()
    assert torch.equal(built(inputs).scores, built(inputs).scores)


def test_json_gives_the_same_architecture() -> None:
    original = architecture(gate_bias=(1.0, -1.0), dropout=0.2)
    assert Architecture.from_json(original.to_json()) == original


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "transformer"}, "architecture.model must be one of"),
        ({"hidden_size": 0}, "hidden_size must be a whole number of at least 1, got 0"),
        ({"hidden_size": True}, "hidden_size"),
        ({"hidden_size": 4.0}, "hidden_size"),
        ({"window": None}, "window must be a whole number"),
        ({"dropout": 1.0}, "dropout"),
        ({"time_scale": float("nan")}, "time_scale"),
        ({"num_outputs": 1}, "at least 2"),
        ({"task": "regression"}, "1 for regression"),
        ({"gate_bias": []}, "gate_bias"),
        ({"vocabulary_size": 9, "embedding_size": 2}, "embedding_size"),
    ],
)
def test_values_outside_their_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        architecture(**changes)


def test_unknown_and_missing_keys_are_refused() -> None:
    values = architecture().to_json()
    with pytest.raises(ParamsError, match="'hidden_sise'; did you mean 'hidden_size'"):
        Architecture.from_json({**values, "hidden_sise": 3})
    del values["task"]
    with pytest.raises(ParamsError, match="lacks task"):
        Architecture.from_json(values)
    with pytest.raises(ParamsError, match="mapping"):
        Architecture.from_json([])  # type: ignore[arg-type]
