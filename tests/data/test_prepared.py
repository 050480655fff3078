"""Prepared folders: complete or not at all, and read back strictly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skipw.data.atomic import replaced_folder, write_json
from skipw.data.prepared import Split, full_lengths, load_meta, load_split, save_prepared
from skipw.errors import DataFormatError

META: dict[str, Any] = {
    "dataset": "toy", "title": "Toy", "data_source": "generated", "task": "classification",
    "metric": "accuracy",
    "classes": ["a", "b"], "input_size": 1, "num_steps": 4, "normaliser": {}, "preprocessing": {},
}  # fmt: skip


def split_of(targets: list[int]) -> Split:
    inputs = np.arange(4 * len(targets), dtype=np.float32).reshape(len(targets), 4, 1)
    return Split(inputs, np.array(targets), full_lengths(inputs))


def splits_of(**changes: Split) -> dict[str, Split]:
    return {"train": split_of([0, 1, 1]), "val": split_of([0, 1]), "test": split_of([0, 0, 0, 1]), **changes}


def test_what_was_saved_is_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "toy"
    save_prepared(folder, splits_of(), META, {"vocabulary.json": ["x"], "embedding.npy": np.ones((2, 2))})
    meta = load_meta(folder)
    assert meta["sizes"] == {"train": 3, "val": 2, "test": 4}
    assert meta["majority_class_share"] == {"val": 0.5, "test": 0.75}
    assert meta["constant_predictor"] == meta["majority_class_share"]
    split = load_split(folder, "test", limit=3)
    assert isinstance(split.inputs, np.memmap)
    np.testing.assert_array_equal(split.inputs, split_of([0, 0, 0]).inputs)
    assert (len(split), split.targets.dtype, split.lengths.tolist()) == (3, np.int64, [4, 4, 4])
    assert json.loads((folder / "vocabulary.json").read_text()) == ["x"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (split_of([]), "is empty"),
        (split_of([0, 2]), r"reach 0\.\.2, expected 0\.\.1"),
        (Split(np.zeros((2, 4, 1)), np.array([0, 1]), np.array([4])), "must be as many"),
        (Split(np.zeros((2, 4, 1)), np.array([0, 1]), np.array([4, 5])), r"must lie in 1\.\.4"),
        (Split(np.zeros((2, 4, 1)), np.array([0, 1]), np.array([0, 4])), r"must lie in 1\.\.4"),
    ],
)
def test_impossible_splits_are_refused_and_nothing_is_written(
    tmp_path: Path, bad: Split, message: str
) -> None:
    with pytest.raises(DataFormatError, match=message):
        save_prepared(tmp_path / "toy", splits_of(val=bad), META, {})
    assert list(tmp_path.iterdir()) == []


def test_a_failure_while_writing_leaves_the_old_folder(tmp_path: Path) -> None:
    folder = tmp_path / "toy"
    save_prepared(folder, splits_of(), META, {})
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(TypeError):
        save_prepared(folder, splits_of(), META, {"bad.json": object()})
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["toy"]


@pytest.mark.parametrize("name", ["meta.json", "test_inputs.npy", "test_targets.npy"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"\x93NUMPY rubbish"])
def test_damaged_folders_say_what_to_run(tmp_path: Path, name: str, content: bytes | None) -> None:
    folder = tmp_path / "toy"
    save_prepared(folder, splits_of(), META, {})
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(DataFormatError, match=r"prepare\.py"):
        load_meta(folder) if name == "meta.json" else load_split(folder, "test")


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "toy"
    save_prepared(folder, splits_of(), META, {})
    np.save(folder / "test_targets.npy", np.array([{"a": 1}] * 4, dtype=object), allow_pickle=True)
    with pytest.raises(DataFormatError, match="not a readable array"):
        load_split(folder, "test")


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    save_prepared(tmp_path / "toy", splits_of(), META, {})
    with pytest.raises(DataFormatError, match="'all'"):
        load_split(tmp_path / "toy", "all")
    with pytest.raises(DataFormatError, match="at least 1"):
        load_split(tmp_path / "toy", "test", limit=0)


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    for content in ("one", "two"):
        with replaced_folder(folder) as fresh:
            (fresh / content).write_text(content)
            assert not (folder / content).exists()
    assert [p.name for p in folder.iterdir()] == ["two"]
    assert folder.stat().st_mode & 0o777 == 0o755

    def fail() -> None:
        with replaced_folder(folder) as fresh:
            (fresh / "three").write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [p.name for p in folder.iterdir()] == ["two"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"x": "σ"})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"x": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8")) == {"x": "σ"}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
