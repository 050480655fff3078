"""Compile the C step of csrc/ into the extension module ``skipw.runtime._stream``.

``python -m skipw.runtime.build`` does it in place; setup.py loads this file by its path when the package is installed,
so it needs the standard library alone. The module uses Python's stable ABI: one file serves 3.11 and later. It
carries the hash of what it was made of; where the hash is the right one nothing is compiled.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["BOARD_FILES", "BOARD_SOURCES", "LIBRARY", "SOURCES", "build", "find_compiler", "source_hash"]

HOME = Path(__file__).resolve().parent
SOURCES = HOME / "csrc"
LIBRARY = HOME / "_stream.abi3.so"
REBUILD = "python -m skipw.runtime.build"
KERNELS = ("products.c", "cells.c")
REST = ("skipw.c", "normalise.c")
BOARD_SOURCES = (*REST, *KERNELS)
BOARD_FILES = ("skipw.h", "skipw_internal.h", *BOARD_SOURCES)
"""What a board needs."""
PYTHON_FILES = ("dispatch.h", "dispatch.c", "module.c")
FLAGS = (
    *("-std=gnu99", "-O3", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-psabi"),
    *("-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"),  # no -ffast-math: NaN has to stay NaN
)
DISPATCH = ("-DSKIPW_DISPATCH", "-DPy_LIMITED_API=0x030B0000")
AVX2 = ("-mavx2", "-mfma")
AVX512 = ("-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl")
VARIANTS = {"plain": (), "avx2": AVX2, "avx512": (*AVX2, *AVX512)}
LONGEST_S = 300


def source_hash(sources: Path = SOURCES) -> str:
    """The SHA-256 of all sources, names and contents, and of the flags."""
    digest = hashlib.sha256(repr((FLAGS, DISPATCH, VARIANTS)).encode())
    for name in (*BOARD_FILES, *PYTHON_FILES):
        content = (sources / name).read_bytes()
        digest.update(f"\n{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def find_compiler() -> list[str] | None:
    """The command of the C compiler: $CC if it is set, else gcc, cc or clang; None if there is none."""
    named = os.environ.get("CC", "").strip()
    for candidate in (named,) if named else ("gcc", "cc", "clang"):
        words = shlex.split(candidate)
        if shutil.which(words[0]):
            return words
    return None


def _units() -> dict[str, tuple[str, ...]]:
    """Object files by name, each with its source and its flags; on x86-64 the kernels for three vector units."""
    variants = VARIANTS if platform.machine().lower() in ("x86_64", "amd64") else {"plain": ()}
    units = {
        f"{variant}-{source}.o": (source, f"-DSKIPW_VARIANT={variant}", *flags)
        for variant, flags in variants.items()
        for source in KERNELS
    }
    rest = {f"{source}.o": (source, *DISPATCH) for source in (*REST, *PYTHON_FILES) if source.endswith(".c")}
    return units | rest


def _compile(compiler: Sequence[str], folder: Path, target: Path, extra: Sequence[str]) -> str | None:
    """Make ``target``; None, or what the compiler said."""
    common = [*compiler, *FLAGS, f'-DSKIPW_SOURCE_HASH="{source_hash()}"', *extra]
    headers = f"-I{sysconfig.get_paths()['include']}"
    commands = [
        [*common, *flags, headers, "-c", str(SOURCES / source), "-o", str(folder / name)]
        for name, (source, *flags) in _units().items()
    ]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        said = [answer for answer in pool.map(_run, commands) if answer]
    objects = [str(folder / name) for name in _units()]
    return said[0] if said else _run([*compiler, "-shared", *extra, *objects, "-lm", "-o", str(target)])


def _run(command: Sequence[str]) -> str | None:
    """None if it worked, else the line that says why not."""
    done = subprocess.run(
        command, capture_output=True, check=False, text=True, errors="replace", timeout=LONGEST_S
    )
    if not done.returncode:
        return None
    lines = done.stderr.splitlines() or [f"{command[0]} ended with status {done.returncode}"]
    return next((line for line in lines if "error" in line.lower()), lines[0]).strip()


def build(target: Path = LIBRARY, *, force: bool = False, extra: Sequence[str] = ()) -> tuple[bool, str]:
    """Make the extension if it is missing or older than its sources. Never raises.

    Returns:
        Whether it is there now, and one line for people.
    """
    try:
        if not force and not extra and target.is_file() and source_hash().encode() in target.read_bytes():
            return True, "C step up to date"
        if (compiler := find_compiler()) is None:
            return False, "C step not built: no C compiler was found; install gcc, or name one in CC"
        if not Path(sysconfig.get_paths()["include"], "Python.h").is_file():
            return False, "C step not built: Python.h is missing; install Python's headers (python3-dev)"
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as scratch:
            made = Path(scratch, target.name)
            if (said := _compile(compiler, Path(scratch), made, extra)) is not None:
                return False, f"C step not built: {said}"
            os.replace(made, target)
        return True, "C step built"
    except (OSError, subprocess.SubprocessError) as error:
        return False, f"C step not built: {error}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=REBUILD, description="Build the C step in place.")
    parser.add_argument("--force", action="store_true", help="compile also what is up to date")
    made, said = build(force=parser.parse_args(arguments).force)
    if made:
        sys.stdout.write(f"skipw: {said}\n")
    else:
        sys.stderr.write(f"skipw: warning: {said}; streams run in numpy\n")
    return int(not made)


if __name__ == "__main__":
    sys.exit(main())
