"""The HAR text format, read strictly; recordings; val by whole recordings; missing joints."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from skipw.data import places
from skipw.data.har import fit_normaliser, missing_value, prepare_har, read_folder, read_frames, read_labels
from skipw.data.normaliser import Normaliser
from skipw.data.prepared import load_meta, load_split
from skipw.data.recordings import draw_recordings, find_recordings, first_recordings
from skipw.data.sources import obtain
from skipw.errors import ChecksumError, DataFormatError, DataUnavailableError, ParamsError

Edit = Callable[[list[str]], list[str]]


def rewrite(path: Path, edit: Edit) -> None:
    path.write_text("".join(line + "\n" for line in edit(path.read_text().splitlines())))


def replaced(row: int, text: str) -> Edit:
    return lambda lines: [*lines[:row], text, *lines[row + 1 :]]


def test_both_splits_are_read_as_they_stand(har_folder: Path) -> None:
    poses = read_folder(har_folder)
    assert poses["train"].inputs.shape == (24, 32, 6)
    assert poses["train"].inputs.dtype == np.float32
    assert poses["test"].labels.tolist() == [0, 0, 0, 1, 1, 1] * 2
    rows = (har_folder / "X_train.txt").read_text().splitlines()
    expected = np.array([[float(v) for v in row.split(",")] for row in rows]).reshape(24, 32, 6)
    np.testing.assert_array_equal(poses["train"].inputs, expected.astype(np.float32))


def test_packed_files_and_windows_line_ends_read_the_same(har_folder: Path, tmp_path: Path) -> None:
    plain = read_frames(har_folder / "X_train.txt")
    content = (har_folder / "X_train.txt").read_bytes()
    (tmp_path / "X.txt.xz").write_bytes(lzma.compress(content.replace(b"\n", b"\r\n") + b"\n\n"))
    np.testing.assert_array_equal(read_frames(tmp_path / "X.txt.xz"), plain)
    (tmp_path / "X.txt.xz").write_bytes(lzma.compress(content)[:-40])
    with pytest.raises(ChecksumError, match="truncated or damaged"):
        read_frames(tmp_path / "X.txt.xz")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (replaced(40, "1,2,3,4"), "line 41: has 4 columns, line 1 has 6"),
        (replaced(40, "1,2,3,4,5,6,7,8"), "line 41: has 8 columns, line 1 has 6"),
        (replaced(40, "1,2,3,4,5,dog"), "line 41: expected a finite number in column 6, got 'dog'"),
        (replaced(40, "1,2,,4,5,6"), "line 41: expected a finite number in column 3, got ''"),
        (replaced(40, "1,2,nan,4,5,6"), "line 41: expected a finite number in column 3, got 'nan'"),
        (replaced(40, "1,2,3 3,4,5,6"), "line 41: expected a finite number in column 3"),
        (replaced(40, ""), "line 41: has 1 columns, line 1 has 6"),
        (lambda lines: ["1,2,3"] * len(lines), "line 1: expected pairs x,y, got 3 columns"),
        (lambda lines: lines[:-1], "has 767 rows, expected 32 for each of the 24 labels in Y_train, 768"),
        (lambda lines: [], "is empty"),
    ],
)
def test_malformed_frames_name_file_line_and_remedy(har_folder: Path, edit: Edit, message: str) -> None:
    rewrite(har_folder / "X_train.txt", edit)
    with pytest.raises(DataFormatError) as caught:
        read_folder(har_folder)
    assert message in str(caught.value)
    assert "X_train.txt" in str(caught.value)
    assert "download.py har" in str(caught.value)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (replaced(3, "3"), "line 4: label 3 is out of range, there are 2 classes"),
        (replaced(3, "0"), "line 4: expected a label, a whole number from 1; got '0'"),
        (replaced(3, "-1"), "line 4: expected a label"),
        (replaced(3, "1.0"), "line 4: expected a label"),
        (replaced(3, ""), "line 4: expected a label"),
        (lambda lines: [], "is empty"),
    ],
)
def test_malformed_labels_name_file_line_and_remedy(har_folder: Path, edit: Edit, message: str) -> None:
    path = har_folder / "Y_train.txt"
    rewrite(path, edit)
    with pytest.raises(DataFormatError) as caught:
        read_labels(path, 2)
    assert message in str(caught.value)
    assert "Y_train.txt" in str(caught.value)
    assert "download.py har" in str(caught.value)


def test_classes_without_training_examples_are_refused_unless_named(har_folder: Path) -> None:
    rewrite(har_folder / "Y_test.txt", replaced(0, "4"))
    with pytest.raises(DataFormatError, match="labels reach 4, but 3 never occurs in Y_train"):
        read_folder(har_folder)
    assert read_folder(har_folder, 4)["test"].labels[0] == 3


def test_splits_of_different_width_are_refused(har_folder: Path) -> None:
    rewrite(har_folder / "X_test.txt", lambda lines: [f"{line},1,2" for line in lines])
    with pytest.raises(DataFormatError, match="X_train has 6 columns, X_test 8"):
        read_folder(har_folder)


def test_a_recording_ends_where_the_overlap_breaks(har_folder: Path) -> None:
    poses = read_folder(har_folder)
    assert find_recordings(poses["train"].inputs).tolist() == np.repeat(np.arange(8), 3).tolist()
    shuffled = poses["train"].inputs[np.random.default_rng(0).permutation(24)]
    assert find_recordings(shuffled).max() > 12


@pytest.mark.parametrize("share", [0.05, 0.15, 0.5, 0.9])
def test_val_is_whole_recordings_of_every_class(share: float) -> None:
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 30, size=60)
    recordings = np.repeat(np.arange(60), sizes)
    labels = np.repeat(np.arange(60) % 3, sizes)
    held = draw_recordings(labels, recordings, share, rng)
    per_recording = [held[recordings == r] for r in range(60)]
    assert all(part.all() or not part.any() for part in per_recording)
    for label in range(3):
        part = held[labels == label].mean()
        assert 0 < part < 1
        assert part == pytest.approx(share, abs=0.1)


def test_a_class_with_one_recording_stays_in_training() -> None:
    recordings, labels = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 0, 0, 0, 1, 1])
    held = draw_recordings(labels, recordings, 0.5, np.random.default_rng(0))
    assert not held[4:].any()
    assert held[:4].sum() == 2
    with pytest.raises(DataFormatError, match="no class has two recordings"):
        draw_recordings(labels[2:], recordings[2:] - 1, 0.5, np.random.default_rng(0))


def test_a_limit_takes_recordings_of_all_classes_in_turn() -> None:
    recordings, labels = np.repeat(np.arange(30), 2), np.repeat(np.arange(30) // 10, 2)
    chosen = first_recordings(labels, recordings, 6, np.random.default_rng(0))
    assert np.bincount(labels[chosen]).tolist() == [4, 4, 4]
    assert first_recordings(labels, recordings, None, np.random.default_rng(0)).all()


@pytest.mark.parametrize(("value", "expected"), [(0.0, 0.0), (-1.0, -1.0), (None, None)])
def test_how_missing_joints_are_written_is_found(value: float | None, expected: float | None) -> None:
    inputs = np.random.default_rng(0).uniform(1, 600, size=(5, 32, 6)).astype(np.float32)
    if value is not None:
        inputs[:, ::4, 2:4] = value
    assert missing_value(inputs) == expected
    with pytest.raises(ParamsError, match="pose, standard or none"):
        fit_normaliser("other", inputs)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["pose", "standard", "none"])
def test_prepared_arrays_hold_what_the_files_hold(har_folder: Path, tmp_path: Path, kind: str) -> None:
    raw, out = tmp_path / "raw/har", tmp_path / "prepared/har"
    obtain("har", places.parts_of("har", folder=str(har_folder)), raw, "auto", print)
    prepare_har(raw, out, seed=1, val_share=0.25, normaliser=kind)  # type: ignore[arg-type]
    meta = load_meta(out)
    assert meta["data_source"] == "folder:mine"
    assert meta["title"] == "mine"
    assert meta["sizes"] == {"train": 18, "val": 6, "test": 12}
    assert meta["preprocessing"]["recordings"] == {"train": 6, "val": 2, "test": 4}
    assert (meta["input_size"], meta["num_steps"], meta["classes"]) == (6, 32, ["class 1", "class 2"])
    assert meta["majority_class_share"] == {"val": 0.5, "test": 0.5}
    normalise = Normaliser.from_json(meta["normaliser"])
    test, poses = load_split(out, "test"), read_folder(har_folder)["test"]
    expected = {normalise(x).tobytes(): y for x, y in zip(poses.inputs, poses.labels, strict=True)}
    assert {x.tobytes(): y for x, y in zip(test.inputs, test.targets, strict=True)} == expected
    assert (test.lengths == 32).all()


def test_train_and_val_share_no_frame(har_folder: Path, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw/har", tmp_path / "prepared/har"
    obtain("har", places.parts_of("har", folder=str(har_folder)), raw, "auto", print)
    prepare_har(raw, out, seed=0, val_share=0.25, normaliser="none")
    frames = {
        name: {row.tobytes() for x in load_split(out, name).inputs for row in x} for name in ("train", "val")
    }
    assert not frames["train"] & frames["val"]


def named(*groups: str) -> str:
    return "".join(f"{name}\n" for name in groups for _ in range(3))


def test_val_takes_all_of_a_group_or_none(har_folder: Path, tmp_path: Path) -> None:
    names = ("ann", "bob", "bob", "cy", "cy", "ann", "dee", "dee")
    (har_folder / "groups_train.txt").write_text(named(*names))
    raw, out = tmp_path / "raw/har", tmp_path / "prepared/har"
    obtain("har", places.parts_of("har", folder=str(har_folder)), raw, "auto", print)
    inputs = read_folder(har_folder)["train"].inputs
    group_of = {x.tobytes(): names[i // 3] for i, x in enumerate(inputs)}
    held = set()
    for seed in range(8):
        prepare_har(raw, out, seed=seed, val_share=0.25, normaliser="none")
        seen = {
            split: {group_of[x.tobytes()] for x in load_split(out, split).inputs}
            for split in ("train", "val")
        }
        assert len(seen["val"]) == 1
        assert not seen["val"] & seen["train"]
        assert load_meta(out)["preprocessing"]["groups"] == {"train": 3, "val": 1}
        held |= seen["val"]
    assert len(held) > 1, "the seed draws which"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (named(*"abcdefg"), "each of the 24 training sequences, one a line; got 21"),
        (named(*"abcdefg") + "h\n\nh\n", "got 23"),
        (named(*"abcdefg") + "h\nh\ni\n", "line 24: 'i' goes on in the recording of 'h'"),
    ],
)
def test_groups_that_do_not_fit_are_refused(
    har_folder: Path, tmp_path: Path, content: str, message: str
) -> None:
    (har_folder / "groups_train.txt").write_text(content)
    with pytest.raises(DataUnavailableError, match=message):
        obtain("har", places.parts_of("har", folder=str(har_folder)), tmp_path / "raw/har", "auto", print)


def test_one_group_alone_can_not_be_held_out(har_folder: Path, tmp_path: Path) -> None:
    (har_folder / "groups_train.txt").write_text(named(*"aaaaaaaa"))
    raw, out = tmp_path / "raw/har", tmp_path / "prepared/har"
    obtain("har", places.parts_of("har", folder=str(har_folder)), raw, "auto", print)
    with pytest.raises(DataFormatError, match="no class has two recordings or groups"):
        prepare_har(raw, out, seed=0, val_share=0.25, normaliser="none")


def test_groups_of_persons_who_did_everything_are_drawn_by_their_size() -> None:
    groups, labels = np.repeat(np.arange(10), 12), np.tile(np.arange(6), 20)
    held = draw_recordings(labels, groups, 0.3, np.random.default_rng(0))
    assert held.sum() == 36
    assert np.unique(groups[held]).size == 3


def test_limits_count_recordings(har_folder: Path, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw/har", tmp_path / "prepared/har"
    obtain("har", places.parts_of("har", folder=str(har_folder)), raw, "auto", print)
    prepare_har(raw, out, seed=0, val_share=0.25, normaliser="pose", train_limit=4, test_limit=2)
    assert load_meta(out)["sizes"] == {"train": 6, "val": 6, "test": 6}


def test_a_failing_prepare_leaves_the_old_output(har_folder: Path, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw/har", tmp_path / "prepared/har"
    obtain("har", places.parts_of("har", folder=str(har_folder)), raw, "auto", print)
    prepare_har(raw, out, seed=0, val_share=0.25, normaliser="pose")
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    rewrite(raw / "X_train.txt", replaced(10, "broken"))
    with pytest.raises(DataFormatError, match="line 11"):
        prepare_har(raw, out, seed=0, val_share=0.25, normaliser="pose")
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert [p.name for p in out.parent.iterdir()] == ["har"]


def test_preparing_before_downloading_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataFormatError, match=r"download\.py har"):
        prepare_har(tmp_path / "raw/har", tmp_path / "out", seed=0, val_share=0.2, normaliser="pose")
