"""The scripts download.py and prepare.py from the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.download import main as download
from pipelines.prepare import main as prepare
from skipw.data.prepared import load_meta

SMALL = """
prepare:
  adding: {num_steps: 20, train: 50, val: 20, test: 20}
  mnist: {image_size: 7, val: 10}
  har: {val_share: 0.25, normaliser: standard}
"""


def arguments(tmp_path: Path, dataset: str, text: str = SMALL) -> list[str]:
    (tmp_path / "params.yaml").write_text(text)
    return [dataset, "--params", str(tmp_path / "params.yaml"), "--data", str(tmp_path / "data")]


def test_adding_from_nothing(tmp_path: Path) -> None:
    download(arguments(tmp_path, "adding"))
    prepare(arguments(tmp_path, "adding"))
    assert load_meta(tmp_path / "data/prepared/adding")["sizes"] == {"train": 50, "val": 20, "test": 20}


def test_mnist_from_a_mirror(mnist_mirror: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    download(arguments(tmp_path, "mnist"))
    prepare(arguments(tmp_path, "mnist"))
    assert load_meta(tmp_path / "data/prepared/mnist")["data_source"] == "mirror"
    assert "from source mirror" in capsys.readouterr().err


def test_a_folder_of_ones_own_through_params(har_folder: Path, tmp_path: Path) -> None:
    text = f"{SMALL}\ndownload:\n  har: {{folder: {har_folder}}}\n"
    download(arguments(tmp_path, "har", text))
    prepare(arguments(tmp_path, "har", text))
    assert load_meta(tmp_path / "data/prepared/har")["data_source"] == "folder:mine"


def test_errors_end_with_status_1_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SKIPW_MIRROR", raising=False)
    text = f"{SMALL}\ndownload:\n  mnist: {{source: mirror}}\n"
    for stage, word in ((download, "SKIPW_MIRROR is not set"), (prepare, "download.py mnist")):
        with pytest.raises(SystemExit) as caught:
            stage(arguments(tmp_path, "mnist", text))
        assert caught.value.code == 1
        assert word in capsys.readouterr().err.replace("\n", " ")


def test_these_stages_start_without_torch() -> None:
    code = (
        "import sys, pipelines.download, pipelines.prepare; "
        "print([m for m in ('torch', 'lightning', 'mlflow', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": "src:."}
    )
    assert done.stdout.strip() == "[]"
