"""Build the native library when the package is installed; everything else stands in pyproject.toml.

Without a C++ compiler the installation succeeds too, and the wheel is a pure one.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

HOME = Path("src", "skipw", "ops", "native")


def load_build() -> ModuleType:
    """build.py, without importing the package that is just being installed."""
    spec = importlib.util.spec_from_file_location("skipw_native_build", HOME / "build.py")
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
        tool = load_build()
        folder = HOME if self.inplace else Path(self.build_lib, *HOME.parts[1:])
        outcomes = tool.build(HOME / "csrc", folder / "lib")
        self.made = tuple(outcome.path for outcome in outcomes if outcome.state != "failed")
        self.distribution.pure = not self.made
        failed = [outcome.path for outcome in outcomes if outcome.state == "failed"]
        for path in failed:
            path.unlink(missing_ok=True)  # of an earlier build: it would be refused when loaded
        sys.stderr.write(f"skipw: {'warning: ' if failed else ''}{tool.summary(outcomes)}\n")

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
