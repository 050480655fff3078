"""``skipw predict``: answers of a model to sequences in a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from skipw.cli.app import app
from skipw.cli.tables import ENCODING, MARK, is_title, numbers_of
from skipw.errors import DataFormatError


@app.command()
def predict(
    model: Annotated[
        str, typer.Argument(help="A folder such as data/models/har/har-skipw, or models:/NAME@ALIAS.")
    ],
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="A .json, .csv or .txt file, or - (standard input).")
    ],
    budget: Annotated[int | None, typer.Option(help="Most inputs processed in a window.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Least importance of a processed input.")] = None,
) -> None:
    """Predict sequences at an operating point; one JSON object a line.

    JSON: a sequence (rows of numbers), or a list of sequences, or of texts. CSV: one sequence, a row an
    input. Text: a sequence a line, for models that read texts. Standard input may be any of the three.
    """
    sequences = _sequences(source)
    from skipw.tracking.predictor import load_predictor

    point = {"budget": budget, "threshold": threshold}
    answers = load_predictor(model).predict(sequences, {k: v for k, v in point.items() if v is not None})
    for answer in json.loads(answers.to_json(orient="records")):
        typer.echo(json.dumps(answer, ensure_ascii=False))


def _sequences(source: str) -> list[Any]:
    """The sequences in a file or on standard input.

    Raises:
        DataFormatError: no such file, or it is none of JSON, CSV and text.
    """
    path = Path(source)
    try:
        content = sys.stdin.read().removeprefix(MARK) if source == "-" else path.read_text(encoding=ENCODING)
    except (OSError, UnicodeDecodeError) as error:
        raise DataFormatError(
            f"{source} cannot be read ({error}); give a .json, .csv or .txt file."
        ) from error
    if not content.strip():
        raise DataFormatError(f"{source} is empty; give at least one sequence.")
    readers: dict[str, Callable[[str, str], list[Any]]] = {".json": _from_json, ".csv": _from_csv}
    reader = readers.get(path.suffix.lower(), _from_text)
    if source == "-":
        reader = (
            _from_json if content.lstrip()[0] in '["{' else _from_csv if _is_table(content) else _from_text
        )
    return reader(content, source)


def _from_json(content: str, source: str) -> list[Any]:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise DataFormatError(f"{source} is not JSON ({error}).") from error
    if isinstance(found, dict) and not {"sequence", "sequences"} & set(found):
        keys = ", ".join(map(repr, found)) or "no key"
        raise DataFormatError(
            f"{source}: expected a sequence, a list of sequences, or an object with one of them under 'sequence' or "
            f"'sequences'; got an object with {keys[:60]}."
        )
    if isinstance(found, dict):
        found = found.get("sequence", found.get("sequences"))
    if isinstance(found, str):
        return [found]
    if not isinstance(found, list) or not found:
        raise DataFormatError(
            f"{source}: expected a sequence or a list of sequences, got {json.dumps(found)[:60]}."
        )
    depth, inner = 0, found
    while isinstance(inner, list) and inner:
        depth, inner = depth + 1, inner[0]
    alone = depth <= 2 and not isinstance(inner, str)  # rows of numbers, or plain numbers
    return [found] if alone else found


def _from_csv(content: str, source: str) -> list[Any]:
    rows: list[list[float]] = []
    titled = False
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        if not rows and not titled and is_title(line):
            titled = True
            continue
        try:
            rows.append(numbers_of(line))
        except DataFormatError as error:
            raise DataFormatError(f"{source}, line {number}: {error}") from None
    if not rows:
        raise DataFormatError(f"{source} holds titles only; give a row of numbers for each input.")
    return [rows]


def _from_text(content: str, source: str) -> list[Any]:
    return [line for line in content.splitlines() if line.strip()]


def _is_table(content: str) -> bool:
    """Whether the first or the last line, of which the first may hold titles, is one of numbers."""
    lines = content.strip().splitlines()
    for line in (lines[0], lines[-1]):
        try:
            numbers_of(line)
        except DataFormatError:
            continue
        return True
    return False
