"""Edge bundles: whole or refused, true to the reference, runnable without this package."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import skipw
from skipw import OperatingPoint, StreamModel
from skipw.data.normaliser import Normaliser
from skipw.errors import BudgetError, ChecksumError, DataFormatError
from skipw.models.saved import save_model
from skipw.models.task import Architecture
from skipw.runtime.bundle import EdgeBundle, Origin, load_bundle, write_bundle
from skipw.runtime.onnx.stream import OnnxStreamModel

pytest.importorskip("onnx", reason="the extra `edge` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `edge` is not installed")

POINTS = """\
budget,threshold,split,metric,value,inputs_processed,alias,pareto
1,0.5,val,accuracy,0.7,0.2,cheapest,True
1,0.5,test,accuracy,0.65,0.21,cheapest,True
3,0.5,val,accuracy,0.9,0.5,knee;most-accurate,True
3,0.5,test,accuracy,0.88,0.52,knee;most-accurate,True
4,0.5,val,accuracy,0.89,0.7,,False
4,0.5,test,accuracy,0.89,0.7,,False
"""
ORIGIN = Origin("models:/skipw-toy@knee", "skipw-toy", "3", ("knee",), "abc", "Made up.")
FILES = {
    "README.md", "SHA256SUMS", "bundle.json", "example.json", "model.json", "model.safetensors",
    "operating_points.csv", "onnx/gate.onnx", "onnx/process.onnx", "onnx/run.py", "onnx/start.onnx",
}  # fmt: skip


def trained(folder: Path, model: str = "skipw", words: bool = False, **settings: Any) -> Path:
    """A saved model whose gates open and close."""
    torch.manual_seed(3)
    if model == "skipw":
        settings = {"window": 6} | settings
    sizes = {"vocabulary_size": 30, "embedding_size": 4} if words else {}
    built = Architecture(
        model, 4, 3, "classification", hidden_size=9, head_hidden=5, **sizes, **settings
    ).build()
    with torch.no_grad():
        if hasattr(built.rnn, "gate"):
            built.rnn.gate.weight.normal_(0, 1.0)
            built.rnn.gate.bias.fill_(0.0 if model == "skipw" else -0.6)
    description = {
        "experiment": "toy-one", "dataset": "toy", "title": "Toy", "data_source": "generated",
        "classes": ["a", "b", "c"], "task": "classification",
        "normaliser": None if words else Normaliser("pose", 4, clip=3.0, missing=0.0).to_json(),
        "vocabulary": [f"w{index}" for index in range(30)] if words else None,
    }  # fmt: skip
    save_model(folder, built.eval(), description)
    return folder


def sequences(words: bool = False, steps: int = 30) -> list[list[Any]]:
    rng = np.random.default_rng(5)
    if words:
        return [[f"w{i}" for i in rng.integers(1, 30, steps)] for _ in range(5)]
    return [rng.uniform(100, 500, (steps, 4)).round(2).tolist() for _ in range(5)]


def bundled(
    folder: Path, model: Path, words: bool = False, point: OperatingPoint | None = None
) -> EdgeBundle:
    return write_bundle(folder, model, ORIGIN, point=point, points=POINTS, examples=sequences(words))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("whole")
    bundled(place / "bundle", trained(place / "model"), point=OperatingPoint(3, 0.4))
    return place / "bundle"


@pytest.fixture
def bundle(whole: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "bundle"))


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_is_in_it(whole: Path) -> None:
    assert files(whole) >= FILES
    loaded = load_bundle(whole)
    assert loaded.default_point == OperatingPoint(3, 0.4)
    facts = loaded.facts
    assert (facts["model"], facts["version"], facts["aliases"]) == ("skipw-toy", "3", ["knee"])
    assert (facts["uri"], facts["run_id"], facts["data_source"]) == (ORIGIN.uri, "abc", "generated")
    first, second, third = loaded.points
    assert (first.operating_point, first.val, first.test) == (OperatingPoint(1, 0.5), 0.7, 0.65)
    assert (second.aliases, second.test_inputs_processed) == (("knee", "most-accurate"), 0.52)
    assert (second.pareto, third.pareto) == (True, False)
    page = (whole / "README.md").read_text()
    for word in (
        "skipw-toy 3",
        "88.00 %",
        "52.0 %",
        "knee, most-accurate",
        "Made up.",
        "budget=3, threshold=0.4",
    ):
        assert word in page


def test_checksums_are_those_of_sha256sum(whole: Path) -> None:
    listed = dict(reversed(line.split("  ")) for line in (whole / "SHA256SUMS").read_text().splitlines())
    assert set(listed) == files(whole) - {"SHA256SUMS"}
    for name, digest in listed.items():
        assert hashlib.sha256((whole / name).read_bytes()).hexdigest() == digest
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=whole, check=True)


@pytest.mark.parametrize("name", sorted(FILES - {"SHA256SUMS"}))
def test_a_changed_byte_is_refused_by_whatever_loads_it(bundle: Path, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    for load in (load_bundle, StreamModel.load, OnnxStreamModel.load):
        with pytest.raises(ChecksumError, match=rf"{name}.*pull the model again"):
            load(bundle)


def test_missing_added_and_linked_files_are_refused(bundle: Path) -> None:
    (bundle / "onnx" / "gate.onnx").rename(bundle / "gate.kept")
    with pytest.raises(ChecksumError, match=r"onnx/gate\.onnx is missing"):
        load_bundle(bundle)
    (bundle / "onnx" / "gate.onnx").symlink_to(bundle / "gate.kept")
    with pytest.raises(ChecksumError, match=r"gate\.onnx is a link"):
        load_bundle(bundle)
    (bundle / "onnx" / "gate.onnx").unlink()
    (bundle / "gate.kept").rename(bundle / "onnx" / "gate.onnx")
    load_bundle(bundle)
    (bundle / "notes.txt").write_text("mine")
    with pytest.raises(ChecksumError, match=r"notes\.txt is not in SHA256SUMS"):
        load_bundle(bundle)
    (bundle / "notes.txt").unlink()
    (bundle / "c").mkdir(exist_ok=True)
    (bundle / "c" / "example.o").write_text("what `make -C c` leaves")
    (bundle / "c" / "libskipw.so").symlink_to("libskipw.so.1")
    load_bundle(bundle)


@pytest.mark.parametrize("name", ["../model.json", "/etc/hostname", "onnx/../model.json"])
def test_a_list_cannot_lead_out_of_the_folder(bundle: Path, name: str) -> None:
    with (bundle / "SHA256SUMS").open("a") as file:
        file.write(f"{'0' * 64}  {name}\n")
    with pytest.raises(ChecksumError, match="leads out of the folder"):
        load_bundle(bundle)


@pytest.mark.parametrize("content", ["", "not a list\n", "\0\xff"])
def test_a_list_that_is_none_is_refused(bundle: Path, content: str) -> None:
    (bundle / "SHA256SUMS").write_text(content, encoding="latin-1")
    with pytest.raises(ChecksumError, match="SHA256SUMS"):
        load_bundle(bundle)


def test_a_bundle_without_its_list_is_refused(bundle: Path) -> None:
    (bundle / "SHA256SUMS").unlink()
    with pytest.raises(ChecksumError, match="SHA256SUMS cannot be read"):
        load_bundle(bundle)
    with pytest.raises(DataFormatError, match="is no edge bundle"):
        load_bundle(bundle / "onnx")


KINDS = [
    ("skipw", {"cell": "lstm", "num_layers": 2}, False),
    ("skipw", {"select": "sample"}, False),
    ("skipw", {"time_feature": "since_update", "initial_state": "zeros"}, True),
    ("thrrnn", {}, True),
    ("skiprnn", {"cell": "lstm"}, False),
    ("dense", {"num_layers": 2}, False),
    ("random", {}, False),
]


@pytest.mark.parametrize(("model", "settings", "words"), KINDS)
def test_every_engine_and_the_plain_script_answer_as_the_reference(
    tmp_path: Path, model: str, settings: dict[str, Any], words: bool
) -> None:
    own = bundled(tmp_path / "bundle", trained(tmp_path / "model", model, words, **settings), words)
    example = json.loads((own.folder / "example.json").read_text())
    assert len(example["runs"]) == {"skipw": 3, "thrrnn": 3}.get(model, 1)
    for run in example["runs"]:
        assert len(run["updates"]) == len(run["outputs"]) == 30
        if model in ("skipw", "thrrnn", "skiprnn"):
            assert 0 < sum(run["updates"]) < 30
    for engine in ("auto", "onnx"):
        check = own.check(engine)
        assert check.passed, check
        assert check.inputs == 30 * len(example["runs"])
    code = "import sys; sys.modules['skipw'] = None; import runpy; runpy.run_path(sys.argv[1], run_name='__main__')"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(own.folder / "onnx" / "run.py")],
        capture_output=True, text=True, cwd=tmp_path, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("0 inputs decided otherwise, largest deviation")
    load_bundle(own.folder)  # running it left nothing behind


def test_the_check_sees_another_model(tmp_path: Path, bundle: Path) -> None:
    """The same example, other weights: what a wrong deployment looks like."""
    other = bundled(tmp_path / "other", trained(tmp_path / "model", num_layers=2))
    assert other.check().passed
    shutil.copyfile(bundle / "example.json", other.folder / "example.json")
    (other.folder / "SHA256SUMS").unlink()
    assert not other.check().passed


def test_the_page_of_a_bundle_runs(whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(whole)
    page = (whole / "README.md").read_text()
    code = page.split("```python\n")[1].split("```")[0]
    exec(compile(code, "README.md", "exec"), {})
    assert "Usage(inputs=30, processed=" in capsys.readouterr().out


def test_only_a_bundle_or_an_empty_folder_is_replaced(tmp_path: Path, bundle: Path) -> None:
    model = trained(tmp_path / "model", num_layers=2)
    before = (bundle / "bundle.json").read_bytes()
    (bundle / "notes.txt").write_text("mine")
    with pytest.raises(DataFormatError, match=r"notes\.txt was added"):
        bundled(bundle, model)
    assert (bundle / "bundle.json").read_bytes() == before
    (bundle / "notes.txt").unlink()
    (bundle / "model.json").write_text("damaged")
    assert bundled(bundle, model).stream_model().architecture.num_layers == 2
    (bundle / "SHA256SUMS").write_text("not a list")
    with pytest.raises(DataFormatError, match="is a damaged bundle.*remove it first"):
        bundled(bundle, model)
    with pytest.raises(DataFormatError, match="is no bundle"):
        bundled(model, model)
    assert files(model) == {"model.json", "model.safetensors"}
    (tmp_path / "empty").mkdir()
    assert bundled(tmp_path / "empty", model).check().passed


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    model = trained(tmp_path / "model")
    with pytest.raises(BudgetError, match="window of 6"):
        bundled(tmp_path / "new", model, point=OperatingPoint(7))
    from skipw.runtime import bundle as module

    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(module, "write_checksums", full)
    before = {name: (bundle / name).read_bytes() for name in files(bundle)}
    for target in (tmp_path / "new", bundle):
        with pytest.raises(OSError, match="no space"):
            bundled(target, model)
    assert {path.name for path in tmp_path.iterdir()} == {"model", "bundle"}
    assert {name: (bundle / name).read_bytes() for name in files(bundle)} == before


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    model = trained(tmp_path / "model")
    for name in ("one", "two"):
        bundled(tmp_path / name, model)
    assert (tmp_path / "one" / "SHA256SUMS").read_bytes() == (tmp_path / "two" / "SHA256SUMS").read_bytes()


def test_loading_a_bundle_imports_no_torch(whole: Path) -> None:
    code = (
        f"import sys; from skipw.runtime.bundle import load_bundle; load_bundle({str(whole)!r}).check(); "
        "print(*({'torch', 'onnx', 'onnxruntime', 'pandas', 'mlflow'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(skipw.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == []
