"""Random models with gates that open and close, and ways to run a stream over a whole sequence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import skipw
from skipw.runtime.stream import Stream, StreamModel

Array = np.ndarray


class Trace(NamedTuple):
    """Bool[T] and Float[T, N]: what a stream processed, and its output after each input."""

    updates: Array
    outputs: Array


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _lively(kind: type[Any], cell: str = "gru", layers: int = 1, seed: int = 0, **settings: Any) -> Any:
    torch.manual_seed(seed)
    rnn = kind(cell, 5, 9, layers, **settings)
    with torch.no_grad():
        if hasattr(rnn, "gate"):
            rnn.gate.weight.normal_(0, 1.2)
            rnn.gate.bias.fill_(0.0 if kind is skipw.SkipW else -0.6)
    return rnn.eval()


def _walk(stream: Stream, x: Any, switches: Mapping[int, Any] | None = None) -> Trace:
    updates, outputs = [], []
    for t, frame in enumerate(x):
        if switches and t in switches:
            stream.set_operating_point(switches[t])
        due = stream.needs_input
        if due:
            stream.process(frame)
        else:
            stream.skip()
        updates.append(due)
        outputs.append(stream.output())
    return Trace(np.array(updates), np.array(outputs))


def _assert_agrees(trace: Trace, batch: Any, tolerance: float = 1e-5) -> None:
    np.testing.assert_array_equal(trace.updates, batch.updates[0].numpy(), err_msg="updates")
    expected = batch.output[0].detach().numpy()
    np.testing.assert_allclose(trace.outputs, expected, rtol=0, atol=tolerance, err_msg="output")


@pytest.fixture
def lively() -> Callable[..., Any]:
    """``lively(skipw.SkipW, "lstm", layers, window=7)``: D = 5, N = 9."""
    return _lively


@pytest.fixture
def walk() -> Callable[..., Trace]:
    """``walk(stream, x, {t: point})``: the right verb for each input of ``x`` Float[T, D]."""
    return _walk


@pytest.fixture
def assert_agrees() -> Callable[..., None]:
    """``assert_agrees(trace, batch)``: updates identical, outputs within 1e-5."""
    return _assert_agrees


@pytest.fixture(params=["c", "numpy"])
def engine(request: pytest.FixtureRequest) -> str:
    """ "c": whatever serves by itself, which is the C step for all but float64 and selectors that draw."""
    return "numpy" if request.param == "numpy" else "auto"


@pytest.fixture
def stream_of(engine: str) -> Callable[..., Stream]:
    """``stream_of(module, point)``, by either engine."""
    return lambda module, point=None, **options: StreamModel.from_model(module, engine=engine).create_stream(
        point, **options
    )
