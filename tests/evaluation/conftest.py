"""Small models with random weights, and splits; what they answer is arbitrary, what must hold is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from skipw.data.prepared import Split
from skipw.evaluation.grid import Identity
from skipw.models.task import Architecture, SequenceModel


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def split() -> Split:
    """40 sequences of at most 11 inputs of width 3, three classes, of various lengths."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(40, 11, 3)).astype(np.float32)
    lengths = rng.integers(1, 12, size=40)
    lengths[:10] = 11
    return Split(inputs, rng.integers(0, 3, size=40), lengths)


def _model(kind: str, **changes: object) -> SequenceModel:
    """An untrained model with a lively gate: importances on both sides of 0.5."""
    torch.manual_seed(1)
    values: dict = {
        "model": kind, "input_size": 3, "num_outputs": 3, "task": "classification", "hidden_size": 6,
        "window": 4 if kind == "skipw" else None, "gate_bias": 0.0,
    }  # fmt: skip
    model = Architecture(**(values | changes)).build()
    if hasattr(model.rnn, "gate"):
        with torch.no_grad():
            model.rnn.gate.weight.normal_(0, 1.5)
    return model.eval()


def _identity(model: SequenceModel, name: str | None = None) -> Identity:
    description = {
        "architecture": model.architecture.to_json(), "dataset": "toy", "data_source": "generated",
        "cost_per_input": 0.01,
    }  # fmt: skip
    kind = name or model.architecture.model
    return Identity.of(description, 4, experiment=f"toy-{kind}", model=kind)


@pytest.fixture
def make_model() -> Callable[..., SequenceModel]:
    return _model


@pytest.fixture
def make_identity() -> Callable[..., Identity]:
    return _identity
