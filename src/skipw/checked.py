"""Turn a plain mapping, as YAML gives it, into a dataclass: every key, type and range is checked."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any, NoReturn, TypeVar

from skipw.errors import ParamsError

__all__ = ["build", "refuse_unknown", "value"]

T = TypeVar("T")


def value(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Iterable = (),
    filled: bool = False,
) -> Any:
    """A dataclass field with a default and what is allowed: ``low <= value <= high``, or a choice.

    Of a list that holds for each of its values; with ``filled`` it has at least one.
    """
    allowed = {"low": low, "high": high, "choices": tuple(choices), "filled": filled}
    return field(default=default, metadata=allowed)


def refuse_unknown(given: Iterable[object], known: Iterable[str], where: str, what: str = "key") -> None:
    """Raise if a key is not among the known ones; ``what`` is what the message calls it.

    Raises:
        ParamsError: names the first unknown key and the known key nearest to it.
    """
    known = list(known)
    for key in given:
        if key in known:
            continue
        near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ParamsError(
            f"{where or 'the file'}: unknown {what} {key!r}; {hint}Known {what}s: {', '.join(known)}."
        )


def build(cls: type[T], given: object, where: str) -> T:
    """An instance of the dataclass ``cls`` from a mapping; keys that are absent take their defaults.

    Args:
        cls: a dataclass whose fields were made with ``value`` or hold another such dataclass.
        given: the mapping, or None for an empty section.
        where: the mapping's place in its file, as ``evaluate.random``, for the messages.

    Raises:
        ParamsError: unknown key, wrong type, or a value outside its range.
    """
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        _expected("a section with keys", given, where)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    refuse_unknown(given, fields, where)
    hints = typing.get_type_hints(cls)
    checked = {}
    for key, content in given.items():
        place = f"{where}.{key}" if where else key
        checked[key] = _typed(content, hints[key], place)
        _check_range(checked[key], fields[key].metadata, place)
    return cls(**checked)


def _expected(what: str, came: object, where: str) -> NoReturn:
    raise ParamsError(f"{where or 'the file'}: expected {what}, got {came!r} ({type(came).__name__}).")


def _typed(content: object, hint: Any, where: str) -> Any:
    """``content`` as the type that ``hint`` names; a bool is no number, an int is a float too."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if content is None and type(None) in inner:
            return None
        parts = [part for part in inner if part is not type(None)]
        lists = [part for part in parts if typing.get_origin(part) is tuple]
        return _typed(content, lists[0] if lists and isinstance(content, list) else parts[0], where)
    if dataclasses.is_dataclass(hint):
        return build(hint, content, where)  # type: ignore[arg-type]
    if origin is tuple:
        return _typed_list(content, inner, where)
    if origin is dict:
        if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
            _expected("a section with names as keys", content, where)
        return {key: _typed(part, inner[1], f"{where}.{key}") for key, part in content.items()}
    return content if hint is Any else _typed_scalar(content, hint, where)


def _typed_list(content: object, inner: tuple, where: str) -> tuple:
    """A list as a tuple: ``tuple[X, ...]`` of any length, ``tuple[X, Y]`` of just these."""
    if not isinstance(content, (list, tuple)):
        _expected("a list", content, where)
    if inner[-1] is Ellipsis:
        inner = (inner[0],) * len(content)
    if len(content) != len(inner):
        _expected(f"a list of {len(inner)} values", content, where)
    return tuple(
        _typed(part, hint, f"{where}[{i}]") for i, (part, hint) in enumerate(zip(content, inner, strict=True))
    )


def _typed_scalar(content: object, hint: type, where: str) -> Any:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    if hint is float and isinstance(content, (int, float)) and not isinstance(content, bool):
        try:
            number = float(content)
        except OverflowError:  # a whole number beyond all floats
            number = math.inf
        if not math.isfinite(number):
            _expected("a finite number", content, where)
        return number
    if not isinstance(content, hint) or (isinstance(content, bool) and hint is not bool):
        _expected(names[hint], content, where)
    return content


def _check_range(content: Any, allowed: Mapping[str, Any], where: str) -> None:
    """Hold a value, or each number of a list, against its field's ``low``, ``high`` and ``choices``."""
    if content is None or not allowed:
        return
    if isinstance(content, tuple):
        if allowed["filled"] and not content:
            _expected("at least one value", list(content), where)
        for i, part in enumerate(content):
            _check_range(part, allowed, f"{where}[{i}]")
        return
    low, high, choices = allowed["low"], allowed["high"], allowed["choices"]
    if choices and content not in choices:
        near = difflib.get_close_matches(str(content), [str(c) for c in choices], n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        _expected(f"one of {', '.join(map(str, choices))}{hint}", content, where)
    if low is not None and content < low:
        _expected(f"at least {_plain(low)}", content, where)
    if high is not None and content > high:
        _expected(f"at most {_plain(high)}", content, where)


def _plain(limit: float) -> str:
    return str(limit) if isinstance(limit, int) else f"{limit:g}"
