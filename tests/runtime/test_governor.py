"""The governor holds its budget, never passes its strict bound, and moves no more than it has to."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import skipw
from skipw import BudgetError, DataFormatError, OperatingPoint, StreamModel, StreamOrderError
from skipw.runtime.governing.governor import Governor
from skipw.runtime.governing.rated_points import RatedPoint, read_points
from skipw.runtime.governing.simulated_device import SimulatedDevice, ramp, steps
from skipw.runtime.sampled import SampledStream

WINDOW = 8
COLUMNS = "experiment,model,window,budget,threshold,split,metric,value,inputs_processed"
#: A model that processes all it may: shares are K / L, and so is the gain.
POINTS = [RatedPoint(OperatingPoint(k, 0.0), k / WINDOW, k / WINDOW, WINDOW) for k in range(WINDOW + 1)]
READING = 10.0  # what an input costs in these tests, in ms of work
SKIPPING = 0.1


def model(window: int = WINDOW, seed: int = 0, engine: str = "auto") -> StreamModel:
    torch.manual_seed(seed)
    rnn = skipw.SkipW("gru", 2, 3, window=window)
    with torch.no_grad():
        rnn.gate.weight.normal_(0, 1.5)
    return StreamModel.from_model(rnn, engine=engine)


MODEL = model()


def drive(
    governor: Governor, stream: Any, device: SimulatedDevice, inputs: int, pace_ms: float = 200.0
) -> list[tuple[bool, float]]:
    """Whether each input was processed, and what it cost in ms; one comes every ``pace_ms``."""
    taken = []
    for t in range(inputs):
        device.wait_until(t * pace_ms)
        before = device.elapsed_ms()
        with governor.step(stream):
            processed = stream.needs_input
            device.spend(READING if processed else SKIPPING)
            if processed:
                stream.process([math.sin(t), math.cos(0.37 * t)])
            else:
                stream.skip()
        taken.append((processed, device.elapsed_ms() - before))
    return taken


def by_window(taken: list[tuple[bool, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Inputs processed and cost of each complete window."""
    rows = np.array(taken[: len(taken) // WINDOW * WINDOW], dtype=float).reshape(-1, WINDOW, 2).sum(axis=1)
    return rows[:, 0], rows[:, 1]


class Till:
    """A meter whose inputs cost what a list says; it may run backwards and say NaN."""

    def __init__(self) -> None:
        self.total = 0.0

    def pay(self, cost: float) -> None:
        self.total = cost if math.isnan(cost) else (0.0 if math.isnan(self.total) else self.total) + cost

    def __call__(self) -> float:
        return self.total


STRANGE = st.one_of(
    st.floats(0, 50), st.sampled_from([0.0, 1e-9, 1e9, 1e300, -1.0, -1e9, math.nan, math.inf, -math.inf])
)


@given(
    st.lists(st.tuples(STRANGE, STRANGE), min_size=1, max_size=40),
    st.integers(1, WINDOW),
    st.booleans(),
    st.sampled_from(["input", "window", "sequence"]),
    st.integers(0, 12),
)
@settings(max_examples=80)
def test_never_above_max_budget_whatever_is_measured(
    costs: list[tuple[float, float]], bound: int, hard: bool, per: str, begun: int
) -> None:
    till = Till()
    length = 100 if per == "sequence" else None
    governor = Governor(
        POINTS, budget_ms=20.0, per=per, length=length, hard=hard, max_budget=bound, meter=till, dwell=1
    )
    stream, used = MODEL.create_stream(OperatingPoint(0)), 0
    for _ in range(begun):  # the governor may come in the middle of a window
        stream.skip()
    for t, (reading, skipping) in zip(range(begun, 120), itertools.cycle(costs), strict=False):
        used = 0 if t % WINDOW == 0 else used
        with governor.step(stream):
            due = stream.needs_input
            till.pay(reading if due else skipping)
            stream.process([0.3, -0.2]) if due else stream.skip()
        used += due
        assert used <= bound
        assert governor.point is not None and governor.point.budget is not None
        assert governor.point.budget <= bound
    assert stream.usage.inputs == 120 and stream.usage.max_in_window <= bound


@given(
    st.lists(st.one_of(st.floats(0.1, 100), st.sampled_from([0.1, 1e3, 1e6])), min_size=1, max_size=60),
    st.integers(1, 6),
    st.floats(1.0, 120.0),
    st.sampled_from(["window", "sequence"]),
)
@settings(max_examples=100)
def test_hard_mode_is_over_by_at_most_one_input(
    costs: list[float], horizon: int, budget: float, per: str
) -> None:
    till, reading = Till(), itertools.cycle(costs)
    governor = Governor(
        POINTS,
        budget_ms=budget,
        per=per,
        length=horizon * WINDOW if per == "sequence" else None,
        horizon=horizon if per == "window" else None,
        hard=True,
        meter=till,
        costs=(10.0, 0.05),
        dwell=1,
    )
    stream = MODEL.create_stream(OperatingPoint(0))
    windows: list[float] = []
    for t in range(40 * WINDOW):
        if per == "sequence" and t % (horizon * WINDOW) == 0:
            governor.reset(stream)
        before = till.total
        with governor.step(stream):
            due = stream.needs_input
            till.pay(next(reading) if due else 0.05)
            stream.process([0.3, -0.2]) if due else stream.skip()
        if t % WINDOW == 0:
            windows.append(0.0)
        windows[-1] += till.total - before
    most = budget * horizon if per == "window" else budget
    most = max(most, 0.05 * WINDOW * horizon)  # skipping everything is the floor
    every = 1 if per == "window" else horizon
    for start in range(0, len(windows) - horizon + 1, every):
        assert sum(windows[start : start + horizon]) <= most + max(costs) + 1e-6 * max(windows)


def test_hard_mode_never_exceeds_a_budget_when_the_worst_case_is_known() -> None:
    device = SimulatedDevice(steps([(8e4, 0.5), (16e4, 1.0)]), jitter=0.0, seed=1)
    governor = Governor(
        POINTS,
        budget_ms=45.0,
        per="window",
        hard=True,
        horizon=1,
        meter=device.elapsed_ms,
        worst=READING / 0.5,
        costs=(READING, SKIPPING / 0.5),
    )
    processed, cost = by_window(drive(governor, MODEL.create_stream(), device, 1200))
    assert cost.max() <= 45.0
    assert processed[20:45].min() == 3  # the last one has to be affordable at its worst
    assert processed[60:95].min() == 2


@pytest.mark.parametrize("hard", [False, True])
def test_a_halved_speed_is_followed_within_windows_and_left_again(hard: bool) -> None:
    device = SimulatedDevice(steps([(8e4, 0.5), (16e4, 1.0)]))  # 50 windows each
    governor = Governor(POINTS, budget_ms=5.5, hard=hard, meter=device.elapsed_ms)
    processed, cost = by_window(drive(governor, MODEL.create_stream(), device, 1200))
    budget = 5.5 * WINDOW
    assert list(processed[10:50]) == [3.0] * 40  # 4 would cost 40.4 of 44 and leave no headroom to climb
    assert list(processed[51:100]) == [2.0] * 49
    assert list(processed[112:]) == [3.0] * 38
    assert (cost[51:] <= budget).all()
    assert governor.state == "holding" and governor.faults == 0


def test_a_constant_device_is_left_alone() -> None:
    """Jitter and spikes move the estimate, not the stream."""
    device = SimulatedDevice(jitter=0.1, spikes=(0.02, 5.0), seed=3)
    governor = Governor(POINTS, budget_ms=5.7, meter=device.elapsed_ms)
    _, cost = by_window(drive(governor, MODEL.create_stream(), device, 8 * 1500))
    assert len(governor.decisions) <= 1500 // 25
    assert cost[20:].mean() <= 5.7 * WINDOW
    assert cost[20:].mean() >= 0.6 * 5.7 * WINDOW
    quiet = SimulatedDevice()
    governor = Governor(POINTS, budget_ms=5.7, meter=quiet.elapsed_ms)
    drive(governor, MODEL.create_stream(), quiet, 8 * 500)
    assert len(governor.decisions) <= 4  # the climb from the start


def test_a_slow_throttle_is_followed() -> None:
    device = SimulatedDevice(ramp(4e4, 36e4, 0.4), seed=5, jitter=0.05)
    governor = Governor(POINTS, budget_ms=5.5, meter=device.elapsed_ms)
    processed, cost = by_window(drive(governor, MODEL.create_stream(), device, 8 * 300))
    assert processed[15] == 3 and processed[-1] == 1
    assert np.convolve(cost, np.ones(8) / 8, "valid").max() <= 1.03 * 5.5 * WINDOW
    assert cost.mean() <= 0.95 * 5.5 * WINDOW


def test_the_same_decisions_by_hand_give_the_same_results() -> None:
    device = SimulatedDevice(steps([(3e4, 0.3), (6e4, 1.0)]), jitter=0.3, seed=2)
    governor = Governor(POINTS, budget_ms=40.0, per="window", hard=True, horizon=2, meter=device.elapsed_ms)
    stream = MODEL.create_stream(OperatingPoint(0))
    x = np.random.default_rng(0).normal(size=(3, 150, 2))
    own, t = [], 0
    for sequence in x:
        governor.reset(stream)
        for frame in sequence:
            t += 1
            device.wait_until(200.0 * t)

            def read(frame: Any = frame) -> Any:
                device.spend(READING)
                return frame

            own.append((governor.advance(stream, read), stream.output()))
    switches = [(d.sequence, d.input, d.point) for d in governor.decisions]
    reasons = {d.reason for d in governor.decisions}
    assert {"start", "up", "limit", "resume"} <= reasons
    assert any(index % WINDOW for _, index, _ in switches)  # in mid-window too

    hand, told = MODEL.create_stream(OperatingPoint(0)), iter(own)
    for number, sequence in enumerate(x):
        hand.reset()
        for index, frame in enumerate(sequence):
            for _, _, point in [s for s in switches if s[:2] == (number, index)]:
                hand.set_operating_point(point)
            due = hand.needs_input
            hand.process(frame) if due else hand.skip()
            processed, output = next(told)
            assert processed == due
            np.testing.assert_array_equal(output, hand.output())


def test_overload_is_said_once_and_recovery_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    device = SimulatedDevice(steps([(8e4, 0.1), (24e4, 1.0)]))
    governor = Governor(POINTS, budget_ms=4.5, meter=device.elapsed_ms)
    stream = MODEL.create_stream()
    states = []
    with caplog.at_level(logging.WARNING, logger="skipw.runtime.governing.governor"):
        for t in range(8 * 250):
            device.wait_until(200.0 * t)
            with governor.step(stream):
                due = stream.needs_input
                device.spend(READING if due else SKIPPING)
                stream.process([1.0, 0.5]) if due else stream.skip()
            states.append(governor.state)
    assert states[0] == "starting" or states[1] == "holding"
    assert states[300] == "holding" and "overloaded" in states[410:1200] and states[-1] == "holding"
    assert len(caplog.records) == 1 and "too small" in caplog.text
    assert governor.point is not None and governor.point.budget == 3


def test_an_error_inside_a_step_costs_but_loses_nothing() -> None:
    """A frame with NaN is refused by the stream; one error comes after the input was taken."""
    device = SimulatedDevice()
    governor = Governor(POINTS, budget_ms=90.0, per="window", meter=device.elapsed_ms)
    stream = MODEL.create_stream(OperatingPoint(0))
    failures = 0
    for t in range(20 * WINDOW):
        try:
            with governor.step(stream):
                if stream.needs_input:
                    device.spend(READING)
                    stream.process([0.1, math.nan if t % 5 == 0 and not failures % 2 else 0.2])
                else:
                    device.spend(SKIPPING)
                    stream.skip()
                if t == 77:
                    raise RuntimeError("after the input")
        except ValueError:
            failures += 1
            with governor.step(stream):
                stream.process([0.1, 0.2])
        except RuntimeError:
            failures += 1
    assert failures == 3
    assert stream.usage.inputs == 20 * WINDOW
    assert {d.sequence for d in governor.decisions} == {0}
    assert all(d.input % WINDOW == 0 for d in governor.decisions if d.reason == "up")


def test_a_stream_that_was_reset_without_a_word_is_found_again() -> None:
    device = SimulatedDevice()
    governor = Governor(POINTS, budget_ms=45.0, per="window", meter=device.elapsed_ms, max_budget=3)
    stream = MODEL.create_stream(OperatingPoint(0))
    drive(governor, stream, device, 5 * WINDOW + 3)
    stream.reset()
    drive(governor, stream, device, 12 * WINDOW)
    assert governor.decisions[0].sequence == 0
    assert stream.usage.max_in_window == 3
    other = MODEL.create_stream(OperatingPoint(8, 0.0))
    drive(governor, other, device, WINDOW)
    assert other.usage.max_in_window <= 3
    assert governor.decisions[-1].point.budget == 3 and governor.decisions[-1].input == 0


def test_energy_by_a_counter_and_by_constants() -> None:
    device = SimulatedDevice(power_mw=2000.0)
    counted = Governor(POINTS, budget_mj=11.0, meter=device.energy_mj)
    processed, _ = by_window(drive(counted, MODEL.create_stream(), device, 30 * WINDOW))
    assert counted.unit == "mJ" and counted.costs == pytest.approx((20.0, 0.2))
    assert processed[-1] == 3
    told = Governor(POINTS, budget_mj=11.0, costs=(20.0, 0.2))
    processed, _ = by_window(drive(told, MODEL.create_stream(), SimulatedDevice(), 30 * WINDOW))
    assert processed[-1] == 3


def test_a_stream_that_processes_less_than_its_points_say_may_go_higher() -> None:
    """The points promise a full budget; this stream's importance reaches the threshold once a window."""
    rnn = skipw.SkipW("gru", 2, 3, window=WINDOW)
    with torch.no_grad():
        rnn.gate.weight.zero_()
        rnn.gate.bias.copy_(torch.tensor([-3.0, -3, -3, -3, 2.0, -3, -3, -3]))
    points = [RatedPoint(OperatingPoint(k, 0.5), k / WINDOW, k / WINDOW, WINDOW) for k in range(WINDOW + 1)]
    device = SimulatedDevice()
    governor = Governor(points, budget_ms=3.5, meter=device.elapsed_ms)
    drive(governor, StreamModel.from_model(rnn).create_stream(), device, 400 * WINDOW)
    assert governor.point == OperatingPoint(8, 0.5)
    assert governor.share_ratio == pytest.approx(0.125, abs=0.03)


def test_thrrnn_moves_its_threshold_and_promises_no_bound() -> None:
    torch.manual_seed(0)
    rnn = skipw.ThrRNN("gru", 2, 3)
    with torch.no_grad():
        rnn.gate.bias.fill_(-0.5)
    points = [RatedPoint(OperatingPoint(threshold=0.1 * n), 1.0 - 0.09 * n, -0.1 * n) for n in range(11)]
    device = SimulatedDevice()
    governor = Governor(points, budget_ms=5.0, meter=device.elapsed_ms)
    stream = StreamModel.from_model(rnn).create_stream()
    drive(governor, stream, device, 2000)
    assert {d.point.budget for d in governor.decisions} == {None}
    assert stream.operating_point == governor.point != points[0].point
    for promise in ({"max_budget": 3}, {"hard": True}):
        with pytest.raises(BudgetError, match="strict bound"):
            Governor(points, budget_ms=5.0, **promise)


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    def write(*rows: str) -> Path:
        path = tmp_path / "grid.csv"
        path.write_text("\n".join([COLUMNS, *rows]) + "\n")
        return path

    return write


def test_points_come_from_the_pipelines_tables(table: Callable[..., Path]) -> None:
    rows = [f"a,skipw,4,{k},0.5,{s},mse,{0.5 - 0.1 * k},{k / 4}" for s in ("val", "test") for k in range(5)]
    points = read_points(table(*rows, "b,skipw,4,1.0,0.5,val,mse,0.1,0.2"), experiment="a")
    assert [(p.point.budget, p.inputs_processed, p.window) for p in points] == [
        (k, k / 4, 4) for k in range(5)
    ]
    assert [p.gain for p in points] == pytest.approx([-0.5, -0.4, -0.3, -0.2, -0.1])
    assert Governor(points, budget_ms=1.0).point is None
    with pytest.raises(DataFormatError, match="got a, b"):
        read_points(table(*rows, "b,skipw,4,1,0.5,val,mse,0.1,0.2"))
    with pytest.raises(DataFormatError, match="no metric 'accuracy'"):
        read_points(table(*rows), metric="accuracy")
    with pytest.raises(DataFormatError, match="cannot be read"):
        read_points(table("a,skipw,4,9,0.5,val,mse,0.1,0.2"))


@pytest.mark.parametrize("kind", ["dense", "skiprnn", "periodic"])
def test_models_without_anything_to_move_are_refused(kind: str, table: Callable[..., Path]) -> None:
    with pytest.raises(BudgetError, match="nothing to move"):
        read_points(table(f"a,{kind},,,,val,accuracy,0.9,1.0"))
    skiprnn = StreamModel.from_model(skipw.SkipRNN("gru", 2, 3)).create_stream()
    with pytest.raises(BudgetError):
        Governor(POINTS, budget_ms=1.0).step(skiprnn)


@pytest.mark.parametrize("kind", ["c", "numpy", "sampled"])
def test_a_stream_says_how_much_it_saw_and_in_which_windows(kind: str) -> None:
    rnn = skipw.DenseRNN("gru", 2, 3) if kind == "sampled" else skipw.SkipW("gru", 2, 3, window=WINDOW)
    stream = StreamModel.from_model(rnn, engine="auto" if kind == "sampled" else kind).create_stream()
    if kind == "sampled":
        stream = SampledStream(stream, "periodic", 0.5, np.random.default_rng(0))
    for _ in range(11):
        stream.process([0.1, 0.2]) if stream.needs_input else stream.skip()
    assert stream.inputs == stream.usage.inputs == 11
    assert stream.window == (None if kind == "sampled" else WINDOW)
    stream.reset()
    assert stream.inputs == 0


@pytest.mark.parametrize("window", [WINDOW - 1, 28])
def test_points_of_a_model_with_another_window_are_refused(window: int) -> None:
    """At the first meeting, before anything of the stream has changed: not where a K above L would be tried."""
    points = [RatedPoint(OperatingPoint(k, 0.5), k / window, k / window, window) for k in range(WINDOW - 1)]
    governor = Governor(points, budget_ms=90.0, per="window", meter=SimulatedDevice().elapsed_ms)
    stream = MODEL.create_stream(OperatingPoint(2, 0.0))
    stream.process([0.1, 0.2]) if stream.needs_input else stream.skip()
    said = f"a model with a window of {window}, the stream's model has a window of {WINDOW}; read_points"
    for meet in (governor.step, governor.reset):
        with pytest.raises(BudgetError, match=said):
            meet(stream)
    assert stream.usage.inputs == 1 and stream.operating_point == OperatingPoint(2, 0.0)
    assert governor.point is None and not governor.decisions
    fitting = model(window).create_stream()
    assert governor.advance(fitting, lambda: [0.1, 0.2]) in (True, False)
    with pytest.raises(BudgetError, match=said):  # in the middle of another sequence
        governor.advance(stream, lambda: [0.1, 0.2])
    governor.advance(fitting, lambda: [0.1, 0.2])
    assert fitting.usage.inputs == 2 and len({d.sequence for d in governor.decisions}) == 1


def test_points_with_and_without_windows_are_told_apart() -> None:
    without = [RatedPoint(OperatingPoint(threshold=0.1 * n), 1.0 - 0.09 * n, -0.1 * n) for n in range(11)]
    with pytest.raises(BudgetError, match="with no window, the stream's model has a window of 8"):
        Governor(without, budget_ms=1.0).step(MODEL.create_stream())
    with pytest.raises(BudgetError, match="with a window of 8, the stream's model has none"):
        Governor(POINTS, budget_ms=1.0).step(
            StreamModel.from_model(skipw.ThrRNN("gru", 2, 3)).create_stream()
        )


class OwnStream:
    """The verbs that a governor asks for, and no more."""

    def __init__(self, stream: Any) -> None:
        self.process, self.skip, self.reset = stream.process, stream.skip, stream.reset
        self.set_operating_point, self._stream = stream.set_operating_point, stream

    needs_input = property(lambda self: self._stream.needs_input)
    plan = property(lambda self: self._stream.plan)
    usage = property(lambda self: self._stream.usage)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("engine", ["auto", "numpy"])
def test_a_step_takes_exactly_one_input(engine: str, own: bool) -> None:
    stream: Any = model(engine=engine).create_stream()
    stream = OwnStream(stream) if own else stream
    device = SimulatedDevice()
    governor = Governor(POINTS, budget_ms=90.0, per="window", meter=device.elapsed_ms)

    def take() -> None:
        stream.process([0.1, 0.2]) if stream.needs_input else stream.skip()

    def step(*doings: Callable[[], object]) -> None:
        with governor.step(stream):
            for doing in doings:
                doing()

    def fail() -> None:
        raise RuntimeError("mine")

    drive(governor, stream, device, 2 * WINDOW + 3)
    with pytest.raises(
        StreamOrderError, match=r"input 19 takes one input, got none: call process\(\) or skip"
    ):
        step()
    step(take)
    with pytest.raises(StreamOrderError, match="input 20 takes one input, got 2"):
        step(take, take)
    with pytest.raises(StreamOrderError, match=r"got a reset: .* governor\.reset"):
        step(stream.reset)
    with pytest.raises(RuntimeError, match="mine"):  # not replaced by another error
        step(fail)
    stream.reset()  # outside of a step that is no error, nor are inputs that the governor doesn't see
    take()
    drive(governor, stream, device, 5 * WINDOW)
    assert stream.usage.inputs == 5 * WINDOW + 1


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"budget_ms": 1.0, "budget_mj": 1.0},
        {"budget_ms": 0.0},
        {"budget_ms": math.nan},
        {"budget_mj": 1.0},
        {"budget_ms": 1.0, "per": "second"},
        {"budget_ms": 1.0, "per": "sequence"},
        {"budget_ms": 1.0, "length": 20},
        {"budget_ms": 1.0, "horizon": 0},
        {"budget_ms": 1.0, "max_budget": WINDOW + 1},
        {"budget_ms": 1.0, "max_budget": 0},
        {"budget_ms": 1.0, "costs": (1.0, -1.0)},
        {"budget_ms": 1.0, "margin": 0.6, "headroom": 0.5},
        {"budget_ms": 1.0, "start": OperatingPoint(3, 0.9)},
        {"budget_ms": 1.0, "worst": math.inf},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BudgetError):
        Governor(POINTS, **wrong)
    for clash in ([], POINTS[:1], [POINTS[0], RatedPoint(OperatingPoint(1), 0.5, 0.5, WINDOW + 1)]):
        with pytest.raises(BudgetError):
            Governor(clash, budget_ms=1.0)
