"""When the backend can be used, and what it says when it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import skipw
from skipw.errors import BackendUnavailableError
from skipw.ops import triton
from skipw.ops.triton import settings


def fresh(code: str, **environment: str) -> str:
    """What a new process prints."""
    kept = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, "PYTHONPATH": "src", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_nothing_imports_triton_before_it_is_used_and_without_a_gpu_it_says_so() -> None:
    code = (
        "import sys, torch, skipw; from skipw.ops import dispatch, triton; skipw.SkipW('gru', 1, 2, window=2);"
        "assert triton.why_not() is None or 'CUDA GPU' in triton.why_not(), triton.why_not();"
        "assert torch.cuda.is_available() or triton.why_not() is not None;"
        "print('triton' in sys.modules)"
    )
    assert fresh(code) == "False"


def test_the_interpreter_is_not_believed_in_when_it_was_asked_for_too_late() -> None:
    code = (
        "import os, triton.language, torch; from skipw.ops import triton; os.environ['TRITON_INTERPRET'] = '1';"
        "print(triton.why_not() if not torch.cuda.is_available() else 'no CUDA GPU')"
    )
    assert "no CUDA GPU" in fresh(code)


def test_in_the_interpreter_it_can_be_used() -> None:
    assert triton.why_not() is None


@pytest.mark.parametrize(
    ("model", "dtype", "words"),
    [
        (lambda: skipw.SkipW(nn.RNNCell, 3, 4, window=2), torch.float32, "got RNNCell"),
        (lambda: skipw.SkipW("gru", 3, 4, window=2).half(), torch.float16, "got torch.float16"),
        (lambda: skipw.ThrRNN("gru", 3, 1025), torch.float32, "1024 hidden units"),
        (lambda: skipw.SkipW("gru", 3, 4, window=2, gate_inputs=("input",)), torch.float32, "gate_inputs"),
        (lambda: skipw.SkipW("gru", 3, 4, window=2, gate_windows=3), torch.float32, "gate_windows"),
    ],
)
def test_what_it_cannot_serve_is_refused_with_the_reason(model, dtype: torch.dtype, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BackendUnavailableError, match=words):
        model()(torch.zeros(1, 2, 3, dtype=dtype), backend="triton")


def test_autocast_is_refused() -> None:
    model = skipw.SkipW("gru", 3, 4, window=2)
    with torch.autocast("cpu"), pytest.raises(BackendUnavailableError, match="autocast"):
        model(torch.zeros(1, 2, 3), backend="triton")


def test_the_precision_is_checked_and_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKIPW_TRITON_PRECISION", raising=False)
    assert triton.precision() == "ieee"
    monkeypatch.setenv("SKIPW_TRITON_PRECISION", "tf32")
    assert triton.precision() == "tf32"
    with settings.using("bf16"):
        assert triton.precision() == "bf16"
    assert triton.precision() == "tf32"
    with pytest.raises(BackendUnavailableError, match="fp8"):
        triton.set_precision("fp8")
    monkeypatch.setenv("SKIPW_TRITON_PRECISION", "half")
    with pytest.raises(BackendUnavailableError, match="SKIPW_TRITON_PRECISION"):
        triton.precision()


def test_weights_stay_on_chip_where_they_fit() -> None:
    """A GRU of 128 units has 196,608 bytes in tf32; an LSTM of 128 fits in bfloat16 alone."""
    gru, lstm = 3, 4
    assert settings.tiles_for(128, 1, gru, "tf32", torch.float32).resident
    assert settings.tiles_for(128, 1, lstm, "bf16", torch.float32).resident
    assert not settings.tiles_for(128, 1, lstm, "tf32", torch.float32).resident
    ampere = 166912
    assert not settings.tiles_for(128, 1, gru, "tf32", torch.float32, ampere).resident
    assert settings.tiles_for(128, 1, gru, "bf16", torch.float32, ampere).resident
    assert not settings.tiles_for(128, 2, gru, "bf16", torch.float32).resident
    assert not settings.tiles_for(256, 1, gru, "bf16", torch.float32).resident
    assert settings.tiles_for(128, 1, gru, "ieee", torch.float32).chunk == 32


def test_the_compiler_accepts_what_the_interpreter_runs(tmp_path: Path) -> None:
    """For Hopper, without a GPU: weights read by the tensor cores from shared memory, next to no spilled registers."""
    kept = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "benchmarks/device.py", "compile", "--only", "gru128-bf16"]
    environment = {**kept, "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    _, forward, backward = (line.split() for line in done.stdout.strip().splitlines())
    for line, name in ((forward, "forward"), (backward, "backward")):
        assert line[:2] == ["gru128-bf16", name]
        spilled, shared, wgmma = (int(value) for value in line[3:6])
        assert spilled <= 256
        assert 3 * 128 * 128 * 2 <= shared <= settings.HOPPER_SHARED
        assert wgmma > 0
