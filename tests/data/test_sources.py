"""Sources in order, what is kept and what is fetched again, what is recorded, and nothing half written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skipw.data import places
from skipw.data.sources import Candidate, Part, obtain, read_record
from skipw.data.transfer import TransferError
from skipw.errors import ChecksumError, DataFormatError, DataUnavailableError, ParamsError


class Place:
    """A place that has one file, or fails; counts how often it was asked."""

    def __init__(self, content: str | None, error: type[Exception] = TransferError) -> None:
        self.content, self.error, self.calls = content, error, 0

    def __call__(self, into: Path, partial: Path) -> dict[str, Any]:
        self.calls += 1
        (into / "data.txt").write_text("half")
        if self.content is None:
            raise self.error("it is raining")
        (into / "data.txt").write_text(self.content)
        return {"note": self.content}


def part_of(**fetches: Place) -> tuple[Part, ...]:
    """Candidates by name of their place; ``substitute`` is marked as one."""
    candidates = tuple(
        Candidate(place, "made-up" if place == "substitute" else place, f"the {place}", fetch,
                  title="Something else" if place == "substitute" else None, substitute=place == "substitute")
        for place, fetch in fetches.items()
    )  # fmt: skip
    return (Part("all", "The data", candidates),)


def silence(message: str) -> None:
    raise AssertionError(f"nothing was to be announced: {message}")


def test_the_first_place_that_works_is_taken_and_recorded(tmp_path: Path) -> None:
    raw = tmp_path / "raw/ds"
    mirror, official, registry = Place(None), Place("abc"), Place("never")
    record = obtain("ds", part_of(mirror=mirror, official=official, registry=registry), raw, "auto", silence)
    assert (raw / "data.txt").read_text() == "abc"
    assert registry.calls == 0
    assert record == json.loads((raw / "source.json").read_text())
    assert record["data_source"] == "official"
    assert record["title"] == "The data"
    assert record["parts"]["all"]["files"]["data.txt"]["bytes"] == 3
    assert record["parts"]["all"]["note"] == "abc"
    assert [p.name for p in raw.parent.iterdir()] == ["ds"]


def test_what_is_there_and_right_is_kept(tmp_path: Path) -> None:
    raw, official = tmp_path / "raw/ds", Place("abc")
    for _ in range(2):
        obtain("ds", part_of(official=official), raw, "auto", silence)
    assert official.calls == 1
    assert (raw / "data.txt").read_text() == "abc"


@pytest.mark.parametrize("harm", ["change", "delete"])
def test_what_was_changed_is_fetched_again(tmp_path: Path, harm: str) -> None:
    raw, official = tmp_path / "raw/ds", Place("abc")
    obtain("ds", part_of(official=official), raw, "auto", silence)
    if harm == "change":
        (raw / "data.txt").write_text("xyz")
    else:
        (raw / "data.txt").unlink()
    obtain("ds", part_of(official=official), raw, "auto", silence)
    assert official.calls == 2
    assert (raw / "data.txt").read_text() == "abc"


def test_another_source_than_the_recorded_one_is_fetched(tmp_path: Path) -> None:
    raw, mirror, official = tmp_path / "raw/ds", Place("from mirror"), Place("from there")
    parts = part_of(mirror=mirror, official=official)
    obtain("ds", parts, raw, "mirror", silence)
    obtain("ds", parts, raw, "official", silence)
    assert read_record(raw)["data_source"] == "official"
    assert (raw / "data.txt").read_text() == "from there"


def test_a_substitute_is_announced_and_gives_way_to_the_real_data(tmp_path: Path) -> None:
    raw, official, simulated = tmp_path / "raw/ds", Place(None), Place("simulated")
    parts = part_of(official=official, substitute=simulated)
    said: list[str] = []
    obtain("ds", parts, raw, "auto", said.append)
    obtain("ds", parts, raw, "auto", said.append)
    assert (official.calls, simulated.calls) == (2, 1), (
        "the real data is asked for again, the substitute is kept"
    )
    assert said == ["The data could not be had: Something else (made-up) stands in for it."] * 2
    official.content = "real"
    record = obtain("ds", parts, raw, "auto", silence)
    assert (record["data_source"], record["title"]) == ("official", "The data")
    assert (raw / "data.txt").read_text() == "real"


@pytest.mark.parametrize("error", [TransferError, ChecksumError, DataFormatError])
def test_when_nothing_works_every_place_and_reason_is_named(tmp_path: Path, error: type[Exception]) -> None:
    raw = tmp_path / "raw/ds"
    parts = part_of(mirror=Place(None, error), official=Place(None, error))
    with pytest.raises(DataUnavailableError) as caught:
        obtain("ds", parts, raw, "auto", silence)
    for word in ("the mirror: it is raining", "the official: it is raining", "SKIPW_MIRROR", "docs/data.md"):
        assert word in str(caught.value)
    assert not raw.exists()
    assert list(raw.parent.iterdir()) == []


def test_a_failure_leaves_the_old_data_alone(tmp_path: Path) -> None:
    raw = tmp_path / "raw/ds"
    obtain("ds", part_of(mirror=Place("old")), raw, "mirror", silence)
    with pytest.raises(DataUnavailableError):
        obtain("ds", part_of(mirror=Place("old"), official=Place(None)), raw, "official", silence)
    assert (raw / "data.txt").read_text() == "old"
    assert read_record(raw)["data_source"] == "mirror"


def test_a_substitute_that_was_asked_for_is_announced_as_such(tmp_path: Path) -> None:
    said: list[str] = []
    parts = part_of(official=Place("never"), substitute=Place("simulated"))
    obtain("ds", parts, tmp_path / "raw/ds", "substitute", said.append)
    assert said == ["Something else (made-up) stands in for The data, as download.ds.source asks."]


def test_a_place_that_cannot_be_written_to_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("a file")
    with pytest.raises(DataFormatError, match=r"raw/ds cannot be made \(.*; name a place below a folder"):
        obtain("ds", part_of(official=Place("abc")), tmp_path / "raw/ds", "auto", silence)


def test_a_source_that_a_data_set_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailableError, match="no source of the kind 'registry', only official"):
        obtain("ds", part_of(official=Place("abc")), tmp_path / "raw/ds", "registry", silence)
    with pytest.raises(ParamsError, match="there are adding, mnist, imdb and har"):
        places.parts_of("cifar")


def test_adding_is_recorded_as_generated(tmp_path: Path) -> None:
    for source in ("auto", "official"):
        record = obtain("adding", places.parts_of("adding"), tmp_path / "raw/adding", source, silence)
        assert record["data_source"] == "generated"
