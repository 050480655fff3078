"""Verbs, plan, usage, reset, refusals, memory and cost of a stream."""

from __future__ import annotations

import copy
import pickle
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import skipw
from skipw import BudgetError, OperatingPoint, ShapeError, StreamModel, StreamOrderError
from skipw.models.task import Architecture
from skipw.runtime.gate import WindowGate
from skipw.runtime.stream import Stream

FRAMES = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)


@pytest.fixture
def rnn(lively: Any) -> Any:
    return lively(skipw.SkipW, window=7)


def snapshot(stream: Stream) -> tuple[Any, ...]:
    return stream.needs_input, stream.plan, stream.usage, stream.output().tolist(), stream.operating_point


def test_the_plan_says_what_needs_input_will_say(rnn: Any, stream_of: Any) -> None:
    stream, window = stream_of(rnn, OperatingPoint(3, 0.3)), []
    for t, frame in enumerate(FRAMES[:70]):
        if t % 7 == 0:
            window = list(stream.plan)
        assert stream.plan == tuple(slot for slot in window if slot >= t % 7)
        assert stream.needs_input == (t % 7 in window)
        assert len(stream.plan) <= 3
        if stream.needs_input:
            stream.process(frame)
        else:
            stream.skip()


def test_usage_counts_since_the_start(rnn: Any, stream_of: Any, walk: Any) -> None:
    stream = stream_of(rnn, OperatingPoint(2, 0.0))
    assert (stream.usage.inputs, stream.usage.processed, stream.usage.fraction) == (0, 0, 0.0)
    assert stream.usage.max_in_window == 0
    trace = walk(stream, FRAMES[:70])
    usage = stream.usage
    assert (usage.inputs, usage.processed, usage.max_in_window) == (70, int(trace.updates.sum()), 2)
    assert usage.fraction == 20 / 70


@pytest.mark.parametrize("kind", [skipw.SkipW, skipw.ThrRNN, skipw.SkipRNN, skipw.DenseRNN])
def test_reset_begins_anew_at_the_same_point(kind: Any, lively: Any, stream_of: Any, walk: Any) -> None:
    rnn = lively(kind, "lstm", 2, **({"window": 7} if kind is skipw.SkipW else {}))
    point = {skipw.SkipW: OperatingPoint(3, 0.2), skipw.ThrRNN: OperatingPoint(threshold=0.7)}.get(kind)
    stream = stream_of(rnn)
    if point is not None:
        stream.set_operating_point(point)
    fresh = stream_of(rnn, point)
    start = snapshot(fresh)
    walk(stream, FRAMES[:17])
    assert stream.usage.inputs == 17
    stream.reset()
    assert snapshot(stream) == start
    again, first = walk(stream, FRAMES[:30]), walk(fresh, FRAMES[:30])
    np.testing.assert_array_equal(again.updates, first.updates)
    np.testing.assert_array_equal(again.outputs, first.outputs)


@pytest.mark.parametrize("kind", [skipw.SkipW, skipw.ThrRNN, skipw.DenseRNN])
def test_the_wrong_verb_is_refused_and_changes_nothing(kind: Any, lively: Any, stream_of: Any) -> None:
    stream = stream_of(lively(kind, **({"window": 7} if kind is skipw.SkipW else {})))
    for frame in FRAMES[:40]:
        before = snapshot(stream)
        if stream.needs_input:
            with pytest.raises(StreamOrderError, match=r"is to be processed: call process"):
                stream.skip()
            assert snapshot(stream) == before
            stream.process(frame)
        else:
            with pytest.raises(StreamOrderError, match=r"is to be skipped: call skip"):
                stream.process(frame)
            assert snapshot(stream) == before
            stream.skip()


BAD = {
    "nan": [0, 0, np.nan, 0, 0],
    "infinite": [0, 0, -np.inf, 0, 0],
    "too large for the weights": [0, 0, 1e300, 0, 0],
    "narrow": [0.0] * 4,
    "wide": [0.0] * 6,
    "batch axis": [[0.0] * 5],
    "number": 3.0,
    "nothing": None,
    "text": "01234",
    "texts": ["a"] * 5,
    "ragged": [[0.0], [0.0, 1.0], 0, 0, 0],
    "complex": [1j] * 5,
    "empty": [],
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("kind", [skipw.SkipW, skipw.DenseRNN])
def test_a_bad_input_is_refused_and_changes_nothing(
    name: str, kind: Any, lively: Any, stream_of: Any
) -> None:
    rnn = lively(kind, **({"window": 7} if kind is skipw.SkipW else {}))
    stream, twin = stream_of(rnn, None), stream_of(rnn, None)
    for frame in FRAMES[:12]:
        if stream.needs_input:
            before = snapshot(stream)
            with pytest.raises(ShapeError):
                stream.process(BAD[name])
            assert snapshot(stream) == before
            stream.process(frame)
            twin.process(frame)
        else:
            stream.skip()
            twin.skip()
    assert stream.usage.processed > 0
    np.testing.assert_array_equal(stream.output(), twin.output())
    assert issubclass(ShapeError, ValueError)


def test_what_an_input_may_be(rnn: Any, stream_of: Any) -> None:
    expected = None
    for form in (FRAMES[0], FRAMES[0].astype(np.float64), FRAMES[0].tolist(), torch.from_numpy(FRAMES[0])):
        stream = stream_of(rnn, OperatingPoint(7, 0.0))
        stream.process(form)
        expected = stream.output() if expected is None else expected
        np.testing.assert_array_equal(stream.output(), expected)
    narrow = StreamModel.from_model(skipw.DenseRNN("gru", 1, 4)).create_stream()
    narrow.process(3)
    narrow.process([3.0])
    assert narrow.usage.processed == 2


def test_a_callers_buffer_can_be_used_again(rnn: Any, stream_of: Any, walk: Any) -> None:
    stream, buffer = stream_of(rnn, OperatingPoint(7, 0.0)), np.empty(5, dtype=np.float32)
    for frame in FRAMES[:20]:
        buffer[:] = frame
        stream.process(buffer)
        buffer.fill(np.nan)
        stream.output().fill(np.nan)
    whole = walk(stream_of(rnn, OperatingPoint(7, 0.0)), FRAMES[:20])
    np.testing.assert_array_equal(stream.output(), whole.outputs[-1])


def test_points_that_a_model_cannot_follow(lively: Any, stream_of: Any) -> None:
    cases: list[tuple[Any, Any, dict[str, int]]] = [
        (skipw.SkipW, OperatingPoint(8), {"window": 7}),
        (skipw.SkipW, (3, 0.5), {"window": 7}),
        (skipw.ThrRNN, OperatingPoint(1), {}),
        (skipw.SkipRNN, OperatingPoint(1), {}),
        (skipw.SkipRNN, OperatingPoint(threshold=0.4), {}),
        (skipw.DenseRNN, OperatingPoint(), {}),
    ]
    for kind, point, settings in cases:
        rnn = lively(kind, **settings)
        with pytest.raises(BudgetError):
            stream_of(rnn, point)
        stream = stream_of(rnn)
        before = snapshot(stream)
        with pytest.raises(BudgetError):
            stream.set_operating_point(point)
        assert snapshot(stream) == before
        stream.set_operating_point(None)
        assert snapshot(stream) == before


def test_a_model_never_changes(rnn: Any, walk: Any) -> None:
    model = StreamModel.from_model(rnn, {"title": {"en": "x"}})
    before = walk(model.create_stream(), FRAMES[:30]).outputs
    with pytest.raises(AttributeError, match="never changes"):
        model.window = 3  # type: ignore[misc]
    with pytest.raises(AttributeError):
        model._step = None  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        del model._weights
    model.description["title"]["en"] = "y"
    assert model.description == {"title": {"en": "x"}}
    with pytest.raises(ValueError, match="read-only"):
        model._weights.arrays["rnn.gate.bias"][0] = 1
    with torch.no_grad():
        for parameter in rnn.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(walk(model.create_stream(), FRAMES[:30]).outputs, before)


def test_streams_of_one_model_are_independent(rnn: Any, walk: Any) -> None:
    model = StreamModel.from_model(rnn)
    alone = walk(model.create_stream(OperatingPoint(3)), FRAMES[:40])
    one, other = model.create_stream(OperatingPoint(3)), model.create_stream(OperatingPoint(6, 0.1))
    updates = []
    for frame in FRAMES[:40]:
        updates.append(one.needs_input)
        for stream in (one, other):
            if stream.needs_input:
                stream.process(frame)
            else:
                stream.skip()
    np.testing.assert_array_equal(updates, alone.updates)
    np.testing.assert_array_equal(one.output(), alone.outputs[-1])


def test_a_stream_can_be_copied_and_a_model_pickled_by_its_owner(rnn: Any, walk: Any) -> None:
    """Processes of one machine may hand models to one another; nothing of that is ever shipped or loaded."""
    model = StreamModel.from_model(rnn, {"seed": 3})
    stream = pickle.loads(pickle.dumps(model)).create_stream(OperatingPoint(3))  # noqa: S301
    walk(stream, FRAMES[:10])
    twin = copy.deepcopy(stream)
    first = walk(stream, FRAMES[10:30])
    assert twin.usage.inputs == 10
    np.testing.assert_array_equal(walk(twin, FRAMES[10:30]).outputs, first.outputs)


def test_other_modules_and_cells_are_refused(lively: Any) -> None:
    for model in (torch.nn.GRU(3, 4), torch.nn.Linear(2, 2), None, 3):
        with pytest.raises(ShapeError, match="from_model takes a SkipW"):
            StreamModel.from_model(model)

    class Own(torch.nn.GRUCell):
        pass

    with pytest.raises(ShapeError, match="GRU, LSTM and FastGRNN cells, this model wraps Own"):
        StreamModel.from_model(skipw.SkipW(Own, 3, 4, window=2))


def test_a_tensor_with_a_gradient_is_an_input(rnn: Any, stream_of: Any) -> None:
    plain, tensor = (
        stream_of(rnn, OperatingPoint(threshold=0.0)),
        stream_of(rnn, OperatingPoint(threshold=0.0)),
    )
    x = torch.tensor(FRAMES[0], requires_grad=True)
    plain.process(FRAMES[0])
    tensor.process(x)
    np.testing.assert_array_equal(tensor.output(), plain.output())
    with pytest.raises(ShapeError, match="got a Tensor that is no array"):
        tensor.process(x.detach().bfloat16())


@pytest.mark.parametrize("budget", [0, 2])
def test_memory_is_constant(rnn: Any, stream_of: Any, budget: int) -> None:
    stream = stream_of(rnn, OperatingPoint(budget, 0.0))

    def run(count: int) -> None:
        for index in range(count):
            if stream.needs_input:
                stream.process(FRAMES[index % 200])
            else:
                stream.skip()

    run(200)
    tracemalloc.start()
    try:
        run(700)
        before = tracemalloc.get_traced_memory()[0]
        run(7000)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 2000, f"{grown} bytes after 7,000 inputs"
    assert stream.usage.inputs == 7900


def _fastest(action: Callable[[], object], calls: int = 50, repeats: int = 40) -> float:
    """Seconds a call, the best of many short runs, which a busy machine disturbs least."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(calls):
            action()
        best = min(best, (time.perf_counter() - start) / calls)
    return best


def test_a_skipped_input_costs_a_small_part_of_a_processed_one(stream_of: Any) -> None:
    torch.manual_seed(0)
    skipping = stream_of(skipw.SkipW("gru", 36, 60, 2, window=100_000), OperatingPoint(0))
    dense = stream_of(skipw.DenseRNN("gru", 36, 60, 2))
    frame = np.zeros(36, dtype=np.float32)
    skipped = _fastest(skipping.skip)
    processed = _fastest(lambda: dense.process(frame))
    assert skipped < processed / 10, f"skipped {skipped * 1e6:.2f} µs, processed {processed * 1e6:.2f} µs"


def test_a_very_long_stream_keeps_its_counters(rnn: Any) -> None:
    stream = StreamModel.from_model(rnn, engine="numpy").create_stream(OperatingPoint(7, 0.0))
    gate = stream._gate
    assert isinstance(gate, WindowGate)
    gate.inputs = 10**12 - 10**12 % 7
    stream.process(FRAMES[0])
    assert stream.usage.inputs == 10**12 - 10**12 % 7 + 1
    assert np.isfinite(stream.output()).all()


def test_repr_names_the_model(rnn: Any) -> None:
    model = StreamModel.from_model(rnn)
    assert repr(model) == "StreamModel(skipw, gru, 5 -> 9 x 1, window=7)"
    assert isinstance(model.architecture, Architecture)
    assert model.window == 7
    assert not model.has_head
