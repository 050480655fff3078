"""Results as a JSON file and back, checked on both ways (schema: benchmarks/README.md)."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any

from skipw.benchmark.machine import slug
from skipw.benchmark.records import (
    SCHEMA,
    GridRecord,
    MemoryRecord,
    Results,
    ScalingRecord,
    SpeedRecord,
    TargetRecord,
)
from skipw.benchmark.timing import Spread
from skipw.errors import DataFormatError

__all__ = ["file_name", "from_json", "read_results", "to_json", "write_results"]

RECORDS: dict[str, type] = {
    "speed": SpeedRecord,
    "scaling": ScalingRecord,
    "grid": GridRecord,
    "memory": MemoryRecord,
    "loop": SpeedRecord,
    "loop_scaling": ScalingRecord,
    "targets": TargetRecord,
}
ADDED = ("loop", "loop_scaling")  # after the first files of this schema


def to_json(results: Results) -> dict[str, Any]:
    """Plain values; a target carries ``met`` too."""
    values = {"schema": SCHEMA, **dataclasses.asdict(results)}
    for plain, target in zip(values["targets"], results.targets, strict=True):
        plain["met"] = target.met
    return _rounded(values)


def from_json(values: Any, source: str = "the results") -> Results:
    """Results from what ``to_json`` gave.

    Raises:
        DataFormatError: if the schema is another one, or a key is missing, unknown or of the wrong type.
    """
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        came = values.get("schema") if isinstance(values, dict) else type(values).__name__
        raise DataFormatError(f"{source}: expected results of schema {SCHEMA}, got {came!r}; measure again.")
    plain = {key: value for key, value in values.items() if key != "schema"}
    for key in ADDED:
        plain.setdefault(key, [])
    for key, kind in RECORDS.items():
        entries = plain.get(key)
        if not isinstance(entries, list):
            raise DataFormatError(f"{source}: {key} must be a list, got {type(entries).__name__}.")
        plain[key] = [_record(kind, entry, f"{source}: {key}[{i}]") for i, entry in enumerate(entries)]
    found: Results = _checked(Results, plain, source)
    return found


def write_results(results: Results, path: Path) -> None:
    """Write the JSON file, its folder included."""
    content = json.dumps(to_json(results), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    from_json(json.loads(content))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def read_results(path: Path) -> Results:
    """Read what ``write_results`` wrote.

    Raises:
        DataFormatError: if it cannot be read or is no such file.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataFormatError(f"{path} cannot be read ({error}); `make bench` writes such files.") from error
    return from_json(values, path.name)


def file_name(results: Results) -> str:
    """``<cpu>-<date>.json``; a quick run says so."""
    quick = "" if results.mode == "full" else f"-{results.mode}"
    return f"{slug(results.machine['cpu'])}-{results.date}{quick}.json"


def _record(kind: type, entry: Any, where: str) -> Any:
    if not isinstance(entry, dict):
        raise DataFormatError(f"{where} must be a mapping, got {type(entry).__name__}.")
    if kind is TargetRecord:
        entry = {key: value for key, value in entry.items() if key != "met"}
    for name, hint in typing.get_type_hints(kind).items():
        if hint is Spread and isinstance(entry.get(name), dict):
            entry = {**entry, name: _checked(Spread, entry[name], f"{where}.{name}")}
    return _checked(kind, entry, where)


def _checked(kind: type, values: dict[str, Any], where: str) -> Any:
    """``kind(**values)``, all keys there, none too many, plain types as annotated."""
    hints = typing.get_type_hints(kind)
    wrong = sorted(set(values) ^ set(hints))
    if wrong:
        raise DataFormatError(f"{where}: keys missing or unknown: {', '.join(wrong)}; measure again.")
    for name, hint in hints.items():
        plain = hint if isinstance(hint, type) and not isinstance(hint, types.GenericAlias) else object
        accepted = (int, float) if plain is float else plain
        value = values[name]
        if not isinstance(value, accepted) or (isinstance(value, bool) and plain is not bool):
            raise DataFormatError(
                f"{where}: {name} must be {plain.__name__}, got {type(value).__name__}; measure again."
            )
    return kind(**values)


def _rounded(value: Any) -> Any:
    """Floats to six digits that count, all the way down."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(entry) for entry in value]
    return value
