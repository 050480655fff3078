"""A FastGRNN streams as the reference computes it, by every engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import skipw
from skipw import OperatingPoint, StreamModel
from skipw.runtime.onnx.stream import OnnxStreamModel
from skipw.runtime.weights import of_module
from tests.runtime.test_batch_parity import inputs
from tests.runtime.test_bundle import bundled, trained


@pytest.mark.parametrize("engine", ["numpy", "c"])
@pytest.mark.parametrize("kind", [skipw.SkipW, skipw.ThrRNN, skipw.DenseRNN])
def test_the_stream_is_the_batch(
    lively: Any, walk: Any, assert_agrees: Any, kind: Any, engine: str, tmp_path: Path
) -> None:
    rnn = lively(kind, "fastgrnn", 2, **({"window": 7} if kind is skipw.SkipW else {}))
    x = inputs()
    point = OperatingPoint(3, 0.4) if kind is skipw.SkipW else None
    model = StreamModel.from_model(rnn, engine=engine)
    trace = walk(model.create_stream(point), x[0].numpy())
    assert_agrees(trace, rnn(x, backend="reference", **({} if point is None else {"at": point})))
    assert trace.updates.any()
    assert trace.updates.all() == (kind is skipw.DenseRNN)
    model.save(tmp_path)
    assert_agrees(walk(StreamModel.load(tmp_path, engine=engine).create_stream(point), x[0].numpy()), rnn(
        x, backend="reference", **({} if point is None else {"at": point})
    ))  # fmt: skip


@pytest.mark.parametrize("kind", [skipw.SkipW, skipw.ThrRNN, skipw.DenseRNN])
def test_the_graphs_are_the_batch(lively: Any, walk: Any, assert_agrees: Any, kind: Any) -> None:
    pytest.importorskip("onnxruntime", reason="the extra `edge` is not installed")
    rnn = lively(kind, "fastgrnn", 2, **({"window": 7} if kind is skipw.SkipW else {}))
    x = inputs()
    point = OperatingPoint(3, 0.4) if kind is skipw.SkipW else None
    trace = walk(OnnxStreamModel.from_weights(of_module(rnn)).create_stream(point), x[0].numpy())
    assert_agrees(trace, rnn(x, backend="reference", **({} if point is None else {"at": point})))


def test_a_bundle_holds_code_and_graphs(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra `edge` is not installed")
    own = bundled(tmp_path / "bundle", trained(tmp_path / "model", cell="fastgrnn", num_layers=2))
    assert (own.folder / "c" / "model.c").exists()
    for engine in ("numpy", "c", "onnx"):
        assert own.check(engine).passed
