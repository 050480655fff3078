"""Streams with the bound over any L consecutive inputs: it holds through switches, and stream = batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings

import skipw
from skipw import OperatingPoint, Schedule, StreamModel
from skipw.errors import BackendUnavailableError, ParamsError, ShapeError
from skipw.runtime.onnx.stream import OnnxStreamModel
from skipw.runtime.weights import of_module
from tests.runtime.test_batch_parity import Replay, inputs
from tests.runtime.test_bound import walks
from tests.runtime.test_bundle import bundled, trained


@pytest.mark.parametrize("engine", ["auto", "numpy"])
@given(walk=walks())
@settings(max_examples=80, deadline=None)
def test_never_more_than_the_budget_in_any_l_inputs(engine: str, walk: Any) -> None:
    """At a processed input, the last L hold at most the K in force."""
    window, options, biases, switches = walk
    torch.manual_seed(len(switches))
    rnn = skipw.SkipW("gru", 2, 3, window=window, bound="any", **options)
    with torch.no_grad():
        rnn.gate.bias.copy_(torch.tensor(biases))
    stream = StreamModel.from_model(rnn, engine=engine).create_stream(switches[0][1], seed=1)
    rng, updates = np.random.default_rng(0), []
    for t in range(5 * window):
        for _, point in [pair for pair in switches if pair[0] == t]:
            stream.set_operating_point(point)
        updates.append(stream.needs_input)
        if stream.needs_input:
            point = stream.operating_point
            assert point is not None
            assert sum(updates[-window:]) <= point.budget_in(window)
            stream.process(rng.normal(size=2))
        else:
            stream.skip()
        most = max(sum(updates[max(0, end - window) : end]) for end in range(1, t + 2))
        assert stream.usage.max_in_window == most  # of any L inputs, not of aligned windows alone


@pytest.mark.parametrize("select", ["topk", "sample", "random", "first", "last", "first_above"])
@pytest.mark.parametrize("wanted", ["auto", "numpy"])
def test_the_stream_is_the_batch_through_switches(
    lively: Any, walk: Any, assert_agrees: Any, wanted: str, select: str
) -> None:
    rnn, x = lively(skipw.SkipW, window=6, select=select, bound="any"), inputs(3)
    switches = {0: OperatingPoint(3, 0.2), 9: OperatingPoint(5, 0.1), 22: OperatingPoint(2, 0.3)}
    model = StreamModel.from_model(rnn, engine=wanted)
    assert model.engine == ("numpy" if wanted == "numpy" or select in ("sample", "random") else "c")
    stream = model.create_stream(switches[0], seed=Replay(5))
    trace = walk(stream, x[0].numpy(), switches)
    generator = torch.Generator().manual_seed(5)
    batch = rnn(x, at=Schedule(switches.items()), backend="reference", generator=generator)
    assert_agrees(trace, batch)
    if select in ("topk", "sample", "random"):  # the others take the same slots of every window
        rnn.bound = "aligned"
        generator = torch.Generator().manual_seed(5)
        aligned = rnn(x, at=Schedule(switches.items()), backend="reference", generator=generator)
        assert (aligned.updates != batch.updates).any(), "the bound never bound"


def test_a_model_in_memory_changes_its_bound(lively: Any, walk: Any, tmp_path: Path) -> None:
    rnn, x = lively(skipw.SkipW, window=6), inputs(3)[0].numpy()
    model = StreamModel.from_model(rnn)
    anywhere = model.with_bound("any")
    rnn.bound = "any"
    point = OperatingPoint(2, 0.2)
    expected = walk(StreamModel.from_model(rnn).create_stream(point), x).updates
    assert (expected != walk(model.create_stream(point), x).updates).any()
    np.testing.assert_array_equal(expected, walk(anywhere.create_stream(point), x).updates)
    anywhere.save(tmp_path)
    loaded = StreamModel.load(tmp_path)
    assert loaded.architecture.bound == "any"
    np.testing.assert_array_equal(expected, walk(loaded.create_stream(point), x).updates)
    with pytest.raises(ParamsError, match="bound must be one of"):
        model.with_bound("some")
    with pytest.raises(ShapeError, match="only skipw has a bound"):
        StreamModel.from_model(lively(skipw.ThrRNN)).with_bound("any")


def test_graphs_refuse(lively: Any) -> None:
    rnn = lively(skipw.SkipW, window=6, bound="any")
    with pytest.raises(BackendUnavailableError, match="ONNX graphs cannot serve this model: they"):
        OnnxStreamModel.from_weights(of_module(rnn))


def test_a_bundle_holds_what_can_serve(tmp_path: Path) -> None:
    own = bundled(tmp_path / "bundle", trained(tmp_path / "model", bound="any"))
    assert not own.has_graphs
    assert (own.folder / "c" / "model.c").exists()
    assert own.check().passed and own.check("c").passed
    page = (own.folder / "README.md").read_text()
    assert "ONNX" not in page
    assert "of any 6 consecutive inputs" in page
    with pytest.raises(BackendUnavailableError, match="ONNX graphs cannot serve"):
        own.check("onnx")
