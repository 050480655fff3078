"""Non-dominated operating points, the knee, the aliases and the hypervolume of a front.

A point has a cost (the share of inputs processed; lower is better) and a gain (accuracy, or minus the error;
higher is better). Everything here is a pure function of arrays; nothing knows of files, models or data sets.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skipw.errors import ShapeError

__all__ = ["ALIASES", "aliases", "hypervolume", "knee", "non_dominated"]

#: In the order in which they are joined when one point holds several.
ALIASES = ("most-accurate", "knee", "cheapest")


def _checked(cost: ArrayLike, gain: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    costs, gains = np.asarray(cost, dtype=np.float64), np.asarray(gain, dtype=np.float64)
    if costs.ndim != 1 or costs.shape != gains.shape:
        raise ShapeError(
            f"cost and gain must be vectors of one length, got shapes {costs.shape} and {gains.shape}; "
            "pass one number a point in each."
        )
    return costs, gains


def non_dominated(cost: ArrayLike, gain: ArrayLike) -> NDArray[np.int64]:
    """Indices of the points that no other point beats, by ascending cost.

    Point a dominates point b if it costs no more, gains no less, and is strictly better in one of the two. Of
    points that are equal in both the one that stands first is kept, so the result has strictly rising costs
    and gains. A point that is not finite is never kept.

    Args:
        cost: Float[n], lower is better.
        gain: Float[n], higher is better.
    Returns:
        Int64[m], m <= n; empty only if no point is finite.
    Raises:
        ShapeError: if the two are not vectors of one length.
    """
    costs, gains = _checked(cost, gain)
    finite = np.flatnonzero(np.isfinite(costs) & np.isfinite(gains))
    order = finite[np.lexsort((finite, -gains[finite], costs[finite]))]
    kept: list[int] = []
    best = -np.inf
    for index in order:
        if gains[index] > best:
            kept.append(int(index))
            best = gains[index]
    return np.asarray(kept, dtype=np.int64)


def knee(cost: ArrayLike, gain: ArrayLike) -> int:
    """Index of the point of a front that lies farthest from the chord of the normalised front.

    Costs and gains are scaled to [0, 1] over the front; the chord joins its cheapest and its most accurate
    point. Where all points lie on the chord, the most accurate end is returned.
    The distance has no sign (DESIGN): where a front bends inwards, its knee may be a point below the chord, a poor
    one. ``pareto.min_gain`` keeps points that are hardly better than a constant answer off the front.

    Args:
        cost: Float[m] of a front, m >= 1.
        gain: Float[m] of the same points.
    Returns:
        an index into the front.
    Raises:
        ShapeError: if the front is empty or the two are not vectors of one length.
    """
    costs, gains = _checked(cost, gain)
    if not len(costs):
        raise ShapeError("the knee of a front needs at least one point, got none.")
    end = int(np.argmax(gains))
    width, height = np.ptp(costs), np.ptp(gains)
    if width == 0 or height == 0:
        return end
    distance = np.abs((gains - gains.min()) / height - (costs - costs.min()) / width)
    farthest = int(np.argmax(distance))
    return farthest if distance[farthest] > 1e-12 else end


def aliases(cost: ArrayLike, gain: ArrayLike) -> dict[str, int]:
    """The index of the point that holds each alias of ``ALIASES``; empty for an empty front.

    Args:
        cost: Float[m] of a front.
        gain: Float[m] of the same points.
    Raises:
        ShapeError: if the two are not vectors of one length.
    """
    costs, gains = _checked(cost, gain)
    if not len(costs):
        return {}
    return {
        "most-accurate": int(np.argmax(gains)),
        "knee": knee(costs, gains),
        "cheapest": int(np.argmin(costs)),
    }


def hypervolume(
    cost: ArrayLike, gain: ArrayLike, worst: tuple[float, float], best: tuple[float, float]
) -> float:
    """The share of the rectangle between ``worst`` and ``best`` that the points dominate (Zitzler & Thiele,
    1998).

    Args:
        cost: Float[n]; the points need not be a front.
        gain: Float[n].
        worst: (cost, gain) of the reference point; points no better than it in either count nothing.
        best: (cost, gain) of an ideal point, for example no cost and no error.
    Returns:
        a number in [0, 1] if no point is better than ``best``.
    Raises:
        ShapeError: if the rectangle is empty, or cost and gain are not vectors of one length.
    """
    costs, gains = _checked(cost, gain)
    area = (worst[0] - best[0]) * (best[1] - worst[1])
    if not (worst[0] > best[0] and best[1] > worst[1]):
        raise ShapeError(f"the best point {best} must cost less and gain more than the worst {worst}.")
    front = non_dominated(costs, gains)
    front = front[(costs[front] < worst[0]) & (gains[front] > worst[1])]
    heights = np.diff(np.concatenate([[worst[1]], gains[front]]))
    return float(np.sum((worst[0] - costs[front]) * heights) / area)
