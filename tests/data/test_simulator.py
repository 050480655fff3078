"""Simulated poses have the real set's shape, counts and flaws, and can be learnt, but not from one frame."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from skipw.data.actions import CYCLES, Style, perform
from skipw.data.atomic import write_json
from skipw.data.cameras import CAMERAS, observe
from skipw.data.har import ACTIONS, missing_value, prepare_har, read_folder
from skipw.data.prepared import load_split
from skipw.data.recordings import find_recordings
from skipw.data.simulator import PEOPLE, WINDOWS, plan, record, write_data_set
from skipw.data.stick_figure import BONES, JOINTS, Body, joint_places


def places_of(action: str, seed: int = 0, num_frames: int = 120) -> tuple[Body, np.ndarray]:
    rng = np.random.default_rng(seed)
    body = Body.draw(rng)
    posture = perform(action, body, Style.draw(body, rng), num_frames, rng)
    return body, joint_places(body, posture, np.zeros(num_frames), np.zeros((num_frames, 2)))


def test_the_plan_has_the_real_sets_counts() -> None:
    recordings = plan()
    assert len(recordings) == 1438
    assert np.mean([r.num_frames for r in recordings]) == pytest.approx(147, abs=1)
    for split, per_class in WINDOWS.items():
        for action, count in enumerate(per_class):
            assert sum(r.windows for r in recordings if (r.split, r.action) == (split, action)) == count
    assert {r.person for r in recordings} == set(range(PEOPLE))
    assert sum(sum(counts) for counts in WINDOWS.values()) == 22_625 + 5_751
    assert set(CYCLES) == set(ACTIONS)


def test_no_test_performance_is_seen_in_training() -> None:
    recordings = plan()
    seen = {
        s: {(r.person, r.action, r.repetition) for r in recordings if r.split == s} for s in ("train", "test")
    }
    assert not seen["train"] & seen["test"]
    assert len(seen["test"]) == PEOPLE * len(ACTIONS)


def test_no_val_performance_is_seen_in_training(simulated: Path, tmp_path: Path) -> None:
    """All cameras' recordings of a performance have one name, and val takes all of them or none."""
    recordings = [r for r in plan(windows={"train": (240,) * 6, "test": (60,) * 6}) if r.split == "train"]
    expected = [(r.person, r.action, r.repetition) for r in recordings for _ in range(r.windows)]
    names = (simulated / "groups_train.txt").read_text().split()
    assert len(set(zip(names, expected, strict=True))) == len(set(names)) == len(set(expected))

    raw, out = tmp_path / "raw/har", tmp_path / "prepared/har"
    shutil.copytree(simulated, raw)
    part = {"title": "Simulated", "data_source": "har-simulator", "classes": list(ACTIONS)}
    write_json(raw / "source.json", {**part, "dataset": "har", "parts": {"poses": part}})
    prepare_har(raw, out, seed=0, val_share=0.15, normaliser="none")
    inputs = read_folder(simulated, len(ACTIONS))["train"].inputs
    name_of = {x.tobytes(): name for x, name in zip(inputs, names, strict=True)}
    train, val = ({name_of[x.tobytes()] for x in load_split(out, s).inputs} for s in ("train", "val"))
    assert not train & val
    assert len(train | val) == len(set(names))


def test_the_files_follow_the_format(simulated: Path) -> None:
    poses = read_folder(simulated, len(ACTIONS))
    assert poses["train"].inputs.shape == (1440, 32, 36)
    assert poses["test"].inputs.shape == (360, 32, 36)
    recordings = find_recordings(poses["test"].inputs)
    assert recordings.max() + 1 == 288
    assert missing_value(poses["train"].inputs) == 0.0


def test_about_a_twentieth_of_the_joints_is_missing_in_runs(simulated: Path) -> None:
    joints = read_folder(simulated, len(ACTIONS))["train"].inputs.reshape(1440, 32, 18, 2)
    missing = (joints == 0).all(axis=-1)
    assert 0.03 < missing.mean() < 0.08
    again = missing[:, 1:][missing[:, :-1]].mean()
    assert again > 5 * missing.mean(), "drop-outs last"
    nose = missing[:, :, 0].mean(axis=1)
    assert (nose > 0.3).mean() > 0.1, "from behind the face is hidden"
    assert (nose == 0.0).mean() > 0.4


def test_coordinates_are_pixels_with_one_decimal(simulated: Path) -> None:
    joints = read_folder(simulated, len(ACTIONS))["test"].inputs.reshape(-1, 2).astype(np.float64)
    seen = joints[~(joints == 0).all(axis=1)]
    np.testing.assert_allclose(seen * 10, np.round(seen * 10), atol=1e-3)
    assert (seen > 0).all()
    assert (seen[:, 0] < 640).all()
    assert (seen[:, 1] < 480).all()


@pytest.mark.parametrize("action", ACTIONS)
def test_bones_keep_their_length(action: str) -> None:
    body, places = places_of(action)
    lengths = {(a, b): np.linalg.norm(places[:, a] - places[:, b], axis=-1) for a, b in BONES}
    for pair, expected in (((3, 4), body.forearm), ((2, 3), body.upper_arm), ((6, 7), body.forearm)):
        np.testing.assert_allclose(lengths[pair], expected, rtol=1e-6)
    for thigh, shank in (((8, 9), (9, 10)), ((11, 12), (12, 13))):
        np.testing.assert_allclose(lengths[thigh], body.thigh, rtol=0.02)
        np.testing.assert_allclose(lengths[shank], body.shank, rtol=0.02)
    assert np.isfinite(places).all()


def heights(action: str, joint: str, seed: int) -> np.ndarray:
    body, places = places_of(action, seed)
    return places[30:90, JOINTS.index(joint), 1] / body.height


@pytest.mark.parametrize("seed", range(5))
def test_actions_look_like_their_names(seed: int) -> None:
    ankle = "right ankle"
    assert heights("JUMPING", ankle, seed).max() > heights("BOXING", ankle, seed).max() + 0.06
    for wrist in ("right wrist", "left wrist"):
        assert heights("WAVING_2HANDS", wrist, seed).mean() > 0.8
        assert 0.45 < heights("CLAPPING_HANDS", wrist, seed).mean() < 0.85
    one = sorted(heights("WAVING_1HAND", f"{side} wrist", seed).mean() for side in ("right", "left"))
    assert one[0] < 0.65 < 0.8 < one[1]
    spread = np.ptp(places_of("JUMPING_JACKS", seed)[1][30:90, JOINTS.index(ankle), 0])
    assert spread > 3 * np.ptp(places_of("WAVING_2HANDS", seed)[1][30:90, JOINTS.index(ankle), 0])


def test_a_recording_starts_and_ends_standing_still() -> None:
    _, places = places_of("WAVING_2HANDS", seed=1)
    wrists = places[:, JOINTS.index("right wrist"), 1]
    assert max(wrists[0], wrists[-1]) < wrists[40:80].min()


def test_nearer_people_are_larger_and_the_back_camera_swaps_sides() -> None:
    point = np.array([[0.0, 1.7, 0.0], [0.0, 0.1, 0.0], [0.2, 1.4, 0.0]])
    for camera in CAMERAS:
        pixels, _ = camera.project(point)
        closer, _ = camera.project(point + 0.5 * (camera.axes()[0] - point.mean(axis=0)) * [1, 0, 1])
        assert np.ptp(closer[:, 1]) > 1.3 * np.ptp(pixels[:, 1])
    front, back = (camera.project(point)[0] for camera in (CAMERAS[0], CAMERAS[3]))
    assert front[2, 0] > 320 > back[2, 0]


def test_noise_is_a_few_pixels() -> None:
    _, places = places_of("CLAPPING_HANDS", seed=2)
    seen = observe(CAMERAS[0], places, np.random.default_rng(0))
    exact, _ = CAMERAS[0].project(places)
    error = np.linalg.norm(seen - exact, axis=-1)[~(seen == 0).all(axis=-1)]
    assert 0.5 < np.median(error) < 4.0


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    recordings = plan()[:3]
    first, second = record(recordings), record(recordings)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], record(recordings, seed=1)[0])


def test_impossible_counts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot share"):
        write_data_set(tmp_path, windows={"train": (1,) * 6, "test": (60,) * 6})
    assert list(tmp_path.iterdir()) == []


def test_the_actions_can_be_told_apart_but_not_from_one_frame(simulated: Path) -> None:
    linear_model = pytest.importorskip(
        "sklearn.linear_model", reason="scikit-learn judges whether it is learnable"
    )
    from skipw.data.har import fit_normaliser

    poses = read_folder(simulated, len(ACTIONS))
    normalise = fit_normaliser("standard", poses["train"].inputs)
    train, test = normalise(poses["train"].inputs), normalise(poses["test"].inputs)

    def accuracy(features: np.ndarray, others: np.ndarray) -> float:
        model = linear_model.LogisticRegression(max_iter=60, tol=0.1).fit(features, poses["train"].labels)
        return float(model.score(others, poses["test"].labels))

    one = accuracy(train[:, 16], test[:, 16])
    many = accuracy(
        np.concatenate([train.mean(1), train.std(1)], 1), np.concatenate([test.mean(1), test.std(1)], 1)
    )
    assert 0.4 < one < 0.9
    assert many > one + 0.05
