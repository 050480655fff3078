"""Streams of gates that see more than state and time: numpy serves them, all else says why not."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import skipw
from skipw import OperatingPoint, Schedule
from skipw.errors import BackendUnavailableError
from skipw.gate_inputs import GATE_INPUTS
from skipw.models.saved import load_model, save_model
from skipw.models.task import Architecture
from skipw.runtime.bundle import Origin, load_bundle, write_bundle
from skipw.runtime.c.source import write_c
from skipw.runtime.onnx.graphs import write_graphs
from skipw.runtime.stream import StreamModel
from skipw.runtime.weights import of_module

COMBINATIONS = [seen for count in (1, 2, 3) for seen in itertools.combinations(GATE_INPUTS, count)]
POINTS = "dataset,experiment,model,budget,threshold,split,metric,value,inputs_processed,alias,pareto\n"


@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize(("cell", "layers"), [("gru", 2), ("lstm", 1)])
@pytest.mark.parametrize("seen", COMBINATIONS, ids="+".join)
def test_the_stream_equals_the_batch(
    lively: Any, walk: Any, assert_agrees: Any, cell: str, layers: int, seen: tuple[str, ...], double: bool
) -> None:
    """With switches within windows, and once more after a reset."""
    rnn = lively(skipw.SkipW, cell, layers, window=7, gate_inputs=seen, time_scale=10.0)
    x = torch.randn(1, 60, 5, generator=torch.Generator().manual_seed(3))
    if double:
        rnn, x = rnn.double(), x.double()
    switches = {0: OperatingPoint(3, 0.4), 11: OperatingPoint(5, 0.2), 30: OperatingPoint(1, 0.6)}
    stream = StreamModel.from_model(rnn).create_stream(switches[0])
    expected = rnn(x, at=Schedule(switches.items()), backend="reference")
    for _ in range(2):
        trace = walk(stream, x[0].numpy(), switches)
        assert_agrees(trace, expected)
        stream.set_operating_point(switches[0])
        stream.reset()
    assert 0 < trace.updates.sum() < 60


def test_c_and_onnx_say_why_they_do_not_serve(lively: Any, tmp_path: Path, caplog: Any) -> None:
    rnn = lively(skipw.SkipW, window=7, gate_inputs=("importance", "input"))
    with caplog.at_level("INFO", logger="skipw"):
        assert StreamModel.from_model(rnn).engine == "numpy"
    assert "importance, input (gate_inputs)" in caplog.text
    with pytest.raises(BackendUnavailableError, match="gate_inputs"):
        StreamModel.from_model(rnn, engine="c")
    for write in (write_c, write_graphs):
        with pytest.raises(BackendUnavailableError, match=r"importance, input \(gate_inputs\)"):
            write(of_module(rnn), tmp_path)
    assert not list(tmp_path.iterdir())


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
    assert not (bundle.folder / "c").exists() and not (bundle.folder / "onnx").exists()
    assert "ONNX" not in (bundle.folder / "README.md").read_text(encoding="utf-8")
    stream = bundle.create_stream()
    walk(stream, x[0].numpy())
    np.testing.assert_allclose(stream.output(), scores[0].numpy(), rtol=0, atol=1e-5)
    with pytest.raises(BackendUnavailableError, match="gate_inputs"):
        bundle.stream_model("onnx")


def test_a_model_without_them_is_written_as_before() -> None:
    plain = Architecture("skipw", 4, 3, "classification", window=6)
    assert "gate_inputs" not in plain.to_json()
    assert Architecture.from_json(plain.to_json()) == plain
