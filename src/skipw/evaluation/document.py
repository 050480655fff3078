"""A document of headings, paragraphs, notices, tables and figures, as Markdown and as one HTML page."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from skipw.evaluation.page import page

__all__ = ["Block", "Figure", "Heading", "Notice", "Paragraph", "Table", "as_html", "as_markdown"]


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is a data set, 2 a part of it."""

    text: str
    level: int = 1


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Notice:
    """A warning in red."""

    text: str


@dataclass(frozen=True)
class Table:
    """Cells as text; the first row is the heading, the first column stands to the left."""

    cells: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Figure:
    """A PNG or SVG; ``path`` is relative to the document's folder."""

    path: str
    caption: str


NUMBER = re.compile(r"[-+−]?[\d.,]+(e[-+]?\d+)?|–|inf|nan|")
Block: TypeAlias = Heading | Paragraph | Notice | Table | Figure


def as_markdown(title: str, blocks: Sequence[Block]) -> str:
    """The document as GitHub-flavoured Markdown; figures are linked."""
    return "\n\n".join([f"# {title}", *map(_markdown, blocks)]) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * (level + 1)} {text}"
        case Paragraph(text):
            return text
        case Notice(text):
            return f'> **<span style="color:#b00000">{text}</span>**'
        case Table(cells, caption):
            head, *rows = [[cell.replace("|", "\\|") for cell in row] for row in cells]
            marks = [
                "---:" if place and _is_number_column(rows, place) else "---" for place in range(len(head))
            ]
            lines = [f"| {' | '.join(row)} |" for row in (head, marks, *rows)]
            return "\n".join(lines) + (f"\n\n*{caption}*" if caption else "")
        case Figure(path, caption):
            return f"![{caption}]({path})\n\n*{caption}*"


def _is_number_column(rows: Sequence[Sequence[str]], place: int) -> bool:
    """Whether a column holds numbers (and dashes) alone: those stand to the right."""
    return all(NUMBER.fullmatch(row[place]) for row in rows)


def as_html(title: str, blocks: Sequence[Block], folder: Path) -> str:
    """The document as one page with its figures inside; ``folder`` is where their paths begin."""
    return page(title, None, "\n".join(_html(block, folder) for block in blocks))


def _html(block: Block, folder: Path) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level + 1}>{html.escape(text)}</h{level + 1}>"
        case Paragraph(text):
            return f"<p>{html.escape(text)}</p>"
        case Notice(text):
            return f'<p class="notice">{html.escape(text)}</p>'
        case Table(cells, caption):
            return table_html(cells) + (f'<p class="quiet">{html.escape(caption)}</p>' if caption else "")
        case Figure(path, caption):
            data = base64.b64encode((folder / path).read_bytes()).decode("ascii")
            alt = html.escape(caption, quote=True)
            kind = "svg+xml" if path.endswith(".svg") else "png"
            image = f'<img alt="{alt}" src="data:image/{kind};base64,{data}">'
            return f"<figure>{image}<figcaption>{html.escape(caption)}</figcaption></figure>"


def table_html(cells: Sequence[Sequence[str]]) -> str:
    """Cells as an HTML table, the first row its heading."""
    head, *rows = [[html.escape(cell) for cell in row] for row in cells]
    lines = ["".join(f"<th>{cell}</th>" for cell in head)]
    lines += ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="table"><table>\n{body}\n</table></div>'
