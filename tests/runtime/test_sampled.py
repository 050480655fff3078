"""Bundles of the sampling baselines: a stream leaves out what the baseline was measured without."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from skipw import OperatingPoint
from skipw.data.normaliser import Normaliser
from skipw.errors import BudgetError, ParamsError, StreamOrderError
from skipw.models.baselines import periodic_updates
from skipw.models.saved import load_model
from skipw.runtime.bundle import write_bundle
from tests.runtime.test_bundle import ORIGIN, POINTS, sequences, trained

pytest.importorskip("onnx", reason="the extra `edge` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `edge` is not installed")


@pytest.mark.parametrize("engine", ["auto", "onnx"])
@pytest.mark.parametrize(("kind", "rate"), [("periodic", 0.3), ("random", 0.4), ("periodic", 0.0)])
def test_a_sampling_baseline_leaves_inputs_out(tmp_path: Path, kind: str, rate: float, engine: str) -> None:
    model = trained(tmp_path / "model", "random")
    origin = dataclasses.replace(ORIGIN, sampling=kind, rate=rate)
    own = write_bundle(tmp_path / "bundle", model, origin, point=None, points=POINTS, examples=sequences())
    assert f"a share of {rate:.3g} of the inputs" in (own.folder / "README.md").read_text()
    stream, x = own.create_stream(engine=engine, seed=1), np.asarray(sequences(steps=40)[0])
    mask = []
    for frame in x:
        mask.append(stream.needs_input)
        if stream.needs_input:
            with pytest.raises(StreamOrderError, match="is to be processed"):
                stream.skip()
            stream.process(frame)
        else:
            with pytest.raises(StreamOrderError, match="is to be skipped"):
                stream.process(frame)
            stream.skip()
    if kind == "periodic":
        assert mask == periodic_updates(torch.tensor([40]), 40, rate)[0].tolist()
    assert stream.usage.processed == sum(mask) and abs(sum(mask) - 40 * rate) < 8
    loaded, description = load_model(own.folder)
    inputs = torch.from_numpy(Normaliser.from_json(description["normaliser"])(x)).unsqueeze(0)
    with torch.inference_mode():
        expected = loaded(inputs, updates=torch.tensor([mask]), backend="reference").scores[0]
    np.testing.assert_allclose(stream.output(), expected.numpy(), rtol=0, atol=1e-5)
    stream.reset()
    assert (stream.usage.inputs, stream.usage.processed) == (0, 0)
    said = f"this {kind} baseline processes a share of {rate:g} of the inputs"
    with pytest.raises(BudgetError, match=said):
        stream.set_operating_point(OperatingPoint())
    with pytest.raises(BudgetError, match=said):
        own.create_stream(OperatingPoint(2), engine=engine)
    with pytest.raises(ParamsError, match="engine must be one of auto, c, numpy, onnx"):
        own.create_stream(engine="gpu")
