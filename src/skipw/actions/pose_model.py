"""BlazePose from frame to frame: the person is sought where they last were, and in the whole image otherwise.

Skipped frames make "last" longer ago: the older it is, the wider the place that is searched.
"""

from __future__ import annotations

from skipw.actions.pose_files import PoseFiles
from skipw.actions.pose_network import Body, Detector, LandmarkNetwork
from skipw.actions.region import Image

__all__ = ["PoseModel", "margin"]

MARGIN = 1.25  # BlazePose's own, around a person of the frame before
WIDER = 0.005  # of the margin, for each frame that was skipped since; more blurs the joints (docs/actions.md)
WIDEST = 1.5
MAX_AGE = 44  # frames (2 s at 22 Hz) after which a person is sought anew


def margin(age: int) -> float:
    """How much larger than the person the searched region is, ``age`` frames after the last processed one."""
    return min(MARGIN * (1.0 + WIDER * (age - 1)), WIDEST)


class PoseModel:
    """Finds the joints of one person in the frames of one camera.

    Args:
        files: of the two networks.
        threads: of each network.
        least_presence: in [0, 1]; below it a region holds nobody.
    Attributes:
        calls: of ``find``.
        detections: whole images that were searched; at most one a call.
        landmark_runs: regions that were searched; at most two a call.
    """

    def __init__(self, files: PoseFiles, *, threads: int = 1, least_presence: float = 0.5) -> None:
        self._detector = Detector(files.detector, threads=threads)
        self._network = LandmarkNetwork(files.landmarks, threads=threads)
        self._least = least_presence
        self._body: Body | None = None
        self.calls = self.detections = self.landmark_runs = 0

    def find(self, image: Image, age: int = 1) -> Body | None:
        """The person in a frame.

        Args:
            image: RGB, UInt8[H, W, 3].
            age: frames since the last call, 1 if it was for the frame before.
        Returns:
            their joints; None if nobody is there.
        """
        self.calls += 1
        body = None
        if self._body is not None and age <= MAX_AGE:
            self.landmark_runs += 1
            body = self._network.find(image, self._body.region.enlarged(margin(age)))
        if body is None or body.presence < self._least:
            body = self._sought(image)
        self._body = body if body is not None and body.presence >= self._least else None
        return self._body

    def _sought(self, image: Image) -> Body | None:
        """The person, from the whole image."""
        self.detections += 1
        region = self._detector.find(image)
        if region is None:
            return None
        self.landmark_runs += 1
        return self._network.find(image, region.enlarged(MARGIN))

    def reset(self) -> None:
        """Forget the person: the next frame comes from elsewhere. The counters go on."""
        self._body = None
