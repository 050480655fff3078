"""Tables of numbers as people write them: commas between, perhaps a line of titles, perhaps a byte-order mark."""

from __future__ import annotations

from skipw.errors import DataFormatError

__all__ = ["ENCODING", "MARK", "is_title", "numbers_of"]

ENCODING = "utf-8-sig"  # UTF-8, with or without the byte-order mark that Excel writes
MARK = "\ufeff"  # the same mark where a text is decoded already, on standard input


def is_title(line: str) -> bool:
    """Whether a table's first line names its columns: something is written there, and no field is a number."""
    fields = line.split(",")
    return any(field.strip() for field in fields) and not any(map(_is_number, fields))


def numbers_of(line: str) -> list[float]:
    """The numbers of one line.

    Raises:
        DataFormatError: names the first field that is none.
    """
    fields = line.split(",")
    try:
        return [float(field) for field in fields]
    except ValueError:
        place = next(place for place, field in enumerate(fields) if not _is_number(field))
        which = f"{fields[place].strip()[:60]!r} in field {place + 1}"
        raise DataFormatError(
            f"expected numbers with commas between, got {which}; correct it (only a first line without any number "
            "is taken for titles)."
        ) from None


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
