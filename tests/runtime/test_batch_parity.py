"""The stream equals the reference backend step by step: updates identical, outputs within 1e-5."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import skipw
from skipw import OperatingPoint, Schedule

STEPS = 63


def inputs(seed: int = 0, steps: int = STEPS) -> torch.Tensor:
    return torch.randn(1, steps, 5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("initial_state", ["trainable", "zeros"])
@pytest.mark.parametrize("time_feature", ["steps", "window", "since_update", "none"])
@pytest.mark.parametrize(("cell", "layers"), [("gru", 1), ("gru", 2), ("lstm", 1), ("lstm", 3)])
def test_skipw(
    lively: Any, walk: Any, assert_agrees: Any, stream_of: Any, cell: str, layers: int, time_feature: str,
    initial_state: str,
) -> None:  # fmt: skip
    rnn = lively(
        skipw.SkipW, cell, layers, window=7, time_feature=time_feature, time_scale=10.0,
        initial_state=initial_state,
    )  # fmt: skip
    point, x = OperatingPoint(3, 0.4), inputs()
    trace = walk(stream_of(rnn, point), x[0].numpy())
    assert_agrees(trace, rnn(x, at=point, backend="reference"))
    assert 0 < trace.updates.sum() < STEPS


@pytest.mark.parametrize("kind", [skipw.ThrRNN, skipw.SkipRNN, skipw.DenseRNN])
@pytest.mark.parametrize(("cell", "layers"), [("gru", 2), ("lstm", 1)])
def test_models_without_a_window(
    lively: Any, walk: Any, assert_agrees: Any, stream_of: Any, kind: Any, cell: str, layers: int
) -> None:
    rnn, x = lively(kind, cell, layers), inputs()
    stream = stream_of(rnn)
    assert stream.plan == ()
    trace = walk(stream, x[0].numpy())
    assert_agrees(trace, rnn(x, backend="reference"))
    assert trace.updates[0]
    assert trace.updates.all() == (kind is skipw.DenseRNN)
    assert stream.plan == ()
    assert stream.usage.max_in_window is None


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_thrrnn_at_every_threshold(
    lively: Any, walk: Any, assert_agrees: Any, stream_of: Any, threshold: float
) -> None:
    rnn, x = lively(skipw.ThrRNN, seed=2), inputs(1)
    point = OperatingPoint(threshold=threshold)
    trace = walk(stream_of(rnn, point), x[0].numpy())
    assert_agrees(trace, rnn(x, at=point, backend="reference"))


@pytest.mark.parametrize("budget", range(8))
@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_every_budget(
    lively: Any, walk: Any, assert_agrees: Any, stream_of: Any, budget: int, threshold: float
) -> None:
    rnn, x, point = lively(skipw.SkipW, window=7), inputs(2, 32), OperatingPoint(budget, threshold)
    stream = stream_of(rnn, point)
    assert_agrees(walk(stream, x[0].numpy()), rnn(x, at=point, backend="reference"))
    assert stream.usage.max_in_window <= budget
    if threshold == 0:
        assert stream.usage.processed == 4 * budget + min(4, sum(o < 4 for o in _last_plan(rnn, x, point)))


def _last_plan(rnn: Any, x: torch.Tensor, point: OperatingPoint) -> list[int]:
    state = rnn(x, at=point, backend="reference").state
    return torch.nonzero(state.selected[0]).flatten().tolist()


class Replay(np.random.Generator):
    """Hands out what torch's generator draws, window by window."""

    def __init__(self, seed: int) -> None:
        super().__init__(np.random.PCG64(0))
        self.source = torch.Generator().manual_seed(seed)

    def random(self, size: Any = None, dtype: Any = None, out: Any = None) -> Any:
        return torch.rand((1, size), generator=self.source)[0].numpy()


@pytest.mark.parametrize("select", ["topk", "sample", "random", "first", "last", "first_above"])
def test_every_selector_with_switches(
    lively: Any, walk: Any, assert_agrees: Any, stream_of: Any, select: str
) -> None:
    rnn, x = lively(skipw.SkipW, window=6, select=select), inputs(3)
    switches = {0: OperatingPoint(2, 0.3), 9: OperatingPoint(5, 0.1), 22: OperatingPoint(1, 0.6)}
    trace = walk(stream_of(rnn, switches[0], seed=Replay(5)), x[0].numpy(), switches)
    generator = torch.Generator().manual_seed(5)
    batch = rnn(x, at=Schedule(switches.items()), backend="reference", generator=generator)
    assert_agrees(trace, batch)
    assert trace.updates.any()


@pytest.mark.parametrize("select", ["sample", "random"])
def test_draws_follow_the_seed(lively: Any, walk: Any, stream_of: Any, select: str) -> None:
    rnn, x, point = lively(skipw.SkipW, window=6, select=select), inputs(3)[0].numpy(), OperatingPoint(2, 0.0)
    first = walk(stream_of(rnn, point, seed=4), x).updates
    np.testing.assert_array_equal(first, walk(stream_of(rnn, point, seed=4), x).updates)
    assert (first != walk(stream_of(rnn, point, seed=5), x).updates).any()
    assert first[:60].reshape(10, 6).sum(1).tolist() == [2] * 10


POINTS = (OperatingPoint(1, 0.45), OperatingPoint(3, 0.0), OperatingPoint(None, 0.4))


@pytest.mark.parametrize("select", ["topk", "first"])
@pytest.mark.parametrize("start", range(14, 22))
def test_a_switch_at_every_offset(
    lively: Any, walk: Any, assert_agrees: Any, stream_of: Any, start: int, select: str
) -> None:
    rnn, x = lively(skipw.SkipW, window=7, select=select), inputs(4, 30)
    for before in POINTS:
        for after in POINTS:
            trace = walk(stream_of(rnn, before), x[0].numpy(), {start: after})
            batch = rnn(x, at=Schedule([(0, before), (start, after)]), backend="reference")
            assert_agrees(trace, batch)


@pytest.mark.parametrize("start", range(8))
def test_of_several_switches_before_one_input_the_last_counts(
    lively: Any, walk: Any, stream_of: Any, start: int
) -> None:
    """Also a switch there and back, which leaves the selection as it was."""
    rnn, x = lively(skipw.SkipW, window=7, select="first"), inputs(5, 28)[0].numpy()
    for before in POINTS:
        there_and_back, plain = stream_of(rnn, before), stream_of(rnn, before)
        for stream in (there_and_back, plain):
            walk(stream, x[:start])
        there_and_back.set_operating_point(OperatingPoint(7, 0.0))
        there_and_back.set_operating_point(before)
        assert there_and_back.plan == plain.plan
        np.testing.assert_array_equal(walk(there_and_back, x[start:]).updates, walk(plain, x[start:]).updates)


def test_thrrnn_switches(lively: Any, walk: Any, assert_agrees: Any, stream_of: Any) -> None:
    rnn, x = lively(skipw.ThrRNN, seed=1), inputs(5)
    switches = {0: OperatingPoint(threshold=0.9), 13: OperatingPoint(threshold=0.2), 30: OperatingPoint()}
    trace = walk(stream_of(rnn, switches[0]), x[0].numpy(), switches)
    assert_agrees(trace, rnn(x, at=Schedule(switches.items()), backend="reference"))


def test_chunks_and_prefixes_of_the_batch(lively: Any, walk: Any, assert_agrees: Any, stream_of: Any) -> None:
    rnn, x, point = lively(skipw.SkipW, "lstm", 2, window=7), inputs(6, 30), OperatingPoint(3, 0.3)
    whole = walk(stream_of(rnn, point), x[0].numpy())
    for cut in (1, 6, 7, 8, 20):
        first = rnn(x[:, :cut], at=point, backend="reference")
        second = rnn(x[:, cut:], at=point, state=first.state, backend="reference")
        assert_agrees(type(whole)(whole.updates[:cut], whole.outputs[:cut]), first)
        assert_agrees(type(whole)(whole.updates[cut:], whole.outputs[cut:]), second)


@pytest.mark.parametrize("select", ["topk", "first", "last", "first_above"])
@pytest.mark.parametrize("bias", [0.0, 30.0, -200.0])
def test_ties_go_to_the_earliest(
    lively: Any, walk: Any, assert_agrees: Any, stream_of: Any, bias: float, select: str
) -> None:
    """No weight ties a whole window, a large bias saturates the sigmoid at 1, a low one at 0."""
    rnn, x, point = lively(skipw.SkipW, window=7, select=select), inputs(7, 28), OperatingPoint(3, 0.0)
    with torch.no_grad():
        rnn.gate.weight.mul_(0.0 if bias == 0 else 0.1)
        rnn.gate.bias.fill_(bias)
    stream = stream_of(rnn, point)
    assert stream.plan == ((4, 5, 6) if select == "last" else (0, 1, 2))
    assert_agrees(walk(stream, x[0].numpy()), rnn(x, at=point, backend="reference"))


def test_nan_importance_ranks_last_and_is_never_processed(
    lively: Any, walk: Any, assert_agrees: Any, stream_of: Any
) -> None:
    rnn, x, point = lively(skipw.SkipW, window=7), inputs(8, 28), OperatingPoint(6, 0.0)
    with torch.no_grad():
        rnn.gate.bias[[0, 3]] = torch.nan
    stream = stream_of(rnn, point)
    assert stream.plan == (1, 2, 4, 5, 6)
    assert_agrees(walk(stream, x[0].numpy()), rnn(x, at=point, backend="reference"))
    with torch.no_grad():
        rnn.gate.weight.fill_(torch.nan)
    trace = walk(stream_of(rnn, OperatingPoint(7, 0.0)), x[0].numpy())
    assert not trace.updates.any()


@pytest.mark.parametrize("kind", [skipw.SkipW, skipw.ThrRNN, skipw.DenseRNN])
def test_nan_and_infinite_cells_stay_quiet(
    lively: Any, walk: Any, stream_of: Any, kind: Any, recwarn: pytest.WarningsRecorder
) -> None:
    rnn = lively(kind, **({"window": 7} if kind is skipw.SkipW else {}))
    x = inputs(9, 28)
    with torch.no_grad():
        rnn.cells[0].weight_hh[0, 0] = torch.nan
        rnn.cells[0].weight_ih[1, :] = torch.inf
    trace = walk(stream_of(rnn), x[0].numpy())
    batch = rnn(x, backend="reference")
    np.testing.assert_array_equal(trace.updates, batch.updates[0].numpy())
    assert np.isnan(trace.outputs).any()
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]


@pytest.mark.parametrize("scale", [1e3, 1e30])
def test_large_inputs_do_not_overflow(
    lively: Any, walk: Any, assert_agrees: Any, stream_of: Any, scale: float, recwarn: pytest.WarningsRecorder
) -> None:
    for cell in ("gru", "lstm"):
        rnn, x = lively(skipw.DenseRNN, cell), inputs(10, 20) * scale
        assert_agrees(walk(stream_of(rnn), x[0].numpy()), rnn(x, backend="reference"))
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]


def test_double_precision_is_kept(lively: Any, walk: Any, assert_agrees: Any, stream_of: Any) -> None:
    rnn, x, point = (
        lively(skipw.SkipW, "lstm", 2, window=7).double(),
        inputs(11).double(),
        OperatingPoint(3, 0.3),
    )
    assert_agrees(walk(stream_of(rnn, point), x[0].numpy()), rnn(x, at=point, backend="reference"), 1e-12)


def test_a_factory_of_torchs_cells_without_biases(walk: Any, assert_agrees: Any, stream_of: Any) -> None:
    torch.manual_seed(3)
    rnn = skipw.SkipW(lambda i, n: nn.LSTMCell(i, n, bias=False), 5, 9, 2, window=4, gate_bias=0.1)
    x, point = inputs(12), OperatingPoint(2, 0.1)
    assert_agrees(walk(stream_of(rnn, point), x[0].numpy()), rnn(x, at=point, backend="reference"))


@pytest.mark.parametrize("hidden", [1, 60, 110])
def test_sizes(walk: Any, assert_agrees: Any, stream_of: Any, hidden: int) -> None:
    torch.manual_seed(4)
    for cell in ("gru", "lstm"):
        rnn = skipw.SkipW(cell, 5, hidden, window=8, gate_bias=0.1)
        for steps in (1, 7, 8, 9, 63):
            x, point = inputs(13, steps), OperatingPoint(3, 0.0)
            assert_agrees(walk(stream_of(rnn, point), x[0].numpy()), rnn(x, at=point, backend="reference"))
