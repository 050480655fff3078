"""The native library is built with the package, chosen for the CPU, and refused when it is out of date.

Most tests build a stand-in of a few lines; the package's own sources are only checked, not compiled again.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from skipw.errors import BackendUnavailableError
from skipw.ops.native import build, library

ROOT = Path(__file__).resolve().parents[2]
EXPORT = '#define EXPORT extern "C" __attribute__((visibility("default")))'
ENGINE = """
EXPORT int skipw_abi_version(void) { return ABI; }
EXPORT const char* skipw_source_hash(void) { return SKIPW_SOURCE_HASH; }
EXPORT int skipw_cpu_level(void) {
#ifdef __x86_64__
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) return 2;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 1;
#endif
  return 0;
}
""".replace("ABI;", f"{library.ABI_VERSION};")
KERNELS = """
#ifdef SKIPW_VARIANT
EXPORT const char* skipw_variant(void) { return SKIPW_VARIANT; }
EXPORT int skipw_vector_bytes(void) { return SKIPW_VECTOR_BYTES; }
#endif
#define JOINED(a, b) a##b
#define NAME(real) JOINED(stand_in_, real)
EXPORT int NAME(SKIPW_REAL)(void) { return SKIPW_VECTOR_BYTES; }
"""
STAND_IN = {build.ENGINE: EXPORT + ENGINE, build.KERNELS: EXPORT + KERNELS}
X86_64 = platform.machine().lower() in ("x86_64", "amd64")
needs_compiler = pytest.mark.skipif(build.find_compiler() is None, reason="there is no C++ compiler here")


@pytest.fixture(autouse=True)
def no_wishes(monkeypatch: pytest.MonkeyPatch):
    """Environment variables of whoever runs the tests stay outside, and nothing is remembered."""
    for name in ("SKIPW_NATIVE", "SKIPW_NATIVE_VARIANT", "SKIPW_NATIVE_LIBRARY"):
        monkeypatch.delenv(name, raising=False)
    library.forget()
    yield
    library.forget()


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    monkeypatch.delenv("CXX", raising=False)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with the stand-in's csrc, which build and library take for the package's."""
    put_stand_in(tmp_path / "csrc")
    monkeypatch.setattr(build, "SOURCES", tmp_path / "csrc")
    monkeypatch.setattr(build, "LIBRARIES", tmp_path / "lib")
    return tmp_path


def put_stand_in(folder: Path) -> None:
    folder.mkdir()
    for name, text in STAND_IN.items():
        (folder / name).write_text(text)


def make(home: Path, **options) -> dict[str, str]:
    """Build the stand-in; the state of each variant."""
    outcomes = build.build(home / "csrc", home / "lib", **options)
    return {outcome.variant: outcome.state for outcome in outcomes}


@needs_compiler
def test_building_twice_does_nothing_the_second_time(home: Path) -> None:
    assert set(make(home).values()) == {"built"}
    before = {path: path.stat().st_mtime_ns for path in (home / "lib").iterdir()}
    assert {path.name for path in before} == {f"skipw_{name}.so" for name in build.variants_here()}
    assert set(make(home).values()) == {"fresh"}
    assert {path: path.stat().st_mtime_ns for path in (home / "lib").iterdir()} == before
    assert set(make(home, variants=["plain"], force=True).values()) == {"built"}


@needs_compiler
def test_a_changed_source_is_refused_with_the_remedy(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(home, variants=["plain"])
    assert library.why_not() is None
    (home / "csrc" / "extra.hpp").write_text("// one more\n")
    library.forget()
    with pytest.raises(BackendUnavailableError, match=r"older than its sources; run `python -m skipw"):
        library.load()
    assert make(home, variants=["plain"]) == {"plain": "built"}
    (home / "lib").rename(home / "lib-anew")  # the loader of this process remembers files by their path
    monkeypatch.setattr(build, "LIBRARIES", home / "lib-anew")
    library.forget()
    assert library.why_not() is None


@needs_compiler
def test_without_sources_the_hash_is_not_asked(home: Path) -> None:
    make(home, variants=["plain"])
    shutil.rmtree(home / "csrc")
    assert library.variant() == "plain"


@needs_compiler
def test_every_variant_that_the_cpu_runs_is_loaded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(home)
    level = library.load().skipw_cpu_level()
    names = list(build.VARIANTS)
    assert library.variant() == names[level]
    for number, (name, width) in enumerate(zip(names, (16, 32, 64), strict=True)):
        monkeypatch.setenv("SKIPW_NATIVE_VARIANT", name)
        if number > level:
            assert "this CPU runs" in str(library.why_not())
        else:
            assert library.variant() == name
            assert library.load().skipw_vector_bytes() == library.load().stand_in_float() == width
            assert library.load().stand_in_double() == min(width, 32)
    monkeypatch.setenv("SKIPW_NATIVE_VARIANT", "sse9")
    assert "must be one of plain, avx2, avx512, got 'sse9'" in str(library.why_not())


@needs_compiler
def test_a_missing_variant_is_replaced_by_the_next_best(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(home, variants=["plain"])
    assert library.variant() == "plain"
    if library.load().skipw_cpu_level() >= 1:
        monkeypatch.setenv("SKIPW_NATIVE_VARIANT", "avx2")
        assert "was not built" in str(library.why_not())


@needs_compiler
def test_another_interface_and_another_file_are_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "csrc" / build.ENGINE).write_text(
        STAND_IN[build.ENGINE].replace(f"return {library.ABI_VERSION};", "return 77;")
    )
    make(home, variants=["plain"])
    assert f"interface 77, this version of skipw needs {library.ABI_VERSION}" in str(library.why_not())
    for content, said in ((b"not a library", "cannot be loaded"), (None, "there is no native library")):
        file = home / f"{said}.so"
        if content is not None:
            file.write_bytes(content)
        monkeypatch.setenv("SKIPW_NATIVE_LIBRARY", str(file))
        assert said in str(library.why_not())


@needs_compiler
def test_a_named_file_is_loaded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build.build(home / "csrc", home / "elsewhere", variants=["plain"], extra=["-O1", "-g"])
    monkeypatch.setenv("SKIPW_NATIVE_LIBRARY", str(home / "elsewhere" / "skipw_plain.so"))
    assert library.variant() == "plain"


@pytest.mark.parametrize("word", ["0", "off", "False"])
def test_switched_off(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIPW_NATIVE", word)
    assert library.why_not() == f"the native library is switched off by SKIPW_NATIVE={word}."
    with pytest.raises(BackendUnavailableError, match="switched off"):
        library.load()


def test_without_a_compiler(home: Path, no_compiler: None) -> None:
    outcomes = build.build(home / "csrc", home / "lib")
    assert {outcome.state for outcome in outcomes} == {"failed"}
    line = build.summary(outcomes)
    assert "\n" not in line and "no C++ compiler was found" in line and "'compact' serves instead" in line
    assert str(library.why_not()).startswith("the native library was not built: no C++ compiler was found")


def test_a_compiler_that_is_named_and_absent_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -m64")
    assert build.find_compiler() is None


@needs_compiler
def test_a_failing_compile_leaves_nothing_behind(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (home / "csrc" / build.ENGINE).write_text("#error this does not compile\n")
    assert build.main([]) == 1
    warnings = [line for line in capfd.readouterr().err.splitlines() if line.startswith("skipw: warning")]
    assert len(warnings) == 1 and "this does not compile" in warnings[0]
    assert list((home / "lib").iterdir()) == []
    assert "was not built" in str(library.why_not())


@needs_compiler
def test_loading_is_quick_and_needs_no_torch(home: Path) -> None:
    make(home)
    times = []
    for _ in range(5):
        library.forget()
        begun = time.perf_counter()
        library.load()
        times.append(time.perf_counter() - begun)
    assert min(times) < 0.005
    code = Path(library.__file__).read_text(encoding="utf-8")
    assert not re.search(r"^\s*(import|from) (torch|numpy)", code, re.MULTILINE)


def with_source() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src")}


@needs_compiler
def test_a_wheel_holds_libraries_and_sources_for_this_machine(tmp_path: Path) -> None:
    names, tag = wheel(tmp_path, with_source())
    for variant in build.variants_here():
        assert f"skipw/ops/native/lib/skipw_{variant}.so" in names
    assert "skipw/runtime/_stream.abi3.so" in names and "skipw/runtime/csrc/skipw.h" in names
    assert f"skipw/ops/native/csrc/{build.ENGINE}" in names
    assert tag.startswith("py3-none-") and not tag.endswith("-any")


def test_a_wheel_without_a_compiler_is_a_pure_one(tmp_path: Path, no_compiler: None) -> None:
    names, tag = wheel(tmp_path, with_source())
    assert not any(name.endswith(".so") for name in names)
    assert f"skipw/ops/native/csrc/{build.ENGINE}" in names
    assert tag == "py3-none-any"


def wheel(folder: Path, environment: dict[str, str]) -> tuple[list[str], str]:
    """Build a wheel of a copy in which the stand-in takes the engine's place; its files and its tag."""
    copy = folder / "copy"
    package = copy / "src" / "skipw"
    hidden = shutil.ignore_patterns("__pycache__", "*.so", ".*")
    shutil.copytree(Path(build.__file__).parent, package / "ops" / "native", ignore=hidden)
    shutil.copytree(ROOT / "src" / "skipw" / "runtime", package / "runtime", ignore=hidden)
    for part in ("__init__.py", "ops/__init__.py"):
        shutil.copy(ROOT / "src" / "skipw" / part, package / part)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    shutil.rmtree(package / "ops" / "native" / "csrc", ignore_errors=True)
    put_stand_in(package / "ops" / "native" / "csrc")
    (package / "ops" / "native" / "__init__.py").touch()
    command = "from setuptools import build_meta; build_meta.build_wheel('..')"
    done = subprocess.run(
        [sys.executable, "-c", command],
        check=False,
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("skipw: ")]
    assert len(said) == 2, said
    (file,) = folder.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        return archive.namelist(), file.stem.split("-", 2)[2]


def test_the_header_and_the_loader_name_the_same_interface() -> None:
    header = (build.SOURCES / "skipw_engine.h").read_text(encoding="utf-8")
    found = re.search(r"#define SKIPW_ABI_VERSION (\d+)", header)
    assert found is not None and int(found[1]) == library.ABI_VERSION


@needs_compiler
def test_the_packages_own_library_is_up_to_date_here() -> None:
    assert library.why_not() is None
    assert library.variant() in build.variants_here()


@needs_compiler
def test_two_variants_live_in_one_process() -> None:
    if library.why_not() or library.variant() == "plain":
        pytest.skip(f"only the plain variant runs here: {library.why_not()}")
    plain = ctypes.CDLL(str(build.library_path("plain")))
    plain.skipw_variant.restype = ctypes.c_char_p
    assert plain.skipw_variant() == b"plain"
    assert library.load().skipw_variant() != b"plain"


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["g++", "clang++", "aarch64-linux-gnu-g++"])
def test_the_sources_compile_without_a_warning(compiler: str) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    names = build.variants_here() if "aarch64" not in compiler else ("plain",)
    units = {unit for name in names for unit in build._objects(name).values()}
    for source, flags in sorted(units):
        command = [compiler, *build.FLAGS, *flags, "-fsyntax-only", str(build.SOURCES / source)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr, f"{' '.join(command)}\n{done.stderr}"
