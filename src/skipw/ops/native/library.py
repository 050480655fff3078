"""Find the compiled library, choose the variant that suits this CPU, and refuse one that is out of date.

Environment variables, read at every call:
    SKIPW_NATIVE=0: no native library.
    SKIPW_NATIVE_VARIANT=plain|avx2|avx512: this variant instead of the best one.
    SKIPW_NATIVE_LIBRARY=/path/to/file.so: this file instead of those that come with the package.
    SKIPW_NATIVE_THREADS=own: threads made for each call instead of PyTorch's (thread sanitizers know those only).
"""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path

from skipw.errors import BackendUnavailableError

__all__ = ["ABI_VERSION", "forget", "load", "variant", "why_not"]

ABI_VERSION = 7
"""What skipw_abi_version() has to answer: one more whenever a struct or a function of skipw_engine.h changes."""

_OFF = ("0", "off", "no", "false")
_SETTINGS = ("SKIPW_NATIVE", "SKIPW_NATIVE_VARIANT", "SKIPW_NATIVE_LIBRARY")


def load() -> ctypes.CDLL:
    """The library for this CPU; the same object at every call with the same environment variables.

    Raises:
        BackendUnavailableError: with the reason and the remedy, see ``why_not``.
    """
    found = _find(*map(os.environ.get, _SETTINGS))
    if isinstance(found, str):
        raise BackendUnavailableError(found)
    return found


def why_not() -> str | None:
    """None if ``load`` succeeds, else one sentence: the reason and the remedy."""
    found = _find(*map(os.environ.get, _SETTINGS))
    return found if isinstance(found, str) else None


def variant() -> str:
    """The loaded library's variant: "plain", "avx2" or "avx512".

    Raises:
        BackendUnavailableError: as ``load``.
    """
    name: bytes = load().skipw_variant()
    return name.decode()


def forget() -> None:
    """Look at the files again at the next call. Libraries that were handed out stay usable."""
    _find.cache_clear()


@functools.cache
def _find(*given: str | None) -> ctypes.CDLL | str:
    """The library with these ``_SETTINGS``, or why there is none. Both are remembered."""
    switch, wish, file = ((value or "").strip() for value in given)
    try:
        if switch.lower() in _OFF:
            raise BackendUnavailableError(f"the native library is switched off by SKIPW_NATIVE={switch}.")
        return _checked(Path(file)) if file else _checked(_choose(wish))
    except BackendUnavailableError as error:
        return str(error)


def _choose(wish: str) -> Path:
    """The wished variant, or the best one that is there and that this CPU can run."""
    from skipw.ops.native import build

    names = list(build.VARIANTS)
    if wish and wish not in names:
        raise BackendUnavailableError(
            f"SKIPW_NATIVE_VARIANT must be one of {', '.join(names)}, got {wish!r}."
        )
    level = _open(build.library_path("plain", build.LIBRARIES)).skipw_cpu_level()
    if wish and names.index(wish) > level:
        raise BackendUnavailableError(
            f"SKIPW_NATIVE_VARIANT={wish}: this CPU runs {' and '.join(names[: level + 1])} only; unset the variable."
        )
    chosen = wish or next(
        name
        for name in reversed(names[: level + 1])
        if name == "plain" or build.library_path(name, build.LIBRARIES).is_file()
    )
    return build.library_path(chosen, build.LIBRARIES)


def _open(path: Path) -> ctypes.CDLL:
    """Load one file; it need not be up to date."""
    from skipw.ops.native import build

    if not path.is_file():
        raise BackendUnavailableError(_not_built(path))
    try:
        library = ctypes.CDLL(str(path.resolve()))
        for name in ("skipw_variant", "skipw_source_hash"):
            getattr(library, name).restype = ctypes.c_char_p
        for name in ("skipw_abi_version", "skipw_cpu_level"):
            getattr(library, name).restype = ctypes.c_int
    except (OSError, AttributeError) as error:
        raise BackendUnavailableError(
            f"the native library cannot be loaded ({error}); run `{build.REBUILD} --force`."
        ) from error
    return library


def _checked(path: Path) -> ctypes.CDLL:
    """Load one file that fits this code and its sources."""
    from skipw.ops.native import build

    library = _open(path)
    made_of: bytes = library.skipw_source_hash()
    if (build.SOURCES / build.ENGINE).is_file() and made_of.decode() != build.source_hash(build.SOURCES):
        raise BackendUnavailableError(
            f"{path} is older than its sources; run `{build.REBUILD}` and start Python again."
        )
    if (version := library.skipw_abi_version()) != ABI_VERSION:
        raise BackendUnavailableError(
            f"{path} has interface {version}, this version of skipw needs {ABI_VERSION}; run `{build.REBUILD}`."
        )
    return library


def _not_built(path: Path) -> str:
    from skipw.ops.native import build

    if path.parent != build.LIBRARIES:
        return f"there is no native library {path}."
    if build.find_compiler() is None:
        return f"the native library was not built: {build.NO_COMPILER}, then run `{build.REBUILD}`."
    return f"the native library was not built; run `{build.REBUILD}`."
