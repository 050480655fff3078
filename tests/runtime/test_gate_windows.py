"""Streams of models whose windows have biases of their own, by every engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import skipw
from skipw import OperatingPoint, Schedule
from skipw.models.saved import load_model, save_model
from skipw.models.task import Architecture
from skipw.runtime.bundle import Origin, load_bundle, write_bundle
from skipw.runtime.c.packing import pack
from skipw.runtime.c.quantisation import rounded_weights
from skipw.runtime.c.source import memory_bytes
from skipw.runtime.weights import of_module
from tests.runtime.test_gate_inputs import POINTS, stream_of

SWITCHES = {
    0: OperatingPoint(3, 0.4),
    11: OperatingPoint(5, 0.2),
    28: OperatingPoint(1, 0.6),
    42: OperatingPoint(6, 0.1),
}


@pytest.mark.parametrize("engine", ["numpy", "float64", "c", "onnx"])
@pytest.mark.parametrize("seen", [(), ("importance", "input"), ("since_update", "budget")], ids="+".join)
@pytest.mark.parametrize(
    ("cell", "windows", "budgets"), [("gru", 3, ()), ("lstm", 20, (2, 4)), ("fastgrnn", 1, ())]
)
def test_the_stream_equals_the_batch(
    lively: Any, walk: Any, assert_agrees: Any, cell: str, windows: int, budgets: Any, seen: Any, engine: str
) -> None:
    """With switches within windows and at the first input of one, and once more after a reset."""
    rnn = lively(
        skipw.SkipW,
        cell,
        1,
        window=7,
        gate_windows=windows,
        gate_inputs=seen,
        gate_budgets=budgets,
        time_scale=10.0,
    )
    x = torch.randn(1, 60, 5, generator=torch.Generator().manual_seed(3))
    if engine == "float64":
        rnn, x = rnn.double(), x.double()
    stream = stream_of(engine, rnn, SWITCHES[0])
    expected = rnn(x, at=Schedule(SWITCHES.items()), backend="reference")
    for _ in range(2):
        trace = walk(stream, x[0].numpy(), SWITCHES)
        assert_agrees(trace, expected)
        stream.set_operating_point(SWITCHES[0])
        stream.reset()
    assert 0 < trace.updates.sum() < 60


def test_a_window_wider_than_the_products(lively: Any, walk: Any, assert_agrees: Any) -> None:
    """A window's biases are added up where L values have to fit: 40 here, and 27 values of the cells' gates."""
    rnn = lively(skipw.SkipW, window=40, gate_windows=3, time_scale=10.0)
    x = torch.randn(1, 200, 5, generator=torch.Generator().manual_seed(3))
    point = OperatingPoint(20, 0.3)
    trace = walk(stream_of("c", rnn, point), x[0].numpy())
    assert_agrees(trace, rnn(x, at=point, backend="reference"))
    assert 0 < trace.updates.sum() < 200
    without = skipw.SkipW("gru", 5, rnn.hidden_size, window=40)
    assert memory_bytes(pack(of_module(rnn))) > memory_bytes(pack(of_module(without)))


def test_they_are_biases_and_stay_floats(lively: Any) -> None:
    weights = of_module(lively(skipw.SkipW, window=7, gate_windows=3, gate_inputs=("importance",)))
    before, after = (w.arrays["rnn.gate.weight"] for w in (weights, rounded_weights(weights)))
    np.testing.assert_array_equal(after[:, -3:], before[:, -3:])
    assert (after[:, -10:-3] != before[:, -10:-3]).any()


def test_saved_models_and_bundles(tmp_path: Path, walk: Any) -> None:
    torch.manual_seed(3)
    built = Architecture("skipw", 4, 3, "classification", hidden_size=9, window=6, gate_windows=5).build()
    torch.nn.init.normal_(built.rnn.gate.weight)
    save_model(tmp_path / "model", built.eval(), {})
    loaded, description = load_model(tmp_path / "model")
    assert description["architecture"]["gate_windows"] == 5 and loaded.rnn.gate_windows == 5
    x = torch.randn(1, 40, 4)
    point = OperatingPoint(3, 0.3)
    scores = built(x, at=point).scores.detach()
    assert torch.equal(loaded(x, at=point).scores, scores)
    origin = Origin(uri="models:/toy/1", model="toy")
    write_bundle(
        tmp_path / "bundle", tmp_path / "model", origin, point=point, points=POINTS, examples=[x[0].tolist()]
    )
    bundle = load_bundle(tmp_path / "bundle")
    for engine in ("auto", "numpy", "c", "onnx"):
        stream = bundle.stream_model(engine).create_stream(point)
        walk(stream, x[0].numpy())
        np.testing.assert_allclose(stream.output(), scores[0].numpy(), rtol=0, atol=1e-5)


def test_a_model_without_them_is_written_as_before() -> None:
    plain = Architecture("skipw", 4, 3, "classification", window=6)
    assert "gate_windows" not in plain.to_json()
    assert Architecture.from_json(plain.to_json()) == plain
    assert Architecture("dense", 4, 3, "classification", gate_windows=4).gate_windows == 0
