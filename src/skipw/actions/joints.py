"""BlazePose's 33 points as OpenPose's 18 joints, in the order of the HAR sets."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skipw.actions.pose_network import Body
from skipw.data.stick_figure import JOINTS

__all__ = ["BLAZEPOSE", "LEAST_VISIBILITY", "NUM_VALUES", "to_openpose"]

# Of BlazePose's points those that OpenPose has too. Left and right are the person's own in both.
BLAZEPOSE = {
    "nose": (0,),
    "neck": (11, 12),  # OpenPose's neck lies between the shoulders; BlazePose has none
    "right shoulder": (12,), "right elbow": (14,), "right wrist": (16,),
    "left shoulder": (11,), "left elbow": (13,), "left wrist": (15,),
    "right hip": (24,), "right knee": (26,), "right ankle": (28,),
    "left hip": (23,), "left knee": (25,), "left ankle": (27,),
    "right eye": (5,), "left eye": (2,), "right ear": (8,), "left ear": (7,),
}  # fmt: skip
NUM_VALUES = 2 * len(JOINTS)
LEAST_VISIBILITY = 0.5


def to_openpose(
    body: Body | None, size: tuple[int, int], missing: float | None, *, least: float = LEAST_VISIBILITY
) -> npt.NDArray[np.float64]:
    """A pose as a model of a HAR set reads it.

    Args:
        body: what BlazePose found; None: nobody.
        size: (width, height) of the image in pixels; a joint outside it was not seen.
        missing: what both coordinates of an unseen joint are (``Normaliser.missing``); None: the model knows no
            unseen joints, so guessed places are given, and nobody is all zeros.
        least: visibility below which a joint was not seen.
    Returns:
        Float[36]: x, y in pixels of each of ``stick_figure.JOINTS``.
    """
    if body is None:
        return np.full(NUM_VALUES, 0.0 if missing is None else missing)
    rows = [list(BLAZEPOSE[name]) for name in JOINTS]
    pose = np.stack([body.points[row].mean(axis=0) for row in rows])
    if missing is not None:
        visible = np.array([body.visibility[row].min() >= least for row in rows])
        inside = ((pose >= 0) & (pose < size)).all(axis=1)
        pose[~(visible & inside)] = missing
    return pose.reshape(-1)
