"""Error measures of scores against targets, on numpy arrays and on torch tensors alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skipw.errors import ParamsError, ShapeError

__all__ = ["HIGHER_IS_BETTER", "METRICS", "accuracy", "measure", "mse", "paper_mse"]


def accuracy(scores: Any, targets: Any) -> float:
    """Share of the rows whose largest score is the target's; the first of equal scores counts.

    Args:
        scores: Float[n, classes].
        targets: Int[n].
    Raises:
        ShapeError: if the shapes don't fit or there are no rows.
    """
    if scores.ndim != 2 or targets.ndim != 1 or len(scores) != len(targets) or not len(targets):
        raise ShapeError(f"accuracy takes scores [n, classes] and targets [n], {_shapes(scores, targets)}.")
    return float((scores.argmax(-1) == targets).sum()) / len(targets)


def mse(scores: Any, targets: Any) -> float:
    """Mean of the squared errors, summed in double precision.

    Args:
        scores: Float[n] or Float[n, 1].
        targets: Float[n].
    Raises:
        ShapeError: if the shapes don't fit or there are no rows.
    """
    if scores.ndim == 2 and scores.shape[1] == 1:
        scores = scores[:, 0]
    if scores.ndim != 1 or targets.ndim != 1 or len(scores) != len(targets) or not len(targets):
        raise ShapeError(f"mse takes scores [n] or [n, 1] and targets [n], {_shapes(scores, targets)}.")
    errors = _double(scores) - _double(targets)
    return float((errors * errors).sum()) / len(targets)


def paper_mse(scores: Any, targets: Any) -> float:
    """Half of :func:`mse`: the figure that the paper calls MSE (paper/READINGS.md, Adding)."""
    return mse(scores, targets) / 2


METRICS: dict[str, Callable[[Any, Any], float]] = {"accuracy": accuracy, "mse": mse, "paper_mse": paper_mse}
HIGHER_IS_BETTER = {"accuracy": True, "mse": False, "paper_mse": False}


def measure(metric: str, scores: Any, targets: Any) -> float:
    """The value of the named metric.

    Raises:
        ParamsError: if there is no metric of that name.
    """
    if metric not in METRICS:
        raise ParamsError(f"unknown metric {metric!r}; expected one of {', '.join(METRICS)}.")
    return METRICS[metric](scores, targets)


def _double(values: Any) -> Any:
    return values.double() if hasattr(values, "double") else values.astype("float64")


def _shapes(scores: Any, targets: Any) -> str:
    return f"got {list(scores.shape)} and {list(targets.shape)}"
