"""The native tests with every memory access, overflow and data race watched.

Tests marked ``sanitized`` run once more in a process of their own with a library that was built with the address and
undefined-behaviour sanitizers, those marked ``threaded`` with the thread sanitizer. Only the library is watched:
what Python and torch do among themselves is not reported, but buffers that they hand over are guarded.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from skipw.ops.native import build, library
from tests.native import sanitized
from tests.native.sanitized import ADDRESS, THREAD, Sanitizer

SPOILT = """
#include <thread>
#define EXPORT extern "C" __attribute__((visibility("default")))
EXPORT void fine(int* values, int count) { for (int i = 0; i < count; ++i) values[i] += i; }
EXPORT void write_beyond(int* values, int count) { values[count] = 1; }
EXPORT int overflow(int* values, int) { return values[0] + 2147483647; }
EXPORT void race(int* values, int count) {
  auto work = [=] { for (int turn = 0; turn < 1000; ++turn) for (int i = 0; i < count; ++i) values[i] += 1; };
  std::thread one(work), two(work);
  one.join();
  two.join();
}
"""
CALL = """
import ctypes, sys
values = (ctypes.c_int * 64)(*[1] * 64)
getattr(ctypes.CDLL(sys.argv[1]), sys.argv[2])(values, 64)
"""


def built(sanitizer: Sanitizer, sources: Path, folder: Path, variant: str) -> Path:
    """The library of these sources with the sanitizer in it."""
    if reason := sanitized.missing(sanitizer):
        pytest.skip(reason)
    (outcome,) = build.build(sources, folder, variants=[variant], extra=sanitizer.flags)
    assert outcome.state == "built", outcome.message
    return outcome.path


@pytest.mark.parametrize(
    ("sanitizer", "function", "said"),
    [
        pytest.param(ADDRESS, "fine", "", id="address-fine"),
        pytest.param(ADDRESS, "write_beyond", "heap-buffer-overflow", id="address-beyond"),
        pytest.param(ADDRESS, "overflow", "signed integer overflow", id="undefined"),
        pytest.param(THREAD, "fine", "", id="thread-fine"),
        pytest.param(THREAD, "race", "data race", id="thread-race"),
    ],
)
def test_a_fault_is_caught(sanitizer: Sanitizer, function: str, said: str, tmp_path: Path) -> None:
    (tmp_path / build.ENGINE).write_text(SPOILT)
    (tmp_path / build.KERNELS).write_text("")
    path = built(sanitizer, tmp_path, tmp_path / "lib", "plain")
    done = sanitized.run(sanitizer, [sys.executable, "-c", CALL, str(path), function])
    assert said in done.stdout
    assert (done.returncode != 0) == bool(said), done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "sanitizer", [pytest.param(ADDRESS, id="address"), pytest.param(THREAD, id="thread")]
)
def test_the_native_tests_are_clean(sanitizer: Sanitizer, tmp_path: Path) -> None:
    path = built(sanitizer, build.SOURCES, tmp_path, "plain" if library.why_not() else library.variant())
    command = ["-m", "tests.native.sanitized", "-q", "-m", sanitizer.marker, "tests/native"]
    done = sanitized.run(sanitizer, [sys.executable, *command], path)
    assert done.returncode != sanitized.NOT_LOADED, f"another library was at work:\n{done.stdout}"
    assert done.returncode not in (sanitized.NONE_RAN, pytest.ExitCode.NO_TESTS_COLLECTED), (
        f"no native test marked {sanitizer.marker!r} passed:\n{done.stdout}"
    )
    assert done.returncode == 0, f"status {done.returncode}\n{report(done.stdout)}"
    assert f"passed with {path}" in done.stdout


def report(text: str) -> str:
    """A sanitizer's words if there are any, else the end of what pytest said."""
    for sign in ("ERROR: AddressSanitizer", "runtime error:", "WARNING: ThreadSanitizer"):
        if (start := text.find(sign)) >= 0:
            return text[max(0, start - 200) : start + 6000]
    return text[-6000:]
