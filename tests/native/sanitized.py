"""The native tests inside a sanitizer: how it is built, how its process starts, and what runs in that process.

``python -m tests.native.sanitized -m sanitized tests/native`` runs pytest with these arguments in this process and
then a check that the library of SKIPW_NATIVE_LIBRARY was the one at work; test_sanitizers.py starts it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from skipw.ops.native import build

ROOT = Path(__file__).resolve().parents[2]
NONE_RAN, NOT_LOADED = 91, 92
"""Exit statuses of this script beyond pytest's own."""


@dataclass(frozen=True)
class Sanitizer:
    """One way to watch a library.

    Attributes:
        runtime: the library that has to be in the process first.
        flags: for the compiler, beyond the usual ones.
        options: environment variables that the runtime reads.
        marker: of the tests that run under it.
    """

    runtime: str
    flags: tuple[str, ...]
    options: dict[str, str]
    marker: str


ADDRESS = Sanitizer(
    "libasan.so",
    ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1", "-g1", "-DSKIPW_POISON"),
    # Python keeps memory until its end on purpose; everything else is watched.
    {"ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=1", "UBSAN_OPTIONS": "print_stacktrace=1"},
    "sanitized",
)
THREAD = Sanitizer(
    "libtsan.so",
    ("-fsanitize=thread", "-O1", "-g1", "-fno-omit-frame-pointer"),
    {
        "TSAN_OPTIONS": f"exitcode=66:second_deadlock_stack=1:suppressions={Path(__file__).with_name('torch.supp')}",
        "SKIPW_NATIVE_THREADS": "own",  # OpenMP's own way of waiting for its threads is not watched: false alarms
    },
    "threaded",
)


def missing(sanitizer: Sanitizer) -> str | None:
    """Why this sanitizer cannot work here, None if it can."""
    if not sys.platform.startswith("linux"):
        return "sanitizers are loaded the way of Linux"
    if (compiler := build.find_compiler()) is None:
        return build.NO_COMPILER
    named = subprocess.run([*compiler, "--version"], check=True, capture_output=True, text=True).stdout
    if "clang" in named:
        return f"only g++'s sanitizers can be loaded before Python, the compiler is {named.splitlines()[0]}"
    if not _file(sanitizer.runtime).is_absolute():
        return f"the compiler has no {sanitizer.runtime}"
    done = run(sanitizer, [sys.executable, "-c", "pass"])
    return f"{sanitizer.runtime} does not start: {done.stdout[-500:]}" if done.returncode else None


def run(
    sanitizer: Sanitizer, command: list[str], library: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command with the sanitizer's runtime in it; stdout holds both streams."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("SKIPW_", "PYTEST_"))}
    environment = {
        **kept,
        **sanitizer.options,
        # libstdc++ too: the runtimes look for its functions when they start, and python does not link to it.
        "LD_PRELOAD": f"{_file(sanitizer.runtime)} {_file('libstdc++.so.6')}",
        "PYTHONMALLOC": "malloc",  # each of Python's own buffers is watched, not only the pools
        "PYTHONPATH": str(ROOT / "src"),
        "OMP_NUM_THREADS": "1",
    }
    if library is not None:
        environment["SKIPW_NATIVE_LIBRARY"] = str(library)
    return subprocess.run(
        [*_fixed_addresses(), *command],
        check=False,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def _file(name: str) -> Path:
    """Where the compiler has a library; the bare name if nowhere."""
    command = [*(build.find_compiler() or ["g++"]), f"-print-file-name={name}"]
    return Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


def _fixed_addresses() -> list[str]:
    """A prefix that switches address randomisation off: older thread sanitizers fail on newer kernels without."""
    prefix = ["setarch", "-R"]
    if shutil.which("setarch") is None:
        return []
    return (
        prefix if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode == 0 else []
    )


class Counter:
    """A pytest plugin that counts the tests that passed."""

    passed = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.passed += report.when == "call" and report.passed


def main(arguments: list[str]) -> int:
    """pytest, then: did tests pass at all, and was the library at work?"""
    file = os.environ["SKIPW_NATIVE_LIBRARY"]
    counter = Counter()
    status = int(pytest.main([*arguments, "-p", "no:cacheprovider", "-p", "no:xdist"], plugins=[counter]))
    loaded = [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(".so")]
    at_work = {Path(line.split()[-1]).name: line.split()[-1] for line in loaded if "skipw_" in line}
    sys.stdout.write(f"{counter.passed} passed with {', '.join(at_work.values()) or 'no native library'}\n")
    if status:
        return status
    if list(at_work.values()) != [file]:
        return NOT_LOADED
    return 0 if counter.passed else NONE_RAN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
