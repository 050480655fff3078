"""A request's body, read strictly before MLflow sees it.

MLflow's parser takes NaN and doubled keys, drops keys that it doesn't know, echoes whole bodies in errors, answers
500 to some, and builds a table of rows x all names that occur; so here everything is checked first.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skipw.errors import BudgetError, ParamsError
from skipw.tracking.serving.refusal import Refusal

__all__ = ["FORMATS", "Reader"]

FORMATS = ("dataframe_records", "dataframe_split", "instances", "inputs")
PARAMS = "params"
COLUMN = "sequence"
DEEPEST = 16  # the deepest valid body has 7 levels
LONGEST_TEXT = 2**17  # characters; the csv module's own limit of a cell, too
DEPTH_CHANGES = np.zeros(256, dtype=np.int8)
DEPTH_CHANGES[[ord("["), ord("{")]] = 1
DEPTH_CHANGES[[ord("]"), ord("}")]] = -1


@dataclass(frozen=True)
class Reader:
    """Checks bodies for one model.

    Attributes:
        is_text: sequences are texts, else lists of numbers or of rows.
        check_params: raises BudgetError or ParamsError for params that the model can't follow.
        max_sequences: in a request.
        max_inputs: in a request, over all sequences.
        width: numbers an input.
    """

    is_text: bool
    check_params: Callable[[Mapping[str, Any]], object]
    max_sequences: int
    max_inputs: int
    width: int = 1

    def json(self, body: bytes) -> bytes:
        """The body to hand to MLflow: the same, or for ``instances`` and ``inputs`` the same as a table.

        MLflow makes arrays of ``instances``, which can't be ragged, and copies ``inputs`` value by value.

        Raises:
            Refusal: 400 or 413, and why.
        """
        request = _parsed(body, self._most_values())
        if not isinstance(request, dict):
            raise Refusal(
                400, f"expected a JSON object with one of {_listed(FORMATS)}, got {_kind(request)}."
            )
        if unknown := [key for key in request if key not in (*FORMATS, PARAMS)]:
            raise Refusal(400, f"unknown field {unknown[0]!r}; known are {_listed(FORMATS)} and {PARAMS!r}.")
        formats = [key for key in FORMATS if key in request]
        if len(formats) != 1:
            raise Refusal(
                400, f"expected exactly one of {_listed(FORMATS)}, got {_listed(formats) or 'none'}."
            )
        self._check_params(request.get(PARAMS))
        name = formats[0]
        sequences = _sequences(name, request[name])
        self._check(sequences, name)
        if name in ("dataframe_records", "dataframe_split"):
            return body
        table = {"columns": [COLUMN], "data": [[sequence] for sequence in sequences]}
        return json.dumps({"dataframe_split": table, PARAMS: request.get(PARAMS)}).encode("ascii")

    def csv(self, body: bytes) -> bytes:
        """The same body; only texts fit into a cell.

        Raises:
            Refusal: 400 or 413, and why.
        """
        if not self.is_text:
            raise Refusal(400, "CSV holds texts only; send sequences of numbers as application/json.")
        table = csv.reader(io.StringIO(_text(body)), strict=True)
        try:
            header = next(table, [])
            if header != [COLUMN]:
                raise Refusal(
                    400, f"expected a CSV table with the one column {COLUMN!r}, got {header[:8]!r}."
                )
            rows = 0
            for cells in table:
                if len(cells) > 1:
                    raise Refusal(
                        400, f"CSV, row {rows}: expected one cell, got {len(cells)}; quote the text."
                    )
                rows += len(cells)  # an empty line is no row
                self._check_count(rows)
        except csv.Error as error:
            raise Refusal(400, f"not a CSV table ({error}).", "MALFORMED_REQUEST") from error
        if not rows:
            raise Refusal(400, "the table has no row; give at least one.")
        return body

    def _most_values(self) -> int:
        """Of JSON that is worth parsing; parsing what is far too much would hold up the whole process."""
        inputs = 0 if self.is_text else self.max_inputs * (self.width + 1)
        return 100 + 4 * self.max_sequences + inputs

    def _check_params(self, params: Any) -> None:
        if params is None:
            return
        if not isinstance(params, dict):
            raise Refusal(400, f"{PARAMS!r} must be an object such as {{'budget': 3}}, got {_kind(params)}.")
        try:
            self.check_params(params)
        except (BudgetError, ParamsError) as error:
            raise Refusal(400, str(error)) from error

    def _check(self, sequences: Sequence[Any], name: str) -> None:
        if not sequences:
            raise Refusal(400, f"{name!r} holds no sequence; give at least one.")
        self._check_count(len(sequences))
        inputs = 0
        for row, sequence in enumerate(sequences):
            if not isinstance(sequence, str if self.is_text else list):
                kind = "a text" if self.is_text else "a list of numbers, or of rows of numbers"
                raise Refusal(400, f"row {row}: a sequence is {kind}, got {_kind(sequence)}.")
            if isinstance(sequence, list):
                inputs += len(sequence)
            elif len(sequence) > LONGEST_TEXT:
                raise Refusal(
                    413, f"row {row}: a text has at most {LONGEST_TEXT} characters, got {len(sequence)}."
                )
        if inputs > self.max_inputs:
            raise Refusal(
                413, f"the request holds {inputs} inputs, at most {self.max_inputs} are taken; send several."
            )

    def _check_count(self, count: int) -> None:
        if count > self.max_sequences:
            raise Refusal(
                413, f"the request holds more than {self.max_sequences} sequences; send several requests."
            )


def _text(body: bytes) -> str:
    if not body.strip():
        raise Refusal(400, "the body is empty; GET / shows an example.", "MALFORMED_REQUEST")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal(
            400, f"the body is not UTF-8 (byte {error.start}: {error.reason}).", "MALFORMED_REQUEST"
        ) from error


def _parsed(body: bytes, most_values: int) -> Any:
    """JSON of RFC 8259 and nothing beyond."""
    text = _text(body)
    signs = _outside_strings(body)
    if _depth(signs) > DEEPEST:
        raise Refusal(400, f"the JSON is nested deeper than {DEEPEST} levels.", "MALFORMED_REQUEST")
    values = sum(signs.count(sign) for sign in (b",", b"[", b"{"))
    if values > most_values:
        raise Refusal(413, f"the JSON holds {values} values, at most {most_values} are taken; send several.")
    try:
        parsed = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
        if "\\u" in text:
            json.dumps(parsed, ensure_ascii=False).encode("utf-8")  # half a surrogate pair is no text
    except json.JSONDecodeError as error:
        raise Refusal(
            400, f"not JSON: {error.msg} (line {error.lineno}, column {error.colno}).", "MALFORMED_REQUEST"
        ) from error
    except UnicodeEncodeError as error:
        raise Refusal(400, "the JSON escapes half of a surrogate pair.", "MALFORMED_REQUEST") from error
    except ValueError as error:  # Python's limit of an int's digits
        raise Refusal(
            400, "the JSON holds a whole number of too many digits.", "MALFORMED_REQUEST"
        ) from error
    return parsed


def _outside_strings(body: bytes) -> bytes:
    """JSON without its strings; on arrays, since a body may hold millions of them."""
    unescaped = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    signs = np.frombuffer(unescaped, dtype=np.uint8)
    inside = np.cumsum(signs == ord('"'), dtype=np.uint8) & 1  # overflow keeps the parity
    return signs[inside == 0].tobytes()


def _depth(signs: bytes) -> int:
    """The deepest nesting of JSON without its strings."""
    changes = DEPTH_CHANGES[np.frombuffer(signs, dtype=np.uint8)]
    changes = changes[changes != 0]
    return int(np.cumsum(changes, dtype=np.int32).max()) if changes.size else 0


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise Refusal(400, f"the key {twice!r} occurs twice in one object.", "MALFORMED_REQUEST")
    return found


def _constant(name: str) -> Any:
    raise Refusal(400, f"{name} is not JSON; numbers must be finite.", "MALFORMED_REQUEST")


def _sequences(name: str, content: Any) -> list[Any]:
    """The sequences in any of MLflow's four formats."""
    if name == "dataframe_split":
        return _from_split(content)
    if name == "dataframe_records":
        return _from_records(name, content)
    if isinstance(content, dict):
        _check_columns(name, list(content))
        if not isinstance(content[COLUMN], list):
            raise Refusal(
                400, f"{name!r}: {COLUMN!r} must be a list of sequences, got {_kind(content[COLUMN])}."
            )
        return content[COLUMN]
    if isinstance(content, list) and any(isinstance(row, dict) for row in content):
        return _from_records(name, content)
    if isinstance(content, list):
        return content
    raise Refusal(400, f"{name!r} must be a list of sequences or of records, got {_kind(content)}.")


def _from_records(name: str, content: Any) -> list[Any]:
    if not isinstance(content, list):
        raise Refusal(400, f"{name!r} must be a list of records {{{COLUMN!r}: ...}}, got {_kind(content)}.")
    for row, record in enumerate(content):
        if not isinstance(record, dict):
            raise Refusal(400, f"{name!r}, row {row}: expected {{{COLUMN!r}: ...}}, got {_kind(record)}.")
        _check_columns(f"{name}, row {row}", list(record))
    return [record[COLUMN] for record in content]


def _from_split(content: Any) -> list[Any]:
    name = "dataframe_split"
    if not isinstance(content, dict):
        raise Refusal(400, f"{name!r} must be an object of columns and data, got {_kind(content)}.")
    if unknown := sorted(set(content) - {"columns", "data", "index"}):
        raise Refusal(400, f"{name!r} has columns, data and index, got {unknown[0]!r}.")
    columns, data = content.get("columns"), content.get("data")
    if not isinstance(columns, list) or not isinstance(data, list):
        raise Refusal(400, f"{name!r}: columns and data must be lists.")
    _check_columns(name, columns)
    for row, cells in enumerate(data):
        if not isinstance(cells, list) or len(cells) != 1:
            raise Refusal(400, f"{name!r}, row {row}: expected a list of one cell [sequence].")
    _check_index(content.get("index"), len(data))
    return [cells[0] for cells in data]


def _check_index(index: Any, rows: int) -> None:
    if index is None:
        return
    if not isinstance(index, list) or len(index) != rows:
        raise Refusal(400, f"'dataframe_split': index must be a list with a label for each of {rows} rows.")
    kinds = set(map(type, index))
    if kinds not in ({int}, {str}) or any(isinstance(label, int) and abs(label) >= 2**63 for label in index):
        raise Refusal(
            400, "'dataframe_split': labels of index are all whole numbers of 64 bits, or all texts."
        )


def _check_columns(where: str, columns: Sequence[Any]) -> None:
    if columns == [COLUMN]:
        return
    if COLUMN not in columns:
        raise Refusal(400, f"{where}: expected the column {COLUMN!r}, got {_listed(columns[:5]) or 'none'}.")
    other = next((name for name in columns if name != COLUMN), COLUMN)
    raise Refusal(400, f"{where}: expected the one column {COLUMN!r}, got also {other!r}.")


def _kind(value: Any) -> str:
    """JSON's word for a value's type."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "a boolean"
    names = {dict: "an object", list: "a list", str: "a string", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)


def _listed(names: Sequence[Any]) -> str:
    return ", ".join(repr(name) for name in names)
