"""The service: the batch result on the same poses; skipped frames skip everything; the bound holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import skipw
from skipw.actions.film import film, write_video
from skipw.actions.frames import ImageFolder, open_frames
from skipw.actions.joints import to_openpose
from skipw.actions.pose_files import PoseFiles
from skipw.actions.pose_model import PoseModel
from skipw.actions.region import Image
from skipw.actions.service import ActionService, FrameResult
from skipw.data.normaliser import Normaliser
from skipw.errors import ShapeError
from skipw.operating_point import OperatingPoint
from tests.actions.conftest import ABSENT, PlayedPose, small_model

cv2 = pytest.importorskip("cv2", reason=ABSENT)


class Counted:
    """Numbered frames in memory; counts those that were read."""

    def __init__(self, num_frames: int) -> None:
        self.fps, self.read_frames, self._index, self._count = None, 0, -1, num_frames

    def advance(self) -> bool:
        self._index += 1
        return self._index < self._count

    def read(self) -> Image:
        self.read_frames += 1
        return np.full((40, 40, 3), self._index, np.uint8)

    def close(self) -> None:
        """Nothing is open."""


def poses_of(num_frames: int, missing: float) -> np.ndarray[Any, Any]:
    """What the played pose network says of each frame, Float[frames, 36]."""
    played = PlayedPose()
    images = [np.full((40, 40, 3), number, np.uint8) for number in range(num_frames)]
    return np.stack([to_openpose(played.find(image), (40, 40), missing) for image in images])


@pytest.mark.parametrize("point", [OperatingPoint(8, 0.0), OperatingPoint(3, 0.0), OperatingPoint(4, 0.73)])
@pytest.mark.parametrize("missing", [0.0, -1.0])
def test_it_gives_the_batch_result_on_the_same_poses(
    tmp_path: Path, point: OperatingPoint, missing: float
) -> None:
    model = small_model(tmp_path / "model", missing=missing)
    pose, frames = PlayedPose(), Counted(76)
    service = ActionService(skipw.StreamModel.load(tmp_path / "model"), pose, point)
    results = list(service.run(frames))
    raw = poses_of(76, missing)
    normalise = Normaliser("pose", 36, clip=5.0, missing=missing)
    sequences = [raw[0:32], raw[32:64], raw[64:76]]
    with torch.no_grad():
        for number, sequence in enumerate(sequences):
            own = [result for result in results if result.sequence == number]
            y = model(torch.from_numpy(normalise(sequence))[None], at=point)
            assert [r.processed for r in own] == y.rnn.updates[0].tolist()
            expected = torch.softmax(y.scores[0].double(), -1).numpy()
            np.testing.assert_allclose(own[-1].scores, expected, atol=1e-5)
    assert pose.calls == frames.read_frames == service.totals.processed == sum(r.processed for r in results)
    assert service.stream.usage.processed == sum(r.processed for r in results if r.sequence == 2)
    assert [r.frame for r in results] == list(range(76)) and results[-1].step == 11
    if point.threshold:  # the threshold was felt, too
        assert 0 < service.totals.processed < 4 * 10


@given(budget=st.integers(0, 8), threshold=st.floats(0, 1), other=st.integers(0, 8), at=st.integers(0, 40))
def test_the_bound_holds_and_the_pose_network_sees_processed_frames_only(
    shared_model: skipw.StreamModel, budget: int, threshold: float, other: int, at: int
) -> None:
    pose, frames = PlayedPose(), Counted(44)
    service = ActionService(shared_model, pose, OperatingPoint(budget, threshold))
    results: list[FrameResult] = []
    for result in service.run(frames):
        results.append(result)
        if result.frame == at:
            service.stream.set_operating_point(OperatingPoint(other, threshold))
    most = max(sum(r.processed for r in results[i : i + 8]) for i in range(0, 44, 8))
    assert most == service.totals.max_in_window <= max(budget, other)
    assert pose.calls == frames.read_frames == service.totals.processed
    places = [r.frame for r in results if r.processed]
    assert pose.ages == [b - a for a, b in zip([-1, *places], places, strict=False)]
    assert all((r.person is None) == (not r.processed) for r in results)


@pytest.fixture(scope="module")
def shared_model(tmp_path_factory: pytest.TempPathFactory) -> skipw.StreamModel:
    folder = tmp_path_factory.mktemp("model")
    small_model(folder)
    return skipw.StreamModel.load(folder)


def test_real_frames_through_the_real_network(
    tmp_path: Path, model_folder: Path, pose_files: PoseFiles, picture: Image
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for number, frame in enumerate(film(picture, 32)):
        cv2.imwrite(str(folder / f"{number}.jpg"), frame[..., ::-1])
    model = skipw.StreamModel.load(model_folder)
    pose = PoseModel(pose_files)
    service = ActionService(model, pose, OperatingPoint(8, 0.0))
    results = list(service.run(ImageFolder(folder)))
    assert pose.calls == service.stream.usage.processed == 32
    assert all(result.processed and result.person for result in results) and len(results) == 32

    finder, frames, stream = (
        PoseModel(pose_files),
        ImageFolder(folder),
        model.create_stream(OperatingPoint(8, 0.0)),
    )
    while frames.advance():  # by hand
        image = frames.read()
        stream.process(to_openpose(finder.find(image), (image.shape[1], image.shape[0]), 0.0))
    output = stream.output().astype(float)
    expected = np.exp(output - output.max()) / np.exp(output - output.max()).sum()
    np.testing.assert_allclose(results[-1].scores, expected, atol=1e-12)


def test_a_skipped_frame_costs_next_to_nothing(
    tmp_path: Path, model_folder: Path, pose_files: PoseFiles, picture: Image
) -> None:
    path = tmp_path / "film.avi"
    write_video(path, film(picture, 40))
    pose = PoseModel(pose_files)
    service = ActionService(skipw.StreamModel.load(model_folder), pose, OperatingPoint(2, 0.0))
    cost: dict[bool, list[float]] = {True: [], False: []}
    for result in service.run(open_frames(str(path))):
        cost[result.processed].append(result.read_ms + result.pose_ms + result.rnn_ms)
    assert pose.calls == len(cost[True]) == 10
    assert pose.detections == 1  # the person was found again after every gap
    assert float(np.median(cost[False])) < 0.02 * float(np.median(cost[True]))


def test_models_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    small_model(tmp_path / "wide", input_size=50)
    with pytest.raises(ShapeError, match=r"a model of 18 joints, Float\[36\] a frame"):
        ActionService(skipw.StreamModel.load(tmp_path / "wide"), PlayedPose())
    headless = skipw.StreamModel.from_model(skipw.SkipW("gru", input_size=36, hidden_size=8, window=8))
    with pytest.raises(ShapeError, match="a model that classifies"):
        ActionService(headless, PlayedPose())


@pytest.mark.parametrize("kind", ["thrrnn", "skiprnn", "dense"])
def test_every_kind_of_model_serves(tmp_path: Path, kind: str) -> None:
    model = small_model(tmp_path / "model", model=kind)
    service = ActionService(skipw.StreamModel.load(tmp_path / "model"), PlayedPose(), None)
    results = list(service.run(Counted(32)))
    inputs = Normaliser("pose", 36, clip=5.0, missing=0.0)(poses_of(32, 0.0))
    with torch.no_grad():
        expected = torch.softmax(model(torch.from_numpy(inputs)[None]).scores[0].double(), -1).numpy()
    np.testing.assert_allclose(results[-1].scores, expected, atol=1e-5)
    assert service.totals.max_in_window is None
