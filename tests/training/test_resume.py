"""A training that was killed (SIGKILL: nothing can be tidied up) goes on where it was, to the same bits."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from skipw.errors import DataFormatError
from skipw.models.saved import load_description
from skipw.params import TrainSettings
from skipw.training import fit, fitting, scratch_folder
from skipw.training.running import train

PROGRAM = """
import sys, time
from pathlib import Path
from skipw.params import TrainSettings
from skipw.training import fit

def wait(row):
    if row["step"] == 30:  # the validation's checkpoint comes after this rule
        Path(sys.argv[4]).touch()
        time.sleep(60)
    return False

settings = TrainSettings(**eval(sys.argv[5]))
fit(settings, Path(sys.argv[1]), Path(sys.argv[2]), scratch=Path(sys.argv[3]), stop_rule=wait, progress=False)
"""


@pytest.mark.parametrize("more", [{}, {"average": 0.8}, {"checkpoint_from": 0.9}], ids=str)
def test_a_killed_training_resumes_and_ends_as_if_nothing_had_happened(
    more: dict[str, float],
    settings: Callable[..., TrainSettings],
    slopes: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    anytime = {
        "random_budget": 0.5,
        "sandwich": True,
        "distill": 0.5,
        "target_inputs": 0.5,
        **more,
    }
    chosen = settings("har", steps=50, dropout=0.2, cost_per_input=1e-3, **anytime)
    whole = fit(chosen, slopes, tmp_path / "whole", scratch=tmp_path / "other", progress=False)

    killed, scratch, ready = tmp_path / "killed", tmp_path / "scratch", tmp_path / "ready"
    arguments = [str(slopes), str(killed), str(scratch), str(ready), repr(vars(chosen))]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], env=environment)
    try:
        for _ in range(600):
            if ready.exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        assert ready.exists()
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    unfinished = scratch_folder(chosen, slopes, scratch=scratch)
    last = torch.load(unfinished / "last.ckpt", map_location="cpu", weights_only=True)
    assert last["global_step"] == 20, "the last validation's, not the best one's"
    assert not killed.exists()

    with caplog.at_level(logging.INFO):
        resumed = fit(chosen, slopes, killed, scratch=scratch, progress=False)
    assert "going on from the checkpoint" in caplog.text
    assert not unfinished.exists()
    one, two = (
        pd.read_csv(folder / "history.csv").drop(columns="seconds") for folder in (tmp_path / "whole", killed)
    )
    pd.testing.assert_frame_equal(one, two)
    assert {**whole, "seconds": 0} == {**resumed, "seconds": 0}
    hashes = [load_description(folder)["checkpoint_sha256"] for folder in (tmp_path / "whole", killed)]
    assert hashes[0] == hashes[1]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2000])


def another(path: Path) -> None:
    """The checkpoint of a wider model."""
    content = torch.load(path, map_location="cpu", weights_only=True)
    weights = content["state_dict"]
    content["state_dict"] = {name: torch.zeros(*weight.shape, 2) for name, weight in weights.items()}
    torch.save(content, path)


@pytest.mark.parametrize("damage", [cut, another])
@pytest.mark.parametrize("name", ["last", "best"])
def test_a_damaged_checkpoint_is_named_with_the_remedy(
    name: str,
    damage: Callable[[Path], None],
    settings: Callable[..., TrainSettings],
    adding: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen, out = settings("adding"), tmp_path / "out"

    class Stopped(Exception):
        pass

    def stop(row: dict[str, float]) -> bool:
        if row["step"] == chosen.steps:
            raise Stopped
        return False

    with pytest.raises(Stopped):
        fit(chosen, adding, out, scratch=tmp_path, stop_rule=stop, progress=False)
    unfinished = scratch_folder(chosen, adding, scratch=tmp_path)

    def train_and_damage(*args: Any, **options: Any) -> list[dict[str, float]]:
        rows = train(*args, **options)
        damage(unfinished / "best.ckpt")
        return rows

    if name == "last":
        damage(unfinished / "last.ckpt")
    else:
        monkeypatch.setattr(fitting, "train", train_and_damage)
    with pytest.raises(DataFormatError) as caught:
        fit(chosen, adding, out, scratch=tmp_path, progress=False)
    assert str(caught.value).startswith(f"{unfinished / name}.ckpt: not a checkpoint of this training (")
    assert f"; remove {unfinished} and train again" in str(caught.value)
    assert not out.exists()


def test_a_terminated_training_is_no_success_and_resumes(
    settings: Callable[..., TrainSettings], slopes: Path, tmp_path: Path
) -> None:
    chosen = settings("har", steps=40)
    scratch = tmp_path / "scratch"

    def terminate(row: dict[str, float]) -> bool:
        if row["step"] == 20:
            os.kill(os.getpid(), signal.SIGTERM)
        return False

    with pytest.raises(SystemExit) as stopped:
        fit(chosen, slopes, tmp_path / "out", scratch=scratch, stop_rule=terminate, progress=False)
    assert stopped.value.code == 143
    assert not (tmp_path / "out").exists()
    assert (scratch_folder(chosen, slopes, scratch=scratch) / "last.ckpt").exists()
    fit(chosen, slopes, tmp_path / "out", scratch=scratch, progress=False)
    assert list(pd.read_csv(tmp_path / "out" / "history.csv")["step"]) == [10, 20, 30, 40]
    assert not any(scratch.iterdir())


def test_other_settings_data_or_donors_start_afresh(
    settings: Callable[..., TrainSettings], slopes: Path, words: Path, tmp_path: Path
) -> None:
    chosen = settings("har")
    fit(chosen, slopes, tmp_path / "donor", scratch=tmp_path, progress=False)
    folders = {
        scratch_folder(chosen, slopes, scratch=tmp_path),
        scratch_folder(settings("har", seed=1), slopes, scratch=tmp_path),
        scratch_folder(chosen, words, scratch=tmp_path),
        scratch_folder(chosen, slopes, scratch=tmp_path, init_from=tmp_path / "donor"),
    }
    assert len(folders) == 4
    assert scratch_folder(chosen, slopes, scratch=tmp_path) in folders


def test_a_run_that_was_killed_after_its_stop_rule_spoke_ends_at_once(
    settings: Callable[..., TrainSettings], slopes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint of its last validation is there; a validation more would be another result."""
    chosen = settings("har", steps=50)

    def enough(row: dict[str, float]) -> bool:
        return row["step"] >= 20

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("lightning.pytorch.Callback.on_train_end", die)
        with pytest.raises(Killed):
            fit(
                chosen,
                slopes,
                tmp_path / "out",
                scratch=tmp_path / "scratch",
                stop_rule=enough,
                progress=False,
            )
    assert (scratch_folder(chosen, slopes, scratch=tmp_path / "scratch") / "last.ckpt").exists()
    fit(chosen, slopes, tmp_path / "out", scratch=tmp_path / "scratch", stop_rule=enough, progress=False)
    assert list(pd.read_csv(tmp_path / "out" / "history.csv")["step"]) == [10, 20]
