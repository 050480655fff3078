"""The script for a rented GPU, on tiny sizes in the interpreter."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from skipw.data.prepared import Split, full_lengths, save_prepared
from skipw.errors import DataFormatError, ParamsError

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.device import pixels, place, sweep

SETTINGS: dict[str, Any] = {
    "costs": [0.0, 0.1],
    "hidden_size": 3,
    "window": 2,
    "batch_size": 4,
    "learning_rate": 0.05,
    "gate_state_gradient": 0.1,
    "precision": "ieee",
    "epochs": 2,
}


def main(*arguments: str) -> int:
    """``python benchmarks/device.py ARGUMENTS``; the script and the package beside it share a name."""
    script = Path(__file__).resolve().parents[2] / "benchmarks" / "device.py"
    space: dict[str, Any] = {"__name__": "device_script", "__file__": str(script)}
    exec(compile(script.read_text(encoding="utf-8"), str(script), "exec"), space)
    return int(space["main"](list(arguments)))


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """Eight images of three pixels; the class is whether the first is bright."""
    rng = np.random.default_rng(0)
    splits = {}
    for name, count in (("train", 8), ("val", 4), ("test", 4)):
        inputs = rng.choice([-0.5, 0.25, 1.5], size=(count, 3, 1)).astype(np.float32)
        targets = (inputs[:, 0, 0] > 0).astype(np.int64)
        targets[:2] = [0, 1]
        splits[name] = Split(inputs, targets, full_lengths(inputs))
    meta = {
        "dataset": "mnist",
        "title": "tiny",
        "data_source": "generated",
        "task": "classification",
        "metric": "accuracy",
        "classes": ["dark", "bright"],
        "input_size": 1,
        "num_steps": 3,
        "normaliser": None,
        "preprocessing": {},
    }
    save_prepared(tmp_path / "mnist", splits, meta, {})
    return tmp_path / "mnist"


def test_packed_images_are_the_prepared_ones(prepared: Path, tmp_path: Path) -> None:
    assert main("pack", "--data", str(prepared), "--into", str(tmp_path / "small")) == 0
    images, source = pixels.load(tmp_path / "small", torch.device("cpu"))
    assert source == "generated"
    for name in ("train", "val", "test"):
        x, targets = images[name].batch(torch.arange(len(images[name])))
        assert np.array_equal(x.numpy(), np.load(prepared / f"{name}_inputs.npy"))
        assert np.array_equal(targets.numpy(), np.load(prepared / f"{name}_targets.npy"))


def test_wide_inputs_are_not_packed(prepared: Path, tmp_path: Path) -> None:
    np.save(prepared / "val_inputs.npy", np.zeros((4, 3, 2), dtype=np.float32))
    with pytest.raises(DataFormatError, match="width 1"):
        pixels.pack(prepared, tmp_path / "small")


def test_a_slice_goes_on_where_the_last_one_stopped(prepared: Path, tmp_path: Path) -> None:
    """Three steps in one go, and one step, a checkpoint in mid-epoch, and two more: the same weights and moments."""
    images, _ = pixels.load(prepared, torch.device("cpu"))
    whole = sweep.Sweep(SETTINGS, images, torch.device("cpu"))
    for _ in range(3):
        whole.step()
    first = sweep.Sweep(SETTINGS, images, torch.device("cpu"))
    assert not first.step()
    first.save(tmp_path)
    second = sweep.Sweep(SETTINGS, images, torch.device("cpu"))
    second.restore(tmp_path)
    assert (second.epoch, second.batch) == (0, 1)
    assert second.step()
    assert not second.step()
    assert (second.epoch, second.batch) == (1, 1)
    moved = [
        (value - sweep.Sweep(SETTINGS, images, torch.device("cpu")).models.state_dict()[name]).abs().max()
        for name, value in second.models.state_dict().items()
    ]
    assert min(moved) > 0
    for name, value in whole.models.state_dict().items():
        assert torch.equal(value, second.models.state_dict()[name]), name
    other = sweep.Sweep({**SETTINGS, "window": 3}, images, torch.device("cpu"))
    with pytest.raises(ParamsError, match="window"):
        other.restore(tmp_path)


def test_training_ends_with_a_history_and_the_kept_models(prepared: Path, tmp_path: Path) -> None:
    """An epoch of one batch, then a second slice that is already at the end."""
    out = tmp_path / "out"
    sizes = ["--epochs", "1", "--batch-size", "8", "--hidden-size", "3", "--window", "2", "--val-every", "1"]
    given = ["train", "--tiny", "--data", str(prepared), "--out", str(out), "--costs", "0", "0.01", *sizes]
    assert main(*given, "--precision", "ieee") == 0
    history = json.loads((out / "history.json").read_text(encoding="utf-8"))
    assert history["finished"]
    assert [entry["epoch"] for entry in history["history"]] == [1]
    assert len(history["best"]["test"]["accuracy"]) == 2
    assert all(0 <= share <= 1 for share in history["best"]["test"]["inputs_processed"])
    assert len(list(out.glob("checkpoint-*.safetensors"))) == 1
    assert main(*given, "--precision", "ieee") == 0


def test_correctness_fails_on_a_wrong_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One forced and one free case pass; with the states spoilt the script says so."""
    from benchmarks.device import correctness

    case = {"model": "skipw", "cell": "gru", "hidden": 4, "layers": 1, "steps": 2}
    cases = [{**case, "forced": forced} for forced in (True, False)]
    monkeypatch.setattr(correctness, "_cases", lambda tiny, precision: cases)
    assert main("correctness", "--tiny", "--out", str(tmp_path), "--precisions", "ieee") == 0
    right = correctness.triton.run

    class Spoilt:
        @staticmethod
        def run(call: Any) -> Any:
            import dataclasses

            result = right(call)
            return dataclasses.replace(result, output=result.output * 1.001)

    monkeypatch.setattr(correctness, "triton", Spoilt)
    assert main("correctness", "--tiny", "--out", str(tmp_path), "--precisions", "ieee") == 1
    report = json.loads((tmp_path / "correctness.json").read_text(encoding="utf-8"))
    assert report["failed"] == 2
    assert report["checks"][0]["worst"]


def test_timings_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every competitor is measured, and the table says against what."""
    said: list[str] = []
    from benchmarks.device import timings

    monkeypatch.setattr(timings, "say", said.append)
    assert main("timings", "--tiny", "--out", str(tmp_path), "--precisions", "ieee", "--minutes", "0") == 0
    written = json.loads((tmp_path / "timings.json").read_text(encoding="utf-8"))
    assert len(written["median_ms"]) == 6
    assert all(value > 0 for value in written["median_ms"].values())
    assert any("2 models" in line for line in said)
    assert not any("left out" in line for line in said)


def test_without_a_gpu_the_script_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from skipw.errors import BackendUnavailableError

    monkeypatch.setattr(place.triton, "why_not", lambda: "there is no CUDA GPU here")
    with pytest.raises(BackendUnavailableError, match="--tiny"):
        place.find(False)
