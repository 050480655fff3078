"""``skipw predict``: answers of a model to sequences in a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from skipw.cli.app import app
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
        content = sys.stdin.read() if source == "-" else path.read_text(encoding="utf-8")
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
    if isinstance(found, dict):
        found = found.get("sequence", found.get("sequences"))
    if isinstance(found, str):
        return [found]
    if not isinstance(found, list) or not found:
        raise DataFormatError(
            f"{source}: expected a sequence or a list of sequences, got {type(found).__name__}."
        )
    depth, inner = 0, found
    while isinstance(inner, list) and inner:
        depth, inner = depth + 1, inner[0]
    alone = depth <= 2 and not isinstance(inner, str)  # rows of numbers, or plain numbers
    return [found] if alone else found


def _from_csv(content: str, source: str) -> list[Any]:
    rows = []
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            rows.append([float(cell) for cell in line.split(",")])
        except ValueError:
            if number > 1:
                raise DataFormatError(f"{source}, line {number}: expected numbers, got {line!r}.") from None
    return [rows]


def _from_text(content: str, source: str) -> list[Any]:
    return [line for line in content.splitlines() if line.strip()]


def _is_table(content: str) -> bool:
    first = content.strip().splitlines()[-1].split(",")
    try:
        return bool([float(cell) for cell in first])
    except ValueError:
        return False
