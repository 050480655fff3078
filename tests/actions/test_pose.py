"""BlazePose on a real picture: the right joints at the right places, in OpenPose's order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from skipw.actions import pose_files as files_module
from skipw.actions.film import film
from skipw.actions.joints import BLAZEPOSE, to_openpose
from skipw.actions.pose_files import SHA256, PoseFiles, obtain_pose_files
from skipw.actions.pose_model import MAX_AGE, PoseModel, margin
from skipw.actions.pose_network import Body
from skipw.actions.region import Image, Region, crop, to_image
from skipw.data.archives import sha256_of
from skipw.data.stick_figure import JOINTS
from skipw.data.transfer import TransferError
from skipw.errors import ChecksumError, DataFormatError, DataUnavailableError, ParamsError
from tests.actions.conftest import ABSENT
from tests.data.conftest import tar_bytes

cv2 = pytest.importorskip("cv2", reason=ABSENT)

Joints = dict[str, npt.NDArray[np.float64]]


def joints_of(files: PoseFiles, image: Image, *, missing: float | None = None) -> Joints:
    """By name, after a second look: the first region comes from the detector and is rough."""
    model = PoseModel(files)
    model.find(image)
    pose = to_openpose(model.find(image), (image.shape[1], image.shape[0]), missing)
    return dict(zip(JOINTS, pose.reshape(18, 2), strict=True))


def shoulder_width(joints: Joints) -> float:
    return float(np.linalg.norm(joints["left shoulder"] - joints["right shoulder"]))


def test_the_joints_of_a_real_picture_are_where_a_body_has_them(
    pose_files: PoseFiles, picture: Image
) -> None:
    joints = joints_of(pose_files, picture)
    x, y = ({name: place[axis] for name, place in joints.items()} for axis in (0, 1))
    assert x["right ear"] < x["right eye"] < x["nose"] < x["left eye"] < x["left ear"]  # she faces the camera
    assert x["right shoulder"] < x["neck"] < x["left shoulder"]
    assert max(y["right eye"], y["left eye"]) < y["nose"] < min(y["right shoulder"], y["left shoulder"])
    assert y["neck"] < min(y["right hip"], y["left hip"])
    assert x["right elbow"] < x["left elbow"] and y["right shoulder"] < y["right elbow"]
    np.testing.assert_allclose(joints["neck"], (joints["left shoulder"] + joints["right shoulder"]) / 2)
    assert np.linalg.norm(joints["nose"] - (222, 120)) < 15  # read off the picture
    assert np.linalg.norm((joints["left eye"] + joints["right eye"]) / 2 - (225, 102)) < 15


def test_what_is_outside_the_picture_was_not_seen(pose_files: PoseFiles, picture: Image) -> None:
    joints = joints_of(pose_files, picture[:340], missing=-1.0)  # down to the chest
    for name in ("right knee", "left knee", "right ankle", "left ankle", "right hip", "left hip"):
        assert joints[name].tolist() == [-1.0, -1.0], name
    for name in ("nose", "neck", "right shoulder", "left shoulder", "right eye", "left ear"):
        assert (joints[name] > 0).all(), name


def test_a_mirrored_person_has_mirrored_joints(pose_files: PoseFiles, picture: Image) -> None:
    straight = joints_of(pose_files, picture)
    mirrored = joints_of(pose_files, np.ascontiguousarray(picture[:, ::-1]))
    off = []
    for name in JOINTS[:3] + JOINTS[5:6] + JOINTS[14:]:
        other = name.replace("left", "*").replace("right", "left").replace("*", "right")
        expected = np.array([picture.shape[1] - straight[other][0], straight[other][1]])
        off.append(np.linalg.norm(mirrored[name] - expected) / shoulder_width(straight))
    assert max(off) < 0.25


def test_a_turned_person_has_turned_joints(pose_files: PoseFiles, picture: Image) -> None:
    straight = joints_of(pose_files, picture)
    matrix = cv2.getRotationMatrix2D((256, 256), 35.0, 0.8)
    turned = joints_of(pose_files, cv2.warpAffine(picture, matrix, (512, 512)))
    for name in ("nose", "neck", "right shoulder", "left shoulder", "left ear"):
        expected = matrix @ np.array([*straight[name], 1.0])
        assert np.linalg.norm(turned[name] - expected) < 0.25 * 0.8 * shoulder_width(straight), name


def test_nobody_is_nobody(pose_files: PoseFiles) -> None:
    model = PoseModel(pose_files)
    rng = np.random.default_rng(0)
    for image in (np.zeros((48, 64, 3), np.uint8), rng.integers(0, 255, (480, 640, 3), np.uint8)):
        assert model.find(image) is None
    assert (model.calls, model.detections) == (2, 2)
    assert to_openpose(None, (64, 48), -1.0).tolist() == [-1.0] * 36


def test_the_person_is_followed_and_sought_again_only_when_lost(
    pose_files: PoseFiles, picture: Image
) -> None:
    model = PoseModel(pose_files)
    frames = list(film(picture, 9, seed=1))
    assert all(model.find(frame) is not None for frame in frames[::4])
    assert (model.calls, model.detections) == (3, 1)
    assert (
        model.find(np.zeros_like(frames[0])) is None
    )  # gone: the region is empty, so the whole image is searched
    assert model.detections == 2
    assert model.find(frames[-1]) is not None and model.detections == 3
    assert model.find(frames[-1], age=MAX_AGE + 1) is not None and model.detections == 4  # too long ago
    model.reset()
    assert model.find(frames[-1]) is not None and model.detections == 5


def test_an_old_place_is_searched_more_widely() -> None:
    widths = [margin(age) for age in (1, 2, 8, 16, MAX_AGE)]
    assert widths == sorted(widths) and widths[0] == 1.25 and 1.25 < widths[1] < widths[3] <= widths[4] <= 1.5


def test_a_region_is_cut_out_turned_and_points_go_back() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    image[79:82, 179:182] = 255  # a dot around pixel coordinates (180.5, 80.5)
    for region in (Region(150, 100, 160), Region(170, 90, 90, 0.6), Region(200, 60, 120, -2.5)):
        cut = crop(image, region, 128)
        rows, columns = np.nonzero(cut[..., 0] > 100)
        found = np.array([[columns.mean() + 0.5, rows.mean() + 0.5]]) / 128
        np.testing.assert_allclose(to_image(found, region)[0], (180.5, 80.5), atol=1.0)


def test_every_joint_of_openpose_has_its_points() -> None:
    points = np.arange(66, dtype=float).reshape(33, 2) + 1
    pose = to_openpose(Body(points, np.ones(33), 1.0, Region(0, 0, 1)), (100, 100), 0.0).reshape(18, 2)
    assert set(BLAZEPOSE) == set(JOINTS)
    assert pose[JOINTS.index("left wrist")].tolist() == points[15].tolist()
    assert pose[JOINTS.index("neck")].tolist() == ((points[11] + points[12]) / 2).tolist()
    hidden = np.ones(33)
    hidden[[12, 28]] = 0.49
    pose = to_openpose(Body(points, hidden, 1.0, Region(0, 0, 1)), (100, 100), 0.0).reshape(18, 2)
    unseen = {name for name, place in zip(JOINTS, pose, strict=True) if not place.any()}
    assert unseen == {"right shoulder", "neck", "right ankle"}


def test_files_come_out_of_the_package_once_and_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = {name: f"network {name}".encode() for name in files_module.IN_PACKAGE}
    asked: list[Any] = []

    def pack(package: str, version: str, partial: Path) -> Path:
        asked.append((package, version))
        archive = partial / "pose.tgz"
        archive.write_bytes(tar_bytes({f"package/{name}": data for name, data in contents.items()}, "w:gz"))
        return archive

    monkeypatch.setattr(files_module, "npm_pack", pack)
    folder = tmp_path / "cache" / "pose"
    with pytest.raises(ChecksumError, match="SHA-256 should be"):
        obtain_pose_files("lite", folder)
    assert list(folder.iterdir()) == []
    for name, target in files_module.IN_PACKAGE.items():
        path = tmp_path / "one"
        path.write_bytes(contents[name])
        monkeypatch.setitem(SHA256, target, sha256_of(path))
    kept = folder / "mine.txt"
    kept.write_text("stays")
    found = obtain_pose_files("full", folder)
    assert found.landmarks.read_bytes() == b"network pose_landmark_full.tflite"
    assert {path.name for path in folder.iterdir()} == {*SHA256, "mine.txt"}
    assert obtain_pose_files("heavy", folder).detector == found.detector and len(asked) == 2
    found.detector.write_bytes(b"damaged")
    assert obtain_pose_files("full", folder).detector.read_bytes() != b"damaged" and len(asked) == 3


def test_what_cannot_be_had_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Path:
        raise TransferError("npm is not installed")

    monkeypatch.setattr(files_module, "npm_pack", fail)
    with pytest.raises(DataUnavailableError, match=r"npm is not installed.*pose_detection\.tflite"):
        obtain_pose_files("lite", tmp_path / "pose")
    with pytest.raises(ParamsError, match="lite, full, heavy; got 'tiny'"):
        obtain_pose_files("tiny", tmp_path)
    (tmp_path / "no.tflite").write_bytes(b"no network")
    with pytest.raises(DataFormatError, match=r"no\.tflite is no \.tflite network"):
        PoseModel(PoseFiles(tmp_path / "no.tflite", tmp_path / "no.tflite"))


def test_the_page_lists_the_joints_as_they_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "actions.md").read_text(encoding="utf-8")
    found = {
        name: tuple(int(number) for number in re.findall(r"\d+", points))
        for row in re.findall(r"^\| [a-z].*\|$", page, re.M)
        for name, points in re.findall(r"([a-z]+(?: [a-z]+)?) \| ((?:mean of )?\d+(?: and \d+)?) \|", row)
    }
    assert {name: found.get(name) for name in JOINTS} == BLAZEPOSE
