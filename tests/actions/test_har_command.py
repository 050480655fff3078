"""``skipw har``: lines, JSON lines, errors, Ctrl-C."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from skipw import cli
from skipw.actions.film import film, write_video
from skipw.actions.pose_model import PoseModel
from skipw.actions.region import Image
from tests.actions.conftest import CLASSES, small_model


def har(*words: object) -> Result:
    return CliRunner().invoke(cli.app, ["har", *(str(word) for word in words)])


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory, picture: Image) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.avi"
    write_video(path, film(picture, 44))
    return path


def test_windows_are_told_and_written(
    video: Path, model_folder: Path, pose_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run.jsonl"
    result = har(
        video,
        "--model",
        model_folder,
        "--pose-files",
        pose_folder,
        "--budget",
        2,
        "--threshold",
        0,
        "--out",
        out,
    )
    assert result.exit_code == 0, result.output
    lines = [line for line in result.output.splitlines() if " of 8 " in line]
    assert [re.findall(r"(\d+)-(\d+)", line)[0] for line in lines[:2]] == [("0", "7"), ("8", "15")]
    assert [" = " in line for line in lines] == [False, False, False, True, False]
    *windows, total = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(w["first"], w["last"], w["sequence"]) for w in windows][3:] == [
        (24, 31, 0),
        (32, 39, 1),
        (40, 43, 1),
    ]
    assert all(w["processed"] <= 2 and w["action"] in CLASSES and 0 < w["score"] <= 1 for w in windows)
    assert all((w["pose_ms"] > 1) == (w["processed"] > 0) for w in windows)
    assert total["processed"] == total["pose_calls"] == sum(w["processed"] for w in windows)
    assert total["max_in_window"] == 2 and total["frames"] == 44 and total["persons"] == total["processed"]
    assert f"{total['processed']} of 44 frames processed" in result.output
    assert "at most 2 in any window of 8" in result.output


def test_ctrl_c_ends_with_the_summary(
    video: Path, model_folder: Path, pose_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = PoseModel.find

    def interrupted(self: PoseModel, *arguments: Any) -> Any:
        if self.calls == 9:
            raise KeyboardInterrupt
        return find(self, *arguments)

    monkeypatch.setattr(PoseModel, "find", interrupted)
    result = har(video, "--model", model_folder, "--pose-files", pose_folder, "--budget", 8, "--threshold", 0)
    assert result.exit_code == 0
    assert "stopped" in result.output and "9 of 9 frames processed (100.0%)" in result.output


def test_mistakes_are_told_in_a_line(video: Path, model_folder: Path, tmp_path: Path) -> None:
    for words, said in (
        ((tmp_path / "none", "--model", model_folder), "no such video file"),
        ((video, "--model", tmp_path / "none"), "model.json"),
        ((video, "--model", model_folder, "--pose", "tiny"), "got 'tiny'"),
        ((video, "--model", model_folder, "--fps", 60), "at most the source's 22"),
    ):
        result = har(*words)
        assert result.exit_code == 1 and said in result.output and "Traceback" not in result.output, (
            result.output
        )


def test_a_budget_above_the_window_is_refused(video: Path, model_folder: Path, pose_folder: Path) -> None:
    result = har(video, "--model", model_folder, "--pose-files", pose_folder, "--budget", 9)
    assert result.exit_code == 1 and "9" in result.output and "Traceback" not in result.output


def test_a_file_that_cannot_be_written_is_told_in_a_line(
    video: Path, model_folder: Path, pose_folder: Path, tmp_path: Path
) -> None:
    for out, why in ((tmp_path / "none" / "x.jsonl", "No such file"), (tmp_path, "Is a directory")):
        result = har(video, "--model", model_folder, "--pose-files", pose_folder, "--out", out)
        assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
        said = " ".join(result.output.split())
        assert f"skipw: --out {out} cannot be written ({why}" in said and "a folder that exists" in said


def test_a_model_of_places_in_one_camera_is_warned_of(video: Path, tmp_path: Path, pose_folder: Path) -> None:
    small_model(tmp_path / "model")
    description = json.loads((tmp_path / "model/model.json").read_text())
    description["normaliser"] |= {"kind": "none", "clip": None, "missing": None}
    (tmp_path / "model/model.json").write_text(json.dumps(description))
    result = har(video, "--model", tmp_path / "model", "--pose-files", pose_folder, "--budget", 1)
    assert result.exit_code == 0 and "not of the kind 'pose'" in result.output


def test_the_service_needs_no_torch() -> None:
    code = "import sys, skipw.actions.service, skipw.actions.pose_model; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
