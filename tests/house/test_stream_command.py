"""``skipw stream``: lines in, decisions out; the line of a skipped input is not even parsed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from skipw import OperatingPoint, StreamModel, cli
from skipw.data.normaliser import Normaliser
from skipw.models.saved import save_model
from skipw.models.task import Architecture
from skipw.runtime.bundle import Origin, write_bundle

pytest.importorskip("onnx", reason="the extra `edge` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `edge` is not installed")

SOURCE = Path(cli.__file__).parents[2]
FRAMES = np.random.default_rng(0).uniform(-1, 1, (23, 2)).round(3).tolist()
LINES = [",".join(map(str, frame)) + "\n" for frame in FRAMES]
POINT = OperatingPoint(2, 0.3)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("streamed")
    torch.manual_seed(0)
    model = Architecture("skipw", 2, 3, "classification", hidden_size=5, window=5, gate_bias=0.1).build()
    description = {"classes": ["a", "b", "c"], "normaliser": Normaliser("none", 2).to_json()}
    save_model(place / "model", model, description)
    write_bundle(
        place / "bundle", place / "model", Origin("folder", "toy"), point=POINT, points="", examples=[FRAMES]
    )
    return place / "bundle"


def stream(*words: object, text: str | None = None) -> Result:
    return CliRunner().invoke(cli.app, ["stream", *map(str, words)], input=text)


def answers(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("engine", ["auto", "numpy", "onnx"])
def test_it_is_the_stream(bundle: Path, tmp_path: Path, engine: str) -> None:
    (tmp_path / "frames.csv").write_text("x,y\n" + "".join(LINES))
    *decisions, last = answers(stream(bundle, tmp_path / "frames.csv", "--json", "--engine", engine))
    running = StreamModel.load(bundle).create_stream(POINT)
    for t, (frame, decision) in enumerate(zip(FRAMES, decisions, strict=True)):
        due = running.needs_input
        running.process(frame) if due else running.skip()
        assert (decision["t"], decision["processed"]) == (t, due)
        assert decision["scores"] == pytest.approx(running.output().tolist(), abs=2e-6)
        assert decision["prediction"] == "abc"[int(running.output().argmax())]
    usage = running.usage
    assert 0 < usage.processed < usage.inputs
    assert last["usage"] == {
        "inputs": 23, "processed": usage.processed, "fraction": round(usage.fraction, 6), "max_in_window": 2,
        "prediction": decisions[-1]["prediction"],
    }  # fmt: skip


def test_a_skipped_line_is_not_parsed_and_a_processed_one_is(bundle: Path) -> None:
    decisions = answers(stream(bundle, "-", "--json", text="".join(LINES)))[:-1]
    garbled = [
        line if one["processed"] or not one["t"] else "what, ever\n"  # the first may be a table's title
        for line, one in zip(LINES, decisions, strict=True)
    ]
    assert answers(stream(bundle, "--json", text="".join(garbled)))[:-1] == decisions
    first = next(place for place, one in enumerate(decisions) if one["processed"] and place)
    result = stream(bundle, text="".join([*LINES[:first], "1,x\n"]))
    assert result.exit_code == 1
    assert f"standard input, line {first + 1}: expected numbers" in result.output


@pytest.mark.parametrize(("line", "width"), [("1,2,3\n", 3), ("1\n", 1)])
def test_a_table_of_another_width_is_refused_though_every_input_is_skipped(
    bundle: Path, line: str, width: int
) -> None:
    for title in ("", "x,y\n"):
        result = stream(bundle, "--budget", "0", text=title + line * 4)
        assert result.exit_code == 1
        assert f"line {1 + bool(title)}: an input of this model is 2 numbers, got {width}" in result.output
    assert "0 of 4 inputs" in stream(bundle, "--budget", "0", text=LINES[0] + line * 3).output


def test_the_point_moves_while_it_runs(bundle: Path) -> None:
    text = "".join(
        ["@budget=5 threshold=0\n", *LINES[:7], "@budget=0\n", *LINES[7:15], "@budget=all\n", *LINES[15:]]
    )
    decisions = [one["processed"] for one in answers(stream(bundle, "--json", text=text))[:-1]]
    assert decisions == [True] * 7 + [False] * 8 + [True] * 8


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("@budget=x\n1,2\n", "line 1: invalid literal"),
        ("@speed=3\n1,2\n", "line 1: expected @budget=K"),
        ("@budget=6\n1,2\n", "window of 5"),
        ("@threshold=1.5\n1,2\n", "must lie in"),
        ("", "standard input holds nothing"),
        ("x,y\n", "holds a title only"),
        ("1,2,3\n", "line 1: an input is Float[2]"),
        ("1,2,a\n1,2\n", "line 1: expected numbers with commas between, got 'a' in field 3"),
        ("nan,1\n", "line 1: "),
    ],
)
def test_bad_lines_are_messages(bundle: Path, text: str, words: str) -> None:
    result = stream(bundle, "--budget", "5", "--threshold", "0", text=text)
    assert result.exit_code == 1
    assert words in result.output
    assert "Traceback" not in result.output


def test_a_byte_order_mark_changes_nothing(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "frames.csv").write_text("".join(LINES), encoding="utf-8-sig")
    expected = stream(bundle, text="".join(LINES)).output
    assert "of 23 inputs" in expected
    assert stream(bundle, tmp_path / "frames.csv").output == expected
    assert stream(bundle, text="\ufeff" + "".join(LINES)).output == expected


def test_every_and_the_plain_text(bundle: Path) -> None:
    result = stream(bundle, "--budget", "5", "--threshold", "0", "--every", "10", text="".join(LINES))
    *shown, last = result.stdout.splitlines()
    assert [line.split()[:2] for line in shown] == [
        ["0", "processed"],
        ["10", "processed"],
        ["20", "processed"],
    ]
    assert last.startswith("23 of 23 inputs processed (100.0%, at most 5 in a window); prediction ")
    assert len(stream(bundle, "--every", "0", text="".join(LINES)).stdout.splitlines()) == 1


def test_words(tmp_path: Path) -> None:
    model = Architecture("thrrnn", 3, 2, "classification", vocabulary_size=4, embedding_size=3).build()
    save_model(
        tmp_path / "model",
        model,
        {"vocabulary": ["<pad>", "<unk>", "good", "@home"], "classes": ["no", "yes"]},
    )
    text = "good\n@home\nunheard-of\n"
    decisions = answers(stream(tmp_path / "model", "--threshold", "0", "--json", text=text))
    assert [one["processed"] for one in decisions[:-1]] == [True] * 3
    assert decisions[-1]["usage"]["inputs"] == 3


def test_a_damaged_bundle_and_an_unknown_engine_are_messages(bundle: Path, tmp_path: Path) -> None:
    assert "engine must be one of" in stream(bundle, "--engine", "gpu", text="1,2\n").output
    result = stream(tmp_path, text="1,2\n")
    assert result.exit_code == 1
    assert "does not exist" in result.output


def started(bundle: Path, *words: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    # Whoever runs the tests in the background may have SIGINT ignored, which a child inherits; a handler it does not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(
        [sys.executable, "-m", "skipw", "stream", str(bundle), "--json", *map(str, words)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def test_answers_come_at_once_and_an_interrupt_ends_with_the_usage(bundle: Path) -> None:
    process = started(bundle)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(LINES[0])
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["t"] == 0  # while the input is still open
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert json.loads(rest)["usage"]["inputs"] == 1
    assert (process.returncode, errors) == (130, "")


@pytest.mark.parametrize("from_file", [False, True])
def test_a_reader_that_goes_is_no_error(bundle: Path, tmp_path: Path, from_file: bool) -> None:
    (tmp_path / "frames.csv").write_text("".join(LINES) * 500)  # more than a pipe holds
    process = started(bundle, *([tmp_path / "frames.csv"] if from_file else []))
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdin.write(LINES[0])
    process.stdin.flush()
    process.stdout.readline()
    process.stdout.close()
    process.stdin.write("".join(LINES))
    process.stdin.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == ""


def test_what_is_no_text_is_a_message(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(b"\xff\xd8\xff" * 9)
    for name, words in (("picture", "expected text"), ("absent", "cannot be read"), (".", "cannot be read")):
        result = stream(bundle, tmp_path / name)
        assert result.exit_code == 1
        assert words in result.output
