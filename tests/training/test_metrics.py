from __future__ import annotations

import numpy as np
import pytest
import torch

from skipw.errors import ParamsError, ShapeError
from skipw.models.metrics import accuracy, measure, mse, paper_mse


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_measures_on_arrays_and_tensors(kind) -> None:  # type: ignore[no-untyped-def]
    scores = kind(np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.5, 0.5]], dtype=np.float32))
    assert accuracy(scores, kind(np.array([1, 0, 0, 0]))) == 0.75  # of equal scores the first counts
    predictions = kind(np.array([[1.0], [2.0]], dtype=np.float32))
    targets = kind(np.array([1.0, 0.0], dtype=np.float32))
    assert mse(predictions, targets) == 2.0
    assert mse(predictions[:, 0], targets) == 2.0
    assert paper_mse(predictions, targets) == 1.0


def test_wrong_shapes_and_names_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\[3\] and \[4\]"):
        mse(np.zeros(3), np.zeros(4))
    with pytest.raises(ShapeError, match="accuracy"):
        accuracy(np.zeros((0, 2)), np.zeros(0))
    with pytest.raises(ParamsError, match="unknown metric 'f1'"):
        measure("f1", np.zeros((1, 2)), np.zeros(1))
