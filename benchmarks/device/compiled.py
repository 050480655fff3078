"""The kernels compiled for a GPU that is not here: registers, spilled bytes, shared memory, tensor-core instructions.

The interpreter accepts what the compiler refuses, and a kernel that spills its registers is slow: both show here.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
from benchmarks.device.place import say

from skipw.errors import BackendUnavailableError

__all__ = ["KERNELS", "run"]

GRU = {"H": 128, "HP": 128, "LAYERS": 1, "LSTM": False, "GATE": 1, "WINDOW": 28, "LP": 32, "INLINE": 1}
LSTM = {**GRU, "LSTM": True}
STACK = {**GRU, "H": 60, "HP": 64, "LAYERS": 2, "WINDOW": 8, "LP": 8, "INLINE": 0}
THRRNN = {**GRU, "GATE": 2, "WINDOW": 1, "LP": 2}
SMALL = {**STACK, "H": 5, "HP": 16, "LSTM": True}
CHUNKS = {"BK": 32, "RESIDENT": False}
KERNELS: dict[str, dict[str, Any]] = {
    "gru128-ieee": {**GRU, **CHUNKS, "PRECISION": "ieee"},
    "gru128-tf32x3": {**GRU, **CHUNKS, "PRECISION": "tf32x3"},
    "gru128-tf32": {**GRU, "BK": 128, "RESIDENT": True, "PRECISION": "tf32"},
    "gru128-bf16": {**GRU, "BK": 128, "RESIDENT": True, "PRECISION": "bf16"},
    "lstm128-ieee": {**LSTM, **CHUNKS, "PRECISION": "ieee"},
    "lstm128-tf32": {**LSTM, "BK": 128, "RESIDENT": False, "PRECISION": "tf32"},
    "lstm128-bf16": {**LSTM, "BK": 128, "RESIDENT": True, "PRECISION": "bf16"},
    "2gru60-ieee": {**STACK, **CHUNKS, "PRECISION": "ieee", "num_warps": 4},
    "2gru60-tf32": {**STACK, "BK": 64, "RESIDENT": False, "PRECISION": "tf32", "num_warps": 4},
    "gru256-tf32": {**GRU, "H": 256, "HP": 256, **CHUNKS, "PRECISION": "tf32"},
    "thrrnn128-tf32": {**THRRNN, "BK": 128, "RESIDENT": True, "PRECISION": "tf32"},
    "2lstm5-ieee": {**SMALL, "BK": 16, "RESIDENT": False, "PRECISION": "ieee", "num_warps": 4},
}
FORWARD = {
    "TIME": 1, "SELECT": "topk", "LOWEST": torch.finfo(torch.float32).min, "DRAWS": False, "KEEP": True, "SAVE": True,
}  # fmt: skip
BACKWARD = {"TIMED": True, "HAS_OUTPUT": True}
POINTERS = {"flags": "*u8", "segments": "*i32", "rows_in": "*i64", "rows_out": "*i64"}
NUMBERS = ("B", "T", "W", "W_NOISE", "S", "X_MODEL", "L")


def run(capability: int, only: list[str] | None) -> int:
    """Compile and print a line for each kernel.

    Raises:
        BackendUnavailableError: in the interpreter, which replaces the compiler.
    """
    from skipw.ops.triton.backward import backward_kernel
    from skipw.ops.triton.forward import forward_kernel
    from skipw.ops.triton.sequence import interpreted

    if interpreted():
        raise BackendUnavailableError("TRITON_INTERPRET is set: unset it, the interpreter compiles nothing.")
    say(f"{'kernel':16} {'pass':9} {'registers':>9} {'spilled B':>9} {'shared B':>9} {'wgmma':>6} {'fma':>6}")
    for name, settings in KERNELS.items():
        if only and name not in only:
            continue
        for kernel, extra in ((forward_kernel, FORWARD), (backward_kernel, BACKWARD)):
            found = _compiled(kernel, {"BM": 16, **settings, **extra}, capability)
            say(f"{name:16} {kernel.__name__[:-7]:9} " + " ".join(found))
    return 0


def _compiled(kernel: Any, settings: dict[str, Any], capability: int) -> list[str]:
    """The columns of one kernel's line."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    constants = {name: value for name, value in settings.items() if name in kernel.arg_names}
    kinds = {
        name: "constexpr" if name in constants else "i32" if name in NUMBERS else POINTERS.get(name, "*fp32")
        for name in kernel.arg_names
    }
    aligned = [["tt.divisibility", 16]]
    attrs = {(i,): aligned for i, kind in enumerate(kinds.values()) if kind.startswith("*")}
    source = ASTSource(fn=kernel, signature=kinds, constexprs=constants, attrs=attrs)
    options = {"num_warps": settings.get("num_warps", 8)}
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    ptx = made.asm["ptx"]
    report = _assembled(ptx, triton.knobs.nvidia.ptxas.path)
    registers = re.search(r"Used (\d+) registers", report)
    spilled = re.search(r"(\d+) bytes spill stores", report)
    numbers = [registers.group(1) if registers else "?", spilled.group(1) if spilled else "?"]
    counts = [made.metadata.shared, ptx.count("wgmma.mma_async"), ptx.count("fma.rn.f32")]
    widths = (9, 9, 9, 6, 6)
    return [f"{value:>{width}}" for value, width in zip([*numbers, *counts], widths, strict=True)]


def _assembled(ptx: str, assembler: str) -> str:
    """What NVIDIA's assembler says of a kernel."""
    target = re.search(r"\.target (\S+)", ptx)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.ptx"
        path.write_text(ptx, encoding="utf-8")
        command = [assembler, "-v", f"--gpu-name={target.group(1) if target else 'sm_90a'}", str(path)]
        command += ["-o", str(path.with_suffix(".cubin"))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr
