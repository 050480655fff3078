"""Splitting English text as the texts behind GloVe 6B were split: the Penn Treebank's rules, lower case.

``don't`` becomes ``do n't``, ``it's`` becomes ``it 's``, punctuation stands alone, ``...`` and ``--`` stay
whole, as do numbers (``1,000``, ``7.5``, ``10/10``), abbreviations (``u.s.``, ``mr.``) and words with hyphens
(``well-known``). Markup such as ``<br />`` is dropped.
"""

from __future__ import annotations

import html
import re
from functools import lru_cache
from itertools import chain

MARKUP = re.compile(r"<[a-z/!][^<>]{0,200}>")
# Typographic signs, and the same as they come out of Windows' code page read as Latin-1.
SIGNS = str.maketrans(
    {
        "‘": "'", "’": "'", "`": "'", "´": "'", "\x91": "'", "\x92": "'",
        "“": '"', "”": '"', "\x93": '"', "\x94": '"',
        "–": " -- ", "—": " -- ", "\x96": " -- ", "\x97": " -- ",
        "…": " ... ", "\x85": " ... ",
    }
)  # fmt: skip
TOKEN = re.compile(
    r"""
    \d+ (?: [.,:/] \d+ )* [^\W_]* (?: - [^\W_]+ )*   # 1990s, 2.5, 1,000, 10/10, 12-year-old
    | n't (?! \w )                                                 # do n't
    | (?: [^\W\d_] \. ){2,} | (?: mr | mrs | ms | dr | jr | sr | st | vs ) \. \Z            # u.s., mr.
    | [^\W_]+ (?: - [^\W_]+ | ' (?! (?: s | d | m | re | ve | ll ) (?! \w ) ) [^\W_]+ )*  # well-known
    | ' (?: s | d | m | re | ve | ll ) (?! \w )                    # it 's
    | \.{2,} | -{2,}                                               # ... and --
    | [^\s]                                                        # any other sign alone
    """,
    re.VERBOSE,
)


def tokenise(text: str) -> list[str]:
    """Split a text into GloVe's kind of tokens.

    >>> tokenise("I don't think it's GOOD...<br />7.5/10!")
    ['i', 'do', "n't", 'think', 'it', "'s", 'good', '...', '7.5/10', '!']
    """
    text = text.lower()
    if "<" in text:
        text = MARKUP.sub(" ", text)
    if "&" in text:
        text = html.unescape(text)
    text = text.translate(SIGNS) if not text.isascii() or "`" in text else text
    return list(chain.from_iterable(map(_split_chunk, text.replace("n't", " n't").split())))


@lru_cache(
    maxsize=1 << 18
)  # half of all chunks are among a few hundred, so most texts never meet the expression
def _split_chunk(chunk: str) -> tuple[str, ...]:
    """The tokens of what stands between two spaces; no token spans a space."""
    return tuple("..." if t[:2] == ".." else "--" if t[:2] == "--" else t for t in TOKEN.findall(chunk))
