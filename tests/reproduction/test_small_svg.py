"""Figures in fewer bytes show what they showed."""

from __future__ import annotations

import io
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from skipw.reproduction.drawing import panels, save
from skipw.reproduction.small_svg import shorten

HREF = "{http://www.w3.org/1999/xlink}href"
NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")


def drawn(svg: str) -> list[tuple[str, list[str], list[float]]]:
    """What every element draws: its tag, its attributes' words and numbers, with what they refer to in its place."""
    root = ElementTree.fromstring(svg)
    by_id = {element.get("id"): element for element in root.iter() if element.get("id")}
    found = []
    for element in root.iter():
        texts = []
        for name, value in element.attrib.items():
            clip = re.fullmatch(r"url\(#(.+)\)", value)
            if name == HREF or clip:
                target = by_id[clip[1] if clip else value.removeprefix("#")]
                parts = [part for part in target.iter() for part in part.attrib.items()]
                texts += [f"{part}={text}" for part, text in parts if part != "id"]
            elif name != "id":
                texts.append(f"{name}={value}")
        text = re.sub(r"\s+", " ", " ".join(texts))
        numbers = [float(number) for number in NUMBER.findall(text)]
        found.append((element.tag, NUMBER.sub("", text).split(), numbers))
    return found


@pytest.fixture
def figure():
    figure, axes = panels(2)
    for one, style in zip(axes, ("o-", "s--"), strict=True):
        one.plot([0.1234567, 1.7654321, 3], [1 / 3, 2 / 3, 0.9], style, label="a line with #tag url(#no)")
        one.fill_between([0, 1, 2], [0, 0.1, 0.2], [1, 2, 3], alpha=0.3)
        one.legend()
        one.set_title('a "title" of id="line2d_1"')
    return figure


def test_the_same_is_drawn_in_fewer_bytes(figure) -> None:
    text = io.StringIO()
    figure.savefig(text, format="svg")
    whole, short = text.getvalue(), shorten(text.getvalue())
    assert len(short) < 0.85 * len(whole)
    assert len(drawn(whole)) == len(drawn(short))
    for (tag, words, numbers), other in zip(drawn(whole), drawn(short), strict=True):
        assert (tag, words) == other[:2]
        assert numbers == pytest.approx(other[2], rel=1e-4)


def test_shortening_twice_changes_nothing(figure) -> None:
    text = io.StringIO()
    figure.savefig(text, format="svg")
    assert shorten(shorten(text.getvalue())) == shorten(text.getvalue())


def test_a_figure_saved_twice_has_the_same_bytes(figure, tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        save(figure, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_reference_to_nothing_stays() -> None:
    svg = '<svg><g id="here"><use href="#here"/><use href="#elsewhere"/></g><g id="unused"/></svg>'
    assert shorten(svg) == '<svg><g id="i0"><use href="#i0"/><use href="#elsewhere"/></g><g/></svg>'
