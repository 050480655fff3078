"""Build what is compiled when the package is installed; everything else stands in pyproject.toml.

That is the native library (C++, skipw.ops.native) and the C step of streams (skipw.runtime). Without a compiler the
installation succeeds too, and the wheel is a pure one.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

NATIVE = Path("src", "skipw", "ops", "native")
RUNTIME = Path("src", "skipw", "runtime")


def load_build(home: Path) -> ModuleType:
    """Its build.py, without importing the package that is just being installed."""
    spec = importlib.util.spec_from_file_location(f"skipw_{home.name}_build", home / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class BuildNative(build_ext):
    """The libraries go into the wheel, or beside the sources for an installation in place."""

    made: tuple[Path, ...] | None = None

    def run(self) -> None:
        if self.made is not None:  # bdist_wheel asks for it, then "build" does
            return
        libraries = self._build_native(load_build(NATIVE), self._folder(NATIVE))
        steps = self._build_step(load_build(RUNTIME), self._folder(RUNTIME))
        self.made = (*libraries, *steps)
        self.distribution.pure = not self.made

    def _folder(self, home: Path) -> Path:
        return home if self.inplace else Path(self.build_lib, *home.parts[1:])

    def _build_native(self, tool: ModuleType, folder: Path) -> list[Path]:
        outcomes = tool.build(NATIVE / "csrc", folder / "lib")
        failed = [outcome.path for outcome in outcomes if outcome.state == "failed"]
        for path in failed:
            path.unlink(missing_ok=True)  # of an earlier build: it would be refused when loaded
        sys.stderr.write(f"skipw: {'warning: ' if failed else ''}{tool.summary(outcomes)}\n")
        return [outcome.path for outcome in outcomes if outcome.state != "failed"]

    def _build_step(self, tool: ModuleType, folder: Path) -> list[Path]:
        path = folder / tool.LIBRARY.name
        made, said = tool.build(path)
        if not made:
            path.unlink(missing_ok=True)
        sys.stderr.write(f"skipw: {said if made else f'warning: {said}; streams run in numpy'}\n")
        return [path] if made else []

    def get_source_files(self) -> list[str]:
        return []  # they are package data

    def get_outputs(self) -> list[str]:
        return [] if self.inplace else [str(path) for path in self.made or ()]

    def get_output_mapping(self) -> dict[str, str]:
        return {}


class Wheel(bdist_wheel):
    """Any Python 3 may load the libraries, but only this kind of machine."""

    def run(self) -> None:
        self.run_command("build_ext")  # first: what comes of it decides where everything else goes
        self.root_is_pure = self.distribution.pure
        super().run()

    def get_tag(self) -> tuple[str, str, str]:
        _, _, machine = super().get_tag()
        return "py3", "none", "any" if self.distribution.pure else machine


class Native(Distribution):
    """A package whose build_ext runs although it lists no extension modules."""

    pure = False

    def has_ext_modules(self) -> bool:
        return not self.pure


setup(distclass=Native, cmdclass={"build_ext": BuildNative, "bdist_wheel": Wheel})
