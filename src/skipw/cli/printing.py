"""Tables on standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["print_table"]

WIDEST = 10_000  # columns


def print_table(console: Console, table: Table) -> None:
    """Print a table with each row on one line, as wide as it is: grep finds it whole, no word is broken.

    Where the terminal is too narrow the frame is left out.
    """
    before = console.width
    needed = _width(console, table)
    if console.is_terminal and needed > before:
        table.box, table.pad_edge = None, False
        needed = _width(console, table)
    console.width = max(before, needed)
    console.print(table)
    console.width = before


def _width(console: Console, table: Table) -> int:
    from rich.measure import Measurement

    return Measurement.get(console, console.options.update(width=WIDEST), table).maximum
