"""Streams of models that take a larger budget as their largest, by every engine and in what a bundle holds."""

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
    0: OperatingPoint(None, 0.3),
    11: OperatingPoint(1, 0.2),
    17: OperatingPoint(6, 0.1),
    42: OperatingPoint(2, 0.5),
}
SETTINGS: list[dict[str, Any]] = [{}, {"gate_inputs": ("budget",), "gate_budgets": (1, 4)}]


@pytest.mark.parametrize("engine", ["numpy", "c", "onnx"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_stream_equals_the_batch(
    lively: Any, walk: Any, assert_agrees: Any, settings: dict[str, Any], engine: str
) -> None:
    rnn = lively(skipw.SkipW, window=7, largest_budget=2, **settings)
    x = torch.randn(1, 60, 5, generator=torch.Generator().manual_seed(3))
    stream = stream_of(engine, rnn, SWITCHES[0])
    trace = walk(stream, x[0].numpy(), SWITCHES)
    assert_agrees(trace, rnn(x, at=Schedule(SWITCHES.items()), backend="reference"))
    assert stream.usage.max_in_window == 2
    stream.set_operating_point(OperatingPoint(6, 0.1))
    assert stream.operating_point == OperatingPoint(2, 0.1)  # what is in force


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_saved_models_and_bundles(tmp_path: Path, walk: Any, settings: dict[str, Any]) -> None:
    """Every engine, the loop for other programs among them."""
    torch.manual_seed(3)
    built = Architecture(
        "skipw", 4, 3, "classification", hidden_size=9, window=6, largest_budget=2, **settings
    ).build()
    torch.nn.init.normal_(built.rnn.gate.weight)
    save_model(tmp_path / "model", built.eval(), {})
    loaded, description = load_model(tmp_path / "model")
    assert description["architecture"]["largest_budget"] == 2 and loaded.rnn.largest_budget == 2
    x = torch.randn(1, 60, 4)
    expected = built(x, at=Schedule(SWITCHES.items()))
    write_bundle(
        tmp_path / "bundle", tmp_path / "model", Origin(uri="models:/toy/1", model="toy"),
        point=OperatingPoint(None, 0.3), points=POINTS, examples=[x[0].tolist()],
    )  # fmt: skip
    bundle = load_bundle(tmp_path / "bundle")
    for engine in ("auto", "numpy", "c", "onnx"):
        stream = bundle.stream_model(engine).create_stream(SWITCHES[0])
        trace = walk(stream, x[0].numpy(), SWITCHES)
        assert trace.updates.tolist() == expected.rnn.updates[0].tolist()
        np.testing.assert_allclose(stream.output(), expected.scores[0].detach().numpy(), rtol=0, atol=1e-5)
    loop = loop_in(tmp_path / "bundle").Loop(None, 0.3)
    decided = []
    for t, frame in enumerate(x[0].double().numpy()):
        if t in SWITCHES:
            loop.set_point(SWITCHES[t].budget, SWITCHES[t].threshold)
        decided.append(loop.needs_input())
        loop.process(frame) if decided[-1] else loop.skip()
    assert decided == expected.rnn.updates[0].tolist()
