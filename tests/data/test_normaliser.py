"""Normalising is the same for a frame, a sequence and a batch, and ignores missing joints."""

from __future__ import annotations

import json

import numpy as np
import pytest

from skipw.data.normaliser import Normaliser
from skipw.errors import ShapeError

POSES = np.random.default_rng(0).uniform(50, 400, size=(20, 32, 8))
POSES[3:5, :, 2:4] = 0.0

ALL = {
    "none": Normaliser("none", 8),
    "scale": Normaliser("scale", 8, mean=(1.0,) * 8, scale=(255.0,) * 8),
    "standard": Normaliser.fit_standard(POSES, missing=0.0),
    "pose": Normaliser("pose", 8, clip=5.0, missing=0.0),
}


@pytest.mark.parametrize("kind", ALL)
def test_frame_sequence_and_batch_agree_exactly(kind: str) -> None:
    normalise = ALL[kind]
    batch = normalise(POSES)
    assert batch.dtype == np.float32
    assert batch.shape == POSES.shape
    np.testing.assert_array_equal(normalise(POSES[4]), batch[4])
    np.testing.assert_array_equal(np.stack([normalise(frame) for frame in POSES[4]]), batch[4])
    np.testing.assert_array_equal(normalise(POSES.tolist()), batch)


@pytest.mark.parametrize("kind", ALL)
def test_json_gives_an_equal_normaliser_back(kind: str) -> None:
    text = json.dumps(ALL[kind].to_json(), allow_nan=False)
    assert Normaliser.from_json(json.loads(text)) == ALL[kind]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_values_and_widths_are_refused(kind: str, bad: float) -> None:
    frame = POSES[0, 0].copy()
    frame[3] = bad
    with pytest.raises(ShapeError, match="1 of 8 values"):
        ALL[kind](frame)
    with pytest.raises(ShapeError, match="8 features"):
        ALL[kind](POSES[..., :7])
    with pytest.raises(ShapeError, match="8 features"):
        ALL[kind](1.0)


def test_standardising_leaves_missing_joints_out() -> None:
    normalise = ALL["standard"]
    y = normalise(POSES)
    seen = np.delete(POSES, [3, 4], axis=0)[..., 2]
    assert normalise.mean is not None
    assert normalise.mean[2] == pytest.approx(seen.mean())
    assert (y[3:5, :, 2:4] == 0).all()
    assert y.std() == pytest.approx(1.0, abs=0.05)
    assert normalise(np.full(8, 1e6)).max() == normalise.clip


def test_a_pose_does_not_depend_on_place_and_size() -> None:
    frame = POSES[0, 0]
    moved = frame * 3 + np.tile([100.0, -20.0], 4)
    np.testing.assert_allclose(ALL["pose"](moved), ALL["pose"](frame), atol=1e-6)
    joints = ALL["pose"](frame).reshape(4, 2)
    np.testing.assert_allclose(joints.mean(axis=0), 0.0, atol=1e-6)
    assert np.sqrt((joints**2).sum(axis=1).mean()) == pytest.approx(1.0, abs=1e-6)


def test_missing_joints_do_not_move_a_pose() -> None:
    frame = np.append(POSES[0, 0, :6], [0.0, 0.0])
    whole = Normaliser("pose", 6, missing=0.0)(POSES[0, 0, :6])
    np.testing.assert_allclose(ALL["pose"](frame), np.append(whole, [0.0, 0.0]), atol=1e-6)


@pytest.mark.parametrize(
    "frame", [np.zeros(8), np.append([50.0, 60.0], np.zeros(6)), np.tile([50.0, 60.0], 4)]
)
def test_frames_without_a_size_are_all_zeros(frame: np.ndarray) -> None:
    assert (ALL["pose"](frame) == 0).all()


def test_constant_features_stay_finite() -> None:
    normalise = Normaliser.fit_standard(np.ones((10, 2)), missing=None)
    np.testing.assert_array_equal(normalise(np.ones(2)), [0.0, 0.0])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "other", "input_size": 2}, "one of none"),
        ({"kind": "none", "input_size": 0}, "at least 1"),
        ({"kind": "none", "input_size": 2, "clip": -1.0}, "clip must be positive"),
        ({"kind": "pose", "input_size": 3}, "must be even"),
        ({"kind": "scale", "input_size": 2}, "needs 2 numbers as mean"),
        ({"kind": "scale", "input_size": 2, "mean": [0, 0], "scale": [1, 0]}, "must be positive"),
        ({"kind": "scale", "input_size": 2, "mean": [0, float("nan")], "scale": [1, 1]}, "must be finite"),
        ({"kind": "none"}, "has the keys"),
        ({"kind": "none", "input_size": 2, "colour": "red"}, "has the keys"),
    ],
)
def test_impossible_normalisers_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Normaliser.from_json(values)
