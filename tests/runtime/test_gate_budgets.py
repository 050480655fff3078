"""Streams of models whose small budgets have gates of their own, by every engine."""

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
from tests.runtime.test_gate_inputs import POINTS, loop_in, stream_of

SWITCHES = {
    0: OperatingPoint(3, 0.4),
    11: OperatingPoint(5, 0.2),
    28: OperatingPoint(1, 0.6),
    32: OperatingPoint(2, 0.2),
    42: OperatingPoint(6, 0.1),
}


@pytest.mark.parametrize("engine", ["numpy", "float64", "c", "onnx"])
@pytest.mark.parametrize(("cell", "layers"), [("gru", 2), ("lstm", 1), ("fastgrnn", 1)])
@pytest.mark.parametrize("seen", [(), ("importance",), ("since_update", "budget")], ids="+".join)
def test_the_stream_equals_the_batch(
    lively: Any, walk: Any, assert_agrees: Any, cell: str, layers: int, seen: tuple[str, ...], engine: str
) -> None:
    """With switches within windows and at the first input of one, and once more after a reset."""
    rnn = lively(
        skipw.SkipW, cell, layers, window=7, gate_inputs=seen, gate_budgets=(1, 2, 4), time_scale=10.0
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


@pytest.mark.parametrize("engine", ["numpy", "c", "onnx"])
def test_of_several_switches_before_a_window_the_last_one_counts(lively: Any, walk: Any, engine: str) -> None:
    rnn = lively(skipw.SkipW, window=4, gate_budgets=(1, 2), gate_inputs=("importance",))
    frames = torch.randn(24, 5, generator=torch.Generator().manual_seed(3)).numpy()
    one, other = (stream_of(engine, rnn, OperatingPoint(2, 0.2)) for _ in range(2))
    for start in range(0, 24, 4):
        for budget in (1, 4, 2):
            other.set_operating_point(OperatingPoint(budget, 0.2))
        traces = [walk(stream, frames[start : start + 4]) for stream in (one, other)]
        np.testing.assert_array_equal(traces[0].updates, traces[1].updates)
        np.testing.assert_array_equal(traces[0].outputs, traces[1].outputs)


def test_saved_models_and_bundles(tmp_path: Path, walk: Any) -> None:
    """Every engine, the loop for other programs among them."""
    torch.manual_seed(3)
    built = Architecture(
        "skipw", 4, 3, "classification", hidden_size=9, window=6, gate_budgets=[1, 3]
    ).build()
    torch.nn.init.normal_(built.rnn.gate.weight)
    save_model(tmp_path / "model", built.eval(), {})
    loaded, description = load_model(tmp_path / "model")
    assert description["architecture"]["gate_budgets"] == [1, 3] and loaded.rnn.gate_budgets == (1, 3)
    x = torch.randn(1, 60, 4)
    at = Schedule(SWITCHES.items())
    expected = built(x, at=at)
    assert torch.equal(loaded(x, at=at).scores, expected.scores)
    write_bundle(
        tmp_path / "bundle", tmp_path / "model", Origin(uri="models:/toy/1", model="toy"),
        point=OperatingPoint(3, 0.3), points=POINTS, examples=[x[0].tolist()],
    )  # fmt: skip
    bundle = load_bundle(tmp_path / "bundle")
    for engine in ("auto", "numpy", "c", "onnx"):
        stream = bundle.stream_model(engine).create_stream(SWITCHES[0])
        trace = walk(stream, x[0].numpy(), SWITCHES)
        assert trace.updates.tolist() == expected.rnn.updates[0].tolist()
        np.testing.assert_allclose(stream.output(), expected.scores[0].detach().numpy(), rtol=0, atol=1e-5)
    loop = loop_in(tmp_path / "bundle").Loop(3, 0.4)
    decided = []
    for t, frame in enumerate(x[0].double().numpy()):
        if t in SWITCHES:
            loop.set_point(SWITCHES[t].budget, SWITCHES[t].threshold)
        decided.append(loop.needs_input())
        loop.process(frame) if decided[-1] else loop.skip()
    assert decided == expected.rnn.updates[0].tolist()


def test_a_model_without_them_is_written_as_before() -> None:
    plain = Architecture("skipw", 4, 3, "classification", window=6)
    assert "gate_budgets" not in plain.to_json()
    several = Architecture("skipw", 4, 3, "classification", window=6, gate_budgets=(2,))
    assert Architecture.from_json(several.to_json()) == several
    with pytest.raises(skipw.ParamsError, match="architecture.gate_budgets must be"):
        Architecture("skipw", 4, 3, "classification", window=6, gate_budgets=(6,))
