"""The C step inside Python: what serves when, what it reads, and that it keeps to its memory."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import skipw
from skipw import BackendUnavailableError, OperatingPoint, StreamModel
from skipw.data.normaliser import Normaliser
from skipw.models.saved import save_model
from skipw.models.task import Architecture
from skipw.runtime.c import build
from skipw.runtime.c import stream as c_stream
from tests.native import sanitized

FRAMES = np.random.default_rng(0).normal(300, 90, size=(90, 36))
HAR = Architecture("skipw", 36, 6, "classification", hidden_size=60, num_layers=2, window=8, head_hidden=20)
POSE = Normaliser("pose", 36, clip=3.0, missing=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of HAR's shape whose gates open and close."""
    torch.manual_seed(1)
    model = HAR.build()
    with torch.no_grad():
        model.rnn.gate.weight.normal_(0, 1)
        model.rnn.gate.bias.zero_()
    path = tmp_path_factory.mktemp("har")
    save_model(path, model, {"normaliser": POSE.to_json()})
    return path


@pytest.fixture
def no_c_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("SKIPW_STREAM_LIBRARY", str(tmp_path / "absent.so"))
    c_stream._find.cache_clear()
    yield
    monkeypatch.undo()
    c_stream._find.cache_clear()


def test_c_serves_where_it_can(folder: Path) -> None:
    assert c_stream.missing() is None, "build it: python -m skipw.runtime.c.build"
    assert StreamModel.load(folder).engine == "c"
    assert StreamModel.load(folder, engine="numpy").engine == "numpy"
    drawing = skipw.SkipW("gru", 3, 4, window=2, select="random")
    for rnn, reason in ((drawing, "draws random numbers"), (skipw.ThrRNN("gru", 3, 4).double(), "float64")):
        assert StreamModel.from_model(rnn).engine == "numpy"
        with pytest.raises(BackendUnavailableError, match=reason):
            StreamModel.from_model(rnn, engine="c")
    with pytest.raises(BackendUnavailableError, match="engine must be one of auto, c, numpy, got 'gpu'"):
        StreamModel.load(folder, engine="gpu")


def test_without_it_numpy_serves(folder: Path, no_c_step: None, walk: Any) -> None:
    model = StreamModel.load(folder)
    assert model.engine == "numpy"
    assert walk(model.create_stream(OperatingPoint(2, 0.0)), FRAMES[:88]).updates.sum() == 2 * 11
    with pytest.raises(BackendUnavailableError, match=r"was not built .*python -m skipw\.runtime\.c\.build"):
        StreamModel.load(folder, engine="c")


def test_one_that_is_older_than_its_sources_is_refused(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(build, "source_hash", lambda: "0" * 64)
    c_stream._find.cache_clear()
    try:
        assert str(c_stream.missing()).startswith("the C step is older than its sources")
        assert StreamModel.load(folder).engine == "numpy"
    finally:
        c_stream._find.cache_clear()


@pytest.mark.parametrize("variant", ["plain", "avx2", "avx512"])
def test_every_vector_unit_gives_the_same(variant: str, folder: Path, walk: Any) -> None:
    choose = c_stream.extension().choose
    if choose(variant) != variant:
        choose(None)
        pytest.skip(f"this processor has no {variant}")
    try:
        found = walk(StreamModel.load(folder, engine="c").create_stream(OperatingPoint(5, 0.4)), FRAMES)
    finally:
        choose(None)
    expected = walk(StreamModel.load(folder, engine="numpy").create_stream(OperatingPoint(5, 0.4)), FRAMES)
    np.testing.assert_array_equal(found.updates, expected.updates)
    np.testing.assert_allclose(found.outputs, expected.outputs, atol=1e-5)


def test_inputs_of_many_kinds_give_the_same(folder: Path) -> None:
    frame = np.rint(FRAMES[0])
    backwards = np.ascontiguousarray(frame[::-1])[::-1]
    spread = np.zeros(72, dtype=np.float32)
    spread[::2] = frame
    kinds = [
        frame, frame.astype(np.float32), frame.astype(np.int32), frame.astype(np.float16).astype(np.float64),
        frame.tolist(), tuple(frame), torch.from_numpy(frame), backwards, spread[::2],
        frame.astype(">f8"), memoryview(frame), frame.astype(np.longdouble),
    ]  # fmt: skip
    outputs = []
    for kind in kinds:
        stream = StreamModel.load(folder, engine="c").create_stream(OperatingPoint(8, 0.0))
        stream.process(kind)
        outputs.append(stream.output())
    for kind, output in zip(kinds, outputs, strict=True):
        np.testing.assert_allclose(output, outputs[0], atol=1e-6, err_msg=str(type(kind)))


def test_copies_go_their_own_ways(folder: Path, walk: Any) -> None:
    stream = StreamModel.load(folder, engine="c").create_stream(OperatingPoint(3, 0.3))
    walk(stream, FRAMES[:21])
    stream.set_operating_point(OperatingPoint(5, 0.1))
    for copied in (copy.copy(stream), copy.deepcopy(stream)):
        assert (copied.usage, copied.plan, copied.operating_point) == (
            stream.usage,
            stream.plan,
            stream.operating_point,
        )
        before = stream.output()
        first = walk(copied, FRAMES[21:50])
        np.testing.assert_array_equal(stream.output(), before)
        again = walk(copy.copy(stream), FRAMES[21:50])
        np.testing.assert_array_equal(first.outputs, again.outputs)


def test_needs_input_cannot_be_set(folder: Path) -> None:
    stream = StreamModel.load(folder, engine="c").create_stream()
    with pytest.raises(AttributeError):
        stream.needs_input = False  # type: ignore[misc]


def test_arrays_of_another_size_are_refused() -> None:
    sizes = (1, 0, 0, 0, 0, 0, 2, 3, 1, 4, 4, 1, 0, 0, 0)
    shapes = (16 * 2, 16 * 3, 9, 9, 2, 3, None, 8 * 3, 4, 4)  # one gate needs no budgets
    good = [None if count is None else np.zeros(count, dtype=np.float32) for count in shapes]
    absent = [None] * 8
    make = c_stream.extension().Model
    assert make(sizes, 100.0, (0, 0, 0, 0.0, 0.0), [*good, *absent], True) is not None
    for index, array in enumerate(good):
        if array is None:
            continue
        bad = [*good[:index], array[:-1], *good[index + 1 :], *absent]
        with pytest.raises(ValueError, match=f"array {index} has"):
            make(sizes, 100.0, (0, 0, 0, 0.0, 0.0), bad, True)
    for index in (0, 1, 5, 7, 8):  # a weight that the model needs is missing
        bad = [*good[:index], None, *good[index + 1 :], *absent]
        with pytest.raises(ValueError, match="contradict"):
            make(sizes, 100.0, (0, 0, 0, 0.0, 0.0), bad, True)
    with pytest.raises(IndexError):
        make(sizes, 100.0, (0, 0, 0, 0.0, 0.0), good, True)
    for largest in (0, 5):  # a largest budget that is no budget of this window
        with pytest.raises(ValueError, match="contradict"):
            make((*sizes[:10], largest, *sizes[11:]), 100.0, (0, 0, 0, 0.0, 0.0), [*good, *absent], True)
    windows = (*sizes[:12], 2, *sizes[13:])  # two windows with biases of their own, four slots each
    for count, found in ((8, None), (7, "array 11 has"), (None, "contradict")):
        own = None if count is None else np.zeros(count, dtype=np.float32)
        with contextlib.nullcontext() if found is None else pytest.raises(ValueError, match=found):
            make(windows, 100.0, (0, 0, 0, 0.0, 0.0), [*good, None, own, *absent[2:]], True)
    several = (*sizes[:11], 2, *sizes[12:])
    gate = good[7:]
    with pytest.raises(ValueError, match="contradict"):  # two gates, and not which budgets are the second's
        make(several, 100.0, (0, 0, 0, 0.0, 0.0), [*good, None, None, *gate, *absent], True)
    good[6] = np.array([2], dtype=np.uint32)
    assert make(several, 100.0, (0, 0, 0, 0.0, 0.0), [*good, None, None, *gate, *absent], True) is not None
    with pytest.raises(TypeError):
        c_stream.extension().Stream(3)


def test_a_skipped_input_and_a_start_cost_next_to_nothing(
    folder: Path,
) -> None:
    """A skip within ten empty passes of a loop (about 0.2 µs); a start within 0.1 s of processor time."""
    stream = StreamModel.load(folder, engine="c").create_stream(OperatingPoint(0))

    def skip_all(count: int = 1000) -> None:
        for _ in range(count):
            if stream.needs_input:
                stream.process(None)
            else:
                stream.skip()

    def empty(count: int = 1000) -> None:
        for _ in range(count):
            if count is None:
                count.real()

    best = {skip_all: np.inf, empty: np.inf}
    for _ in range(60):
        for action in best:
            start = time.perf_counter()
            action()
            best[action] = min(best[action], time.perf_counter() - start)
    assert best[skip_all] / best[empty] < 10, best

    code = (
        "import sys, time, numpy; start = time.process_time(); import skipw; skipw.StreamModel.load({!r});"
        "print(time.process_time() - start, 'torch' in sys.modules)"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code.format(str(folder))], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(4)
    ]
    assert all(torch_loaded == "False" for _, torch_loaded in said)
    assert min(float(seconds) for seconds, _ in said) < 0.1, said


SCRIPT = """
import copy, gc, sys
import numpy as np
from skipw import OperatingPoint, StreamModel
from skipw.runtime.c import stream as c_stream
model = StreamModel.load(sys.argv[1], engine="c")
frames = np.random.default_rng(0).normal(300, 90, size=(400, 36))
for variant in ("plain", "avx2", "avx512"):
    c_stream.extension().choose(variant)
    stream = model.create_stream(OperatingPoint(3, 0.3))
    for t, frame in enumerate(frames):
        if t % 37 == 5:
            stream.set_operating_point(OperatingPoint(t % 9, 0.1 * (t % 10)))
        if t % 50 == 3:
            stream = copy.deepcopy(stream)
        kinds = (frame, frame.astype("f"), frame.tolist(), frame[::-1].copy()[::-1])
        if stream.needs_input:
            for bad in (np.full(36, np.nan), frame[:-1], "x", None, [], np.zeros((2, 36))):
                try:
                    stream.process(bad)
                    raise SystemExit("accepted")
                except ValueError:
                    pass
            stream.process(kinds[t % 4])
        else:
            stream.skip()
        stream.plan, stream.output(), stream.usage
    stream.reset()
for _ in range(50):
    StreamModel.load(sys.argv[1], engine="c").create_stream()
gc.collect()
print("done", [line.split()[-1] for line in open("/proc/self/maps") if "_stream" in line][0])
"""


@pytest.mark.slow
def test_the_module_keeps_to_its_memory(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason := sanitized.missing(sanitized.ADDRESS):
        pytest.skip(reason)
    library = tmp_path / "_stream.abi3.so"
    # The compiler's fake stack, which finds uses after return, is not aligned for vectors of 64 bytes.
    address = dataclasses.replace(sanitized.ADDRESS, options={"ASAN_OPTIONS": "detect_leaks=0"})
    made, said = build.build(library, extra=address.flags)
    assert made, said
    script = tmp_path / "script.py"
    script.write_text(f"import os; os.environ['SKIPW_STREAM_LIBRARY'] = {str(library)!r}\n{SCRIPT}")
    done = sanitized.run(address, [sys.executable, str(script), str(folder)])
    assert done.returncode == 0 and done.stdout.strip() == f"done {library}", done.stdout[-3000:]
