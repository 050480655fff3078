"""Where each data set can be had, best place first, and which of those places answer now."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from skipw.data.har_places import pose_candidates
from skipw.data.imdb_places import glove_candidates, review_candidates
from skipw.data.mnist_places import image_candidates
from skipw.data.sources import Candidate, Part
from skipw.errors import ParamsError


def parts_of(dataset: str, *, glove_dimension: int = 100, folder: str | None = None) -> tuple[Part, ...]:
    """The parts of a data set and their candidates.

    Args:
        dataset: adding, mnist, imdb or har.
        glove_dimension: numbers a word vector (imdb).
        folder: a folder of one's own in the HAR format that takes har's place.
    Raises:
        ParamsError: if there is no such data set.
    """
    match dataset:
        case "adding":
            rule = Candidate("generated", "generated", "its rule", _nothing)
            return (Part("sequences", "Adding Task", (rule,)),)
        case "mnist":
            return (Part("images", "MNIST", image_candidates()),)
        case "imdb":
            glove = Part("glove", f"GloVe 6B {glove_dimension}d", glove_candidates(glove_dimension))
            return (Part("reviews", "IMDB", review_candidates()), glove)
        case "har":
            candidates = pose_candidates(folder)
            own_name = None if folder is None else candidates[0].title
            return (Part("poses", own_name or "HAR-2D-POSE", candidates),)
    raise ParamsError(f"there is no data set {dataset!r}; there are adding, mnist, imdb and har")


def probe(dataset: str) -> list[tuple[str, str, str]]:
    """Ask every place of a data set whether it would answer; nothing is downloaded.

    Returns:
        (part, place, answer) each, where the answer is ``yes`` or ``no: <reason>``.
    Raises:
        ParamsError: if there is no such data set.
    """
    pairs = [(part, candidate) for part in parts_of(dataset) for candidate in part.candidates]
    with ThreadPoolExecutor(max_workers=len(pairs)) as pool:
        answers = list(pool.map(lambda pair: _answer(pair[1]), pairs))
    return [(part.title, c.name, answer) for (part, c), answer in zip(pairs, answers, strict=True)]


def _answer(candidate: Candidate) -> str:
    try:
        candidate.check()
    except OSError as error:  # a TransferError, or what the system says
        return f"no: {error}"
    return "yes"


def _nothing(into: Path, partial: Path) -> dict[str, Any]:
    """The Adding Task is made in ``prepare``."""
    return {}
