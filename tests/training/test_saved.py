from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from skipw.errors import ChecksumError, DataFormatError, ParamsError
from skipw.models.saved import load_description, load_model, save_model
from skipw.models.task import Architecture, SequenceModel


@pytest.fixture
def model() -> SequenceModel:
    torch.manual_seed(1)
    return Architecture("skipw", 3, 4, "classification", hidden_size=6, window=4, dropout=0.5).build()


def rewrite(folder: Path, **changes: Any) -> None:
    """Change keys of model.json."""
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_saved_model_scores_the_same_to_the_bit(model: SequenceModel, tmp_path: Path) -> None:
    written = save_model(tmp_path / "m", model, {"experiment": "x", "classes": ["a", "b", "ü", "d"]})
    before = torch.random.get_rng_state()
    loaded, description = load_model(tmp_path / "m")
    assert torch.equal(before, torch.random.get_rng_state())
    assert description == written
    assert not loaded.training
    inputs = torch.randn(5, 9, 3)
    assert torch.equal(loaded(inputs).scores, model.eval()(inputs).scores)
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["model.json", "model.safetensors"]


def test_writing_over_a_model_replaces_it(model: SequenceModel, tmp_path: Path) -> None:
    first = save_model(tmp_path, model, {})
    with torch.no_grad():
        model.head.output.bias.add_(1)
    second = save_model(tmp_path, model, {})
    assert first["checkpoint_sha256"] != second["checkpoint_sha256"]
    assert torch.equal(load_model(tmp_path)[0].head.output.bias, model.head.output.bias)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_changed_weights_are_refused(model: SequenceModel, tmp_path: Path, damage: str) -> None:
    save_model(tmp_path, model, {})
    path = tmp_path / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes({"flip": bytes(content), "cut": bytes(content[:-9]), "empty": b""}[damage])
    with pytest.raises(ChecksumError, match="train or fetch the model again"):
        load_model(tmp_path)


def test_weights_of_another_shape_or_kind_are_refused(model: SequenceModel, tmp_path: Path) -> None:
    written = save_model(tmp_path, model, {})
    rewrite(tmp_path, architecture={**written["architecture"], "hidden_size": 7})
    with pytest.raises(ChecksumError, match="don't fit the architecture"):
        load_model(tmp_path)
    import hashlib

    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    rewrite(tmp_path, checkpoint_sha256=hashlib.sha256(b"not weights").hexdigest())
    with pytest.raises(ChecksumError, match="not a safetensors file"):
        load_model(tmp_path)


def test_unknown_architecture_keys_are_refused(model: SequenceModel, tmp_path: Path) -> None:
    written = save_model(tmp_path, model, {})
    rewrite(tmp_path, architecture={**written["architecture"], "factory": "os.system"})
    with pytest.raises(ParamsError, match="unknown architecture key 'factory'"):
        load_model(tmp_path)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_other_format_versions_are_refused(model: SequenceModel, tmp_path: Path, version: object) -> None:
    save_model(tmp_path, model, {})
    rewrite(tmp_path, format_version=version)
    with pytest.raises(DataFormatError, match="format_version"):
        load_description(tmp_path)


def test_missing_and_broken_descriptions_name_the_file(model: SequenceModel, tmp_path: Path) -> None:
    with pytest.raises(DataFormatError, match=r"model\.json does not exist"):
        load_description(tmp_path)
    save_model(tmp_path, model, {})
    (tmp_path / "model.json").write_text('{"format_version": 1')
    with pytest.raises(DataFormatError, match="not JSON"):
        load_description(tmp_path)
    (tmp_path / "model.json").write_text('{"format_version": 1}')
    with pytest.raises(DataFormatError, match="lacks architecture, checkpoint_sha256"):
        load_description(tmp_path)


def test_a_description_loads_without_torch(model: SequenceModel, tmp_path: Path) -> None:
    save_model(tmp_path, model, {"experiment": "x"})
    code = (
        "import sys; from skipw.models.saved import load_description; "
        f"assert load_description({str(tmp_path)!r})['experiment'] == 'x'; assert 'torch' not in sys.modules"
    )
    source = Path(__file__).parents[2] / "src"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(source)}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
