"""Streams of gates that see more than state and time, by every engine."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import skipw
from skipw import OperatingPoint, Schedule
from skipw.gate_inputs import GATE_INPUTS
from skipw.models.saved import load_model, save_model
from skipw.models.task import Architecture
from skipw.runtime.bundle import Origin, load_bundle, write_bundle
from skipw.runtime.onnx.stream import OnnxStreamModel
from skipw.runtime.stream import StreamModel
from skipw.runtime.weights import of_module

COMBINATIONS = [seen for count in (1, 2, 4) for seen in itertools.combinations(GATE_INPUTS, count)]
POINTS = "dataset,experiment,model,budget,threshold,split,metric,value,inputs_processed,alias,pareto\n"


def stream_of(engine: str, rnn: Any, point: OperatingPoint) -> Any:
    if engine == "onnx":
        pytest.importorskip("onnxruntime", reason="the extra `edge` is not installed")
        return OnnxStreamModel.from_weights(of_module(rnn)).create_stream(point)
    return StreamModel.from_model(rnn, engine="c" if engine == "c" else "numpy").create_stream(point)


def loop_in(bundle: Path) -> Any:
    """The program of a bundle that needs nothing of this package."""
    spec = importlib.util.spec_from_file_location("loop", bundle / "onnx" / "run.py")
    assert spec is not None and spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return program


@pytest.mark.parametrize("engine", ["numpy", "float64", "c", "onnx"])
@pytest.mark.parametrize(("cell", "layers"), [("gru", 2), ("lstm", 1)])
@pytest.mark.parametrize("seen", COMBINATIONS, ids="+".join)
def test_the_stream_equals_the_batch(
    lively: Any, walk: Any, assert_agrees: Any, cell: str, layers: int, seen: tuple[str, ...], engine: str
) -> None:
    """With switches within windows and at the first input of one, and once more after a reset."""
    rnn = lively(skipw.SkipW, cell, layers, window=7, gate_inputs=seen, time_scale=10.0)
    x = torch.randn(1, 60, 5, generator=torch.Generator().manual_seed(3))
    if engine == "float64":
        rnn, x = rnn.double(), x.double()
    switches = {
        0: OperatingPoint(3, 0.4),
        11: OperatingPoint(5, 0.2),
        28: OperatingPoint(1, 0.6),
        42: OperatingPoint(6, 0.1),
    }
    stream = stream_of(engine, rnn, switches[0])
    expected = rnn(x, at=Schedule(switches.items()), backend="reference")
    for _ in range(2):
        trace = walk(stream, x[0].numpy(), switches)
        assert_agrees(trace, expected)
        stream.set_operating_point(switches[0])
        stream.reset()
    assert 0 < trace.updates.sum() < 60


def test_a_window_wider_than_the_products(lively: Any, walk: Any, assert_agrees: Any) -> None:
    """What the gate makes of its further inputs is written where L values have to fit: 40 here, and 27 gates."""
    rnn = lively(skipw.SkipW, window=40, gate_inputs=GATE_INPUTS, time_scale=10.0)
    x = torch.randn(1, 200, 5, generator=torch.Generator().manual_seed(3))
    point = OperatingPoint(20, 0.3)
    trace = walk(stream_of("c", rnn, point), x[0].numpy())
    assert_agrees(trace, rnn(x, at=point, backend="reference"))
    assert 0 < trace.updates.sum() < 200


@pytest.mark.parametrize("engine", ["numpy", "c", "onnx"])
def test_an_input_that_is_refused_is_not_the_last_one(lively: Any, walk: Any, engine: str) -> None:
    rnn = lively(skipw.SkipW, window=3, gate_inputs=("input",))
    frames = torch.randn(20, 5, generator=torch.Generator().manual_seed(3)).numpy()
    one, other = (stream_of(engine, rnn, OperatingPoint(2, 0.0)) for _ in range(2))
    refused = 0
    for frame in frames:
        if one.needs_input:
            with pytest.raises(ValueError):
                one.process(np.array([*frame[:-1] + 1, np.nan]))
            refused += 1
        trace = [walk(stream, [frame]) for stream in (one, other)]
        np.testing.assert_array_equal(trace[0].updates, trace[1].updates)
        np.testing.assert_array_equal(trace[0].outputs, trace[1].outputs)
    assert refused > 5


def test_saved_models_and_bundles(tmp_path: Path, walk: Any) -> None:
    torch.manual_seed(3)
    built = Architecture(
        "skipw", 4, 3, "classification", hidden_size=9, window=6, gate_inputs=["input", "since_update"]
    ).build()
    torch.nn.init.normal_(built.rnn.gate.weight)
    save_model(tmp_path / "model", built.eval(), {})
    loaded, description = load_model(tmp_path / "model")
    assert description["architecture"]["gate_inputs"] == ["since_update", "input"]
    assert loaded.rnn.gate_inputs == ("since_update", "input")
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


def test_the_loop_for_other_programs_switches_at_any_input(tmp_path: Path) -> None:
    """At the first input of a window, too, where the gate sees the window before and the budget."""
    pytest.importorskip("onnxruntime", reason="the extra `edge` is not installed")
    torch.manual_seed(3)
    built = Architecture(
        "skipw", 4, 3, "classification", hidden_size=9, window=6, gate_inputs=list(GATE_INPUTS)
    ).build()
    torch.nn.init.normal_(built.rnn.gate.weight)
    save_model(tmp_path / "model", built.eval(), {})
    write_bundle(
        tmp_path / "bundle", tmp_path / "model", Origin(uri="models:/toy/1", model="toy"),
        point=OperatingPoint(3, 0.3), points=POINTS, examples=[torch.randn(40, 4).tolist()],
    )  # fmt: skip
    program = loop_in(tmp_path / "bundle")
    x = torch.randn(1, 60, 4)
    switches = {0: (3, 0.3), 6: (1, 0.3), 13: (5, 0.1), 24: (2, 0.4), 48: (None, 0.4)}
    at = Schedule([(start, OperatingPoint(*point)) for start, point in switches.items()])
    expected = built(x, at=at)
    loop = program.Loop(*switches[0])
    decided = []
    for t, frame in enumerate(x[0].double().numpy()):
        if t in switches:
            loop.set_point(*switches[t])
        decided.append(loop.needs_input())
        loop.process(frame) if decided[-1] else loop.skip()
    assert decided == expected.rnn.updates[0].tolist()
    np.testing.assert_allclose(loop.memory["scores"], expected.scores[0].detach().numpy(), rtol=0, atol=1e-5)


def test_a_model_without_them_is_written_as_before() -> None:
    plain = Architecture("skipw", 4, 3, "classification", window=6)
    assert "gate_inputs" not in plain.to_json()
    assert Architecture.from_json(plain.to_json()) == plain
