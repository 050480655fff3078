"""An SVG of matplotlib's in fewer bytes, drawn just the same: committed figures are read by git and by browsers."""

from __future__ import annotations

import re

__all__ = ["shorten"]

LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
INDENT = re.compile(r"^ +", re.MULTILINE)
NAME = re.compile(r' id="([^"]+)"')
REFERENCE = re.compile(r'(?<=url\(#)[^)"]+(?=\))|(?<=href="#)[^"]+(?=")')


def shorten(svg: str) -> str:
    """Numbers of five digits, no indentation, ids only where something refers to them, and those short.

    Ids count up in the file's order, so the same figure has the same bytes. They are unique within a file only: a
    page that holds several must embed them as images, not inline.

    Args:
        svg: the text of a whole file.
    Returns:
        the shorter text.
    """
    text = INDENT.sub("", LONG_NUMBER.sub(lambda found: f"{float(found[0]):.5g}", svg))
    wanted = set(REFERENCE.findall(text))
    named = [name for name in dict.fromkeys(NAME.findall(text)) if name in wanted]
    short = {name: f"i{place}" for place, name in enumerate(named)}
    text = REFERENCE.sub(lambda found: short.get(found[0], found[0]), text)
    return NAME.sub(lambda found: f' id="{short[found[1]]}"' if found[1] in short else "", text)
