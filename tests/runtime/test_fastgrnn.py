"""A FastGRNN streams in numpy as the reference computes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import skipw
from skipw import OperatingPoint, StreamModel
from tests.runtime.test_batch_parity import inputs


@pytest.mark.parametrize("kind", [skipw.SkipW, skipw.ThrRNN, skipw.DenseRNN])
def test_the_stream_is_the_batch(
    lively: Any, walk: Any, assert_agrees: Any, kind: Any, tmp_path: Path
) -> None:
    rnn = lively(kind, "fastgrnn", 2, **({"window": 7} if kind is skipw.SkipW else {}))
    x = inputs()
    point = OperatingPoint(3, 0.4) if kind is skipw.SkipW else None
    model = StreamModel.from_model(rnn)
    assert model.engine == "numpy"
    trace = walk(model.create_stream(point), x[0].numpy())
    assert_agrees(trace, rnn(x, backend="reference", **({} if point is None else {"at": point})))
    assert trace.updates.any()
    assert trace.updates.all() == (kind is skipw.DenseRNN)
    model.save(tmp_path)
    assert_agrees(walk(StreamModel.load(tmp_path).create_stream(point), x[0].numpy()), rnn(
        x, backend="reference", **({} if point is None else {"at": point})
    ))  # fmt: skip
