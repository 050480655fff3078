"""ONNX step graphs and their loop: what a stream processes and answers, like the reference and skipw.Stream."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import skipw
from skipw import OperatingPoint, Schedule, StreamModel
from skipw.data.normaliser import Normaliser
from skipw.errors import BudgetError, ShapeError, StreamOrderError
from skipw.models.task import Architecture
from skipw.runtime.onnx.graphs import build_graphs
from skipw.runtime.onnx.stream import OnnxStream, OnnxStreamModel
from skipw.runtime.weights import of_module
from tests.runtime.test_batch_parity import Replay, inputs
from tests.runtime.test_bound import SELECTORS, walks

pytest.importorskip("onnx", reason="the extra `edge` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `edge` is not installed")


def onnx_of(
    module: Any,
    point: OperatingPoint | None = None,
    description: Mapping[str, Any] | None = None,
    **options: Any,
) -> OnnxStream:
    return OnnxStreamModel.from_weights(of_module(module, description)).create_stream(point, **options)


@pytest.mark.parametrize("time_feature", ["steps", "window", "since_update", "none"])
@pytest.mark.parametrize(("cell", "layers"), [("gru", 1), ("gru", 2), ("lstm", 1), ("lstm", 3)])
def test_skipw_with_switches(
    lively: Any, walk: Any, assert_agrees: Any, cell: str, layers: int, time_feature: str
) -> None:
    rnn = lively(skipw.SkipW, cell, layers, window=7, time_feature=time_feature, time_scale=10.0)
    x = inputs()
    switches = {0: OperatingPoint(3, 0.4), 10: OperatingPoint(5, 0.1), 23: OperatingPoint(1, 0.5)}
    trace = walk(onnx_of(rnn, switches[0]), x[0].numpy(), switches)
    assert_agrees(trace, rnn(x, at=Schedule(switches.items()), backend="reference"))
    assert 0 < trace.updates.sum() < len(trace.updates)


@pytest.mark.parametrize("kind", [skipw.ThrRNN, skipw.SkipRNN, skipw.DenseRNN])
@pytest.mark.parametrize(("cell", "layers"), [("gru", 2), ("lstm", 1)])
def test_models_without_a_window(
    lively: Any, walk: Any, assert_agrees: Any, kind: Any, cell: str, layers: int
) -> None:
    rnn, x = lively(kind, cell, layers, initial_state="zeros"), inputs()
    stream = onnx_of(rnn)
    assert_agrees(walk(stream, x[0].numpy()), rnn(x, backend="reference"))
    assert stream.plan == ()
    assert stream.usage.max_in_window is None


def test_thrrnn_switches(lively: Any, walk: Any, assert_agrees: Any) -> None:
    rnn, x = lively(skipw.ThrRNN, seed=1), inputs(5)
    switches = {0: OperatingPoint(threshold=0.9), 13: OperatingPoint(threshold=0.2), 30: OperatingPoint()}
    trace = walk(onnx_of(rnn, switches[0]), x[0].numpy(), switches)
    assert_agrees(trace, rnn(x, at=Schedule(switches.items()), backend="reference"))


@pytest.mark.parametrize("select", SELECTORS)
def test_every_selector_with_switches(lively: Any, walk: Any, assert_agrees: Any, select: str) -> None:
    rnn, x = lively(skipw.SkipW, window=6, select=select), inputs(3)
    switches = {0: OperatingPoint(2, 0.3), 9: OperatingPoint(5, 0.1), 22: OperatingPoint(1, 0.6)}
    trace = walk(onnx_of(rnn, switches[0], seed=Replay(5)), x[0].numpy(), switches)
    generator = torch.Generator().manual_seed(5)
    assert_agrees(trace, rnn(x, at=Schedule(switches.items()), backend="reference", generator=generator))
    assert trace.updates.any()


POINTS = (OperatingPoint(1, 0.45), OperatingPoint(3, 0.0), OperatingPoint(None, 0.4), OperatingPoint(0))


@pytest.mark.parametrize("select", ["topk", "first"])
@pytest.mark.parametrize("start", range(14, 22))
def test_a_switch_at_every_offset(
    lively: Any, walk: Any, assert_agrees: Any, start: int, select: str
) -> None:
    """Also to a point and back before one input, which leaves the plan as it was."""
    rnn, x = lively(skipw.SkipW, window=7, select=select), inputs(4, 30)
    model = OnnxStreamModel.from_weights(of_module(rnn))
    for before in POINTS:
        for after in POINTS:
            trace = walk(model.create_stream(before), x[0].numpy(), {start: after})
            assert_agrees(trace, rnn(x, at=Schedule([(0, before), (start, after)]), backend="reference"))
        stream, plain = model.create_stream(before), model.create_stream(before)
        for one in (stream, plain):
            walk(one, x[0, :start].numpy())
        stream.set_operating_point(OperatingPoint(7, 0.0))
        stream.set_operating_point(before)
        assert stream.plan == plain.plan
        np.testing.assert_array_equal(
            walk(stream, x[0, start:].numpy()).updates, walk(plain, x[0, start:].numpy()).updates
        )


@pytest.mark.parametrize("select", ["topk", "first", "last", "first_above"])
@pytest.mark.parametrize("bias", [0.0, 30.0, -200.0])
def test_ties_go_to_the_earliest(
    lively: Any, walk: Any, assert_agrees: Any, bias: float, select: str
) -> None:
    rnn, x, point = lively(skipw.SkipW, window=7, select=select), inputs(7, 28), OperatingPoint(3, 0.0)
    with torch.no_grad():
        rnn.gate.weight.mul_(0.0 if bias == 0 else 0.1)
        rnn.gate.bias.fill_(bias)
    stream = onnx_of(rnn, point)
    assert stream.plan == ((4, 5, 6) if select == "last" else (0, 1, 2))
    assert_agrees(walk(stream, x[0].numpy()), rnn(x, at=point, backend="reference"))


def test_nearly_closed_gates_are_still_told_apart(lively: Any, walk: Any, assert_agrees: Any) -> None:
    """Logits from -60 to -20, where a sigmoid that is flat there would see ties."""
    rnn, x, point = lively(skipw.SkipW, window=7), inputs(7, 28), OperatingPoint(2, 0.0)
    with torch.no_grad():
        rnn.gate.bias.copy_(torch.tensor([-60.0, -40.0, -20.0, -55.0, -25.0, -35.0, -50.0]))
    stream = onnx_of(rnn, point)
    assert stream.plan == (2, 4)
    assert_agrees(walk(stream, x[0].numpy()), rnn(x, at=point, backend="reference"))


def test_nan_importance_ranks_last_and_is_never_processed(lively: Any, walk: Any, assert_agrees: Any) -> None:
    rnn, x, point = lively(skipw.SkipW, window=7), inputs(8, 28), OperatingPoint(6, 0.0)
    with torch.no_grad():
        rnn.gate.bias[[0, 3]] = torch.nan
    stream = onnx_of(rnn, point)
    assert stream.plan == (1, 2, 4, 5, 6)
    assert_agrees(walk(stream, x[0].numpy()), rnn(x, at=point, backend="reference"))
    with torch.no_grad():
        rnn.gate.weight.fill_(torch.nan)
    assert not walk(onnx_of(rnn, OperatingPoint(7, 0.0)), x[0].numpy()).updates.any()


@given(walks(), st.integers(0, 2**31 - 1))
@settings(max_examples=40, deadline=None)
def test_never_more_than_the_budget(walk: Any, seed: int) -> None:
    """Whatever the weights, the thresholds and the switches; and the same inputs as skipw.Stream."""
    window, options, biases, switches = walk
    torch.manual_seed(seed % 17)
    rnn = skipw.SkipW("gru", 2, 3, window=window, **options)
    with torch.no_grad():
        rnn.gate.weight.mul_(0.01)
        rnn.gate.bias.copy_(torch.tensor(biases))
    stream = onnx_of(rnn, switches[0][1], seed=seed)
    plain = StreamModel.from_model(rnn).create_stream(switches[0][1], seed=seed)
    largest, used = 0, 0
    for t in range(5 * window):
        points = [point for start, point in switches if start == t]
        for point in points:
            stream.set_operating_point(point)
            plain.set_operating_point(point)
        if t % window == 0:
            largest, used = stream.operating_point.budget_in(window), 0
        largest = max([largest, *(point.budget_in(window) for point in points[-1:])])
        assert stream.plan == plain.plan
        used += stream.needs_input
        for one in (stream, plain):
            one.process([0.3, -0.2]) if one.needs_input else one.skip()
        assert used <= largest
    assert stream.usage == plain.usage


RAW = [
    (Normaliser("pose", 6, clip=3.0, missing=0.0), 100.0, 400.0),
    (Normaliser("pose", 6), 50.0, 1e6),
    (Normaliser("standard", 6, mean=(1e6,) * 6, scale=(2.0,) * 6, clip=1.0, missing=-1.0), 2.0, 1e6),
    (Normaliser("scale", 6, mean=(0.0,) * 6, scale=(255.0,) * 6), 90.0, 100.0),
    (Normaliser("none", 6, clip=0.1), 1.0, 0.0),
]


@pytest.mark.parametrize(("normaliser", "spread", "centre"), RAW, ids=lambda one: getattr(one, "kind", None))
def test_the_graph_normalises_raw_inputs(
    walk: Any, normaliser: Normaliser, spread: float, centre: float
) -> None:
    """In double precision, with joints that are missing and poses without a size."""
    torch.manual_seed(1)
    model = Architecture(
        "skipw", 6, 3, "classification", hidden_size=8, window=4, head_hidden=5, gate_bias=0.2
    ).build()
    rng = np.random.default_rng(0)
    x = centre + spread * rng.normal(size=(24, 6))
    x[2:5, 2:4] = normaliser.missing or 0.0
    x[6] = normaliser.missing or 0.0
    x[7] = np.tile(x[7, :2], 3)
    description = {"normaliser": normaliser.to_json()}
    point = OperatingPoint(4, 0.0)
    trace = walk(onnx_of(model.eval(), point, description), x)
    expected = walk(StreamModel.from_model(model, description).create_stream(point), x)
    np.testing.assert_array_equal(trace.updates, expected.updates)
    np.testing.assert_allclose(trace.outputs, expected.outputs, rtol=0, atol=1e-5)


def test_words_and_a_head(walk: Any) -> None:
    torch.manual_seed(2)
    model = Architecture(
        "thrrnn", 4, 2, "classification", "lstm", hidden_size=6, vocabulary_size=5, embedding_size=4
    ).build()
    description = {"vocabulary": ["<pad>", "<unk>", "good", "bad", "film"]}
    words = ["good", "film", 3, "xyzzy", "bad", "film"]
    trace = walk(onnx_of(model.eval(), None, description), words)
    expected = walk(StreamModel.from_model(model, description).create_stream(), words)
    np.testing.assert_array_equal(trace.updates, expected.updates)
    np.testing.assert_allclose(trace.outputs, expected.outputs, rtol=0, atol=1e-5)


def test_errors_are_those_of_a_stream_and_change_nothing(lively: Any) -> None:
    stream = onnx_of(lively(skipw.SkipW, window=7), OperatingPoint(7, 0.0))
    before, plan = stream.output(), stream.plan
    for bad in ([1.0, 2.0], [np.nan] * 5, "word", [[0.0] * 5]):
        with pytest.raises(ShapeError):
            stream.process(bad)
    with pytest.raises(StreamOrderError, match=r"input 0 \(offset 0 of its window\) is to be processed"):
        stream.skip()
    with pytest.raises(BudgetError, match="window of 7"):
        stream.set_operating_point(OperatingPoint(8))
    assert (stream.plan, stream.usage.inputs, stream.operating_point) == (plan, 0, OperatingPoint(7, 0.0))
    np.testing.assert_array_equal(stream.output(), before)
    stream.set_operating_point(OperatingPoint(0))
    with pytest.raises(StreamOrderError, match="is to be skipped"):
        stream.process([0.0] * 5)
    for kind, point in ((skipw.ThrRNN, OperatingPoint(3)), (skipw.SkipRNN, OperatingPoint(threshold=0.4)),
                        (skipw.DenseRNN, OperatingPoint())):  # fmt: skip
        with pytest.raises(BudgetError):
            onnx_of(lively(kind), point)


def test_reset_begins_anew(lively: Any, walk: Any) -> None:
    x = inputs(1)[0].numpy()
    for kind, settings_ in ((skipw.SkipW, {"window": 5}), (skipw.ThrRNN, {}), (skipw.DenseRNN, {})):
        stream = onnx_of(lively(kind, **settings_))
        first = walk(stream, x)
        stream.reset()
        assert stream.usage.inputs == 0
        again = walk(stream, x)
        np.testing.assert_array_equal(first.updates, again.updates)
        np.testing.assert_array_equal(first.outputs, again.outputs)


def test_graphs_name_their_inputs_and_never_take_the_same_bytes_twice(lively: Any) -> None:
    import onnx

    weights = of_module(lively(skipw.SkipW, window=7))
    graphs = build_graphs(weights)
    assert graphs == build_graphs(weights)
    assert sorted(graphs) == ["gate", "process", "start"]
    gate = onnx.load_from_string(graphs["gate"]).graph
    assert [one.name for one in gate.input] == ["h_0", "step", "used", "importance", "budget", "threshold"]
    assert [one.name for one in gate.output] == ["next_importance", "next_used", "next_due"]


def test_streaming_imports_neither_torch_nor_onnx() -> None:
    code = (
        "import sys, skipw.runtime.onnx.stream; "
        "print(*({'torch', 'onnx', 'pandas', 'mlflow', 'lightning'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
