"""Compile csrc/ into lib/skipw_<variant>.so, one library for each kind of vector unit.

engine.cpp is compiled once and goes into every library; kernels.cpp, the inner loops, once for each vector unit and
number type. ``python -m skipw.ops.native.build`` does it in place; setup.py loads this file by its path when the
package is installed, so it needs the standard library alone. A library carries the hash of what it was made of: the
sources and the flags. Where the hash is the right one nothing is compiled.
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
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "LIBRARIES",
    "SOURCES",
    "VARIANTS",
    "Outcome",
    "build",
    "find_compiler",
    "library_path",
    "source_hash",
    "summary",
    "variants_here",
]

SOURCES = Path(__file__).resolve().with_name("csrc")
LIBRARIES = Path(__file__).resolve().with_name("lib")
ENGINE, KERNELS = "engine.cpp", "kernels.cpp"
SUFFIXES = (".cpp", ".hpp", ".h")
REBUILD = "python -m skipw.ops.native.build"
NO_COMPILER = "no C++ compiler was found; install g++ or clang++, or name one in CXX"

FLAGS = (
    *("-std=c++17", "-O2", "-fPIC", "-pthread", "-fvisibility=hidden"),
    *("-fno-tree-vectorize", "-fno-ivopts"),  # vectors are written by hand: less to compile, no slower
    *("-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"),  # no -ffast-math: NaN has to stay NaN
    *("-Wall", "-Wextra", "-Wno-ignored-optimization-argument"),  # clang knows no -fno-ivopts
)
DOUBLE_FLAGS = ("-O1",)  # a third less to compile; float64 is for checks
LINK = ("-shared", "-pthread")
AVX512 = ("-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mprefer-vector-width=512")
VARIANTS = {  # the order of skipw_cpu_level()
    "plain": ("-DSKIPW_VECTOR_BYTES=16",),
    "avx2": ("-DSKIPW_VECTOR_BYTES=32", "-mavx2", "-mfma"),
    "avx512": ("-DSKIPW_VECTOR_BYTES=64", "-mavx2", "-mfma", *AVX512),
}
DOUBLES = {"plain": "plain", "avx2": "avx2", "avx512": "avx2"}  # whose loops a variant has for float64
LONGEST_S = 900


@dataclass(frozen=True)
class Outcome:
    """What became of one variant.

    Attributes:
        state: "built", "fresh" (it was there and is up to date) or "failed".
        message: what the compiler said: the reason where it failed, warnings else.
    """

    variant: str
    path: Path
    state: str
    message: str = ""


def variants_here() -> tuple[str, ...]:
    """The variants that are made on this kind of machine; all three on x86-64, else the plain one."""
    return tuple(VARIANTS) if platform.machine().lower() in ("x86_64", "amd64") else ("plain",)


def source_hash(sources: Path = SOURCES) -> str:
    """The SHA-256 of all sources, names and contents, and of the flags."""
    digest = hashlib.sha256(repr((FLAGS, DOUBLE_FLAGS, LINK, VARIANTS, DOUBLES)).encode())
    for file in sorted(sources.iterdir()):
        if file.suffix in SUFFIXES and not file.name.startswith("."):
            content = file.read_bytes()
            digest.update(f"\n{file.name} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()


def library_path(variant: str, folder: Path = LIBRARIES) -> Path:
    return folder / f"skipw_{variant}.so"


def find_compiler() -> list[str] | None:
    """The command of the C++ compiler: $CXX if it is set, else g++, else clang++; None if there is none."""
    named = os.environ.get("CXX", "").strip()
    for candidate in (named,) if named else ("g++", "clang++"):
        words = shlex.split(candidate)
        if shutil.which(words[0]):
            return words
    return None


def build(
    sources: Path = SOURCES,
    out: Path = LIBRARIES,
    *,
    variants: Sequence[str] | None = None,
    extra: Sequence[str] = (),
    force: bool = False,
) -> list[Outcome]:
    """Make the libraries that are missing or older than their sources, all at once. Never raises.

    Args:
        sources: the folder of engine.cpp and kernels.cpp.
        out: where the libraries go; it is made if need be. Each is written beside its place and renamed.
        variants: which; those of this machine if None.
        extra: flags after the usual ones, which they override. Libraries with extra flags are always made.
        force: compile also what is up to date.
    """
    chosen = tuple(variants or variants_here())
    compiler = find_compiler()
    try:
        digest = source_hash(sources)
        out.mkdir(parents=True, exist_ok=True)
        (sources / ENGINE).stat()
        paths = {variant: library_path(variant, out) for variant in chosen}
        stale = [name for name in chosen if force or extra or not _carries(paths[name], digest)]
        outcomes = {name: Outcome(name, paths[name], "fresh") for name in chosen}
        if compiler is None:
            outcomes |= {name: Outcome(name, paths[name], "failed", NO_COMPILER) for name in stale}
        elif stale:
            with tempfile.TemporaryDirectory(prefix=".", dir=out) as scratch:
                compile_one = [*compiler, *FLAGS, f'-DSKIPW_SOURCE_HASH="{digest}"', *extra, "-c"]
                answers = _compile(compile_one, sources, Path(scratch), stale)
                link = [*compiler, *LINK, *extra]
                outcomes |= {name: _link(link, name, paths[name], Path(scratch), answers) for name in stale}
        return list(outcomes.values())
    except OSError as error:
        return [Outcome(variant, library_path(variant, out), "failed", str(error)) for variant in chosen]


def _objects(variant: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """What a library is linked of: the names of its object files, each with its source and its flags."""
    doubles = DOUBLES[variant]
    named = f'-DSKIPW_VARIANT="{variant}"'
    return {
        "engine.o": (ENGINE, ()),
        f"float_{variant}.o": (KERNELS, (*VARIANTS[variant], "-DSKIPW_REAL=float", named)),
        f"double_{doubles}.o": (KERNELS, (*VARIANTS[doubles], *DOUBLE_FLAGS, "-DSKIPW_REAL=double")),
    }


def _compile(
    command: Sequence[str], sources: Path, folder: Path, variants: Sequence[str]
) -> dict[str, tuple[bool, str]]:
    """Make the object files of these variants, each once: whether it worked, and what the compiler said."""
    units = {name: unit for variant in variants for name, unit in _objects(variant).items()}

    def make(name: str) -> tuple[bool, str]:
        source, flags = units[name]
        return _run([*command, *flags, str(sources / source), "-o", str(folder / name)])

    with ThreadPoolExecutor(min(len(units), os.cpu_count() or 1)) as pool:
        return dict(zip(units, pool.map(make, units), strict=True))


def _link(
    command: Sequence[str], variant: str, path: Path, folder: Path, answers: Mapping[str, tuple[bool, str]]
) -> Outcome:
    """One library of its objects, if all of them were made; written beside its place and renamed."""
    names = list(_objects(variant))
    said = "\n".join(answers[name][1] for name in names if answers[name][1])
    if not all(answers[name][0] for name in names):
        return Outcome(variant, path, "failed", said)
    done, message = _run([*command, *(str(folder / name) for name in names), "-o", str(folder / path.name)])
    if not done:
        return Outcome(variant, path, "failed", message)
    os.replace(folder / path.name, path)
    return Outcome(variant, path, "built", said)


def _carries(path: Path, digest: str) -> bool:
    """Whether the library was made of these sources. It is not loaded: this CPU may not be made for it."""
    try:
        return digest.encode() in path.read_bytes()
    except OSError:
        return False


def _run(command: Sequence[str]) -> tuple[bool, str]:
    """Whether a compiler's command worked, and what it said."""
    try:
        done = subprocess.run(
            command, capture_output=True, check=False, text=True, errors="replace", timeout=LONGEST_S
        )
    except (OSError, subprocess.SubprocessError) as error:
        return False, str(error)
    said = done.stderr.strip()
    return done.returncode == 0, said or (
        f"{command[0]} ended with status {done.returncode}" if done.returncode else ""
    )


def summary(outcomes: Sequence[Outcome]) -> str:
    """One line for people: which variants there are now, and why others are missing."""
    made = [outcome for outcome in outcomes if outcome.state != "failed"]
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    parts = []
    if made:
        new = any(outcome.state == "built" for outcome in made)
        names = ", ".join(outcome.variant for outcome in made)
        parts.append(f"native library {'built' if new else 'up to date'} ({names})")
    if failed:
        names = ", ".join(outcome.variant for outcome in failed)
        parts.append(f"native library not built ({names}): {_reason(failed[0].message)}")
        if not made:
            parts.append(f"the backend 'compact' serves instead; remedy the cause, then run `{REBUILD}`")
    return "; ".join(parts)


def _reason(message: str) -> str:
    """The line of a compiler's message that says what is wrong."""
    lines = message.splitlines() or ["no reason given"]
    return next((line.strip() for line in lines if "error" in line.lower()), lines[0].strip())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=REBUILD, description="Build skipw's native library in place.")
    parser.add_argument("--force", action="store_true", help="compile also what is up to date")
    parser.add_argument("--only", choices=variants_here(), action="append", help="this variant, not all")
    chosen = parser.parse_args(arguments)
    outcomes = build(SOURCES, LIBRARIES, variants=chosen.only, force=chosen.force)
    for outcome in outcomes:
        if outcome.message and outcome.message != NO_COMPILER:
            sys.stderr.write(f"{outcome.variant}: {outcome.message}\n")
    failed = any(outcome.state == "failed" for outcome in outcomes)
    if failed:
        sys.stderr.write(f"skipw: warning: {summary(outcomes)}\n")
    else:
        sys.stdout.write(f"skipw: {summary(outcomes)}; {outcomes[0].path.parent}\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
