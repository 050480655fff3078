"""The tables that the analyses left, and how a claim is answered by them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from skipw.reproduction.points import pick_names, plain_skipw
from skipw.settings import DATASETS

__all__ = ["Answer", "Claim", "Evidence", "answered", "answered_for_all", "untested"]

HOLDS, FAILS, UNTESTED = "holds", "does not hold", "can't be tested here"
TITLES = {"adding": "Adding", "mnist": "MNIST", "imdb": "IMDB", "har": "HAR"}


@dataclass(frozen=True)
class Answer:
    """A verdict and the figures that decided it."""

    verdict: str
    figures: str


@dataclass(frozen=True)
class Claim:
    """What the paper says.

    Attributes:
        place: section or figure.
        statement: in our words.
        rule: when it counts as held, for people.
        test: the rule as code.
    """

    place: str
    statement: str
    rule: str
    test: Callable[[Evidence], Answer]


class Evidence:
    """The folder of all analyses' results, tables read once."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self._tables: dict[tuple[str, str], pd.DataFrame] = {}

    def table(self, analysis: str, name: str) -> pd.DataFrame:
        """A table of an analysis; without rows where it is absent."""
        key = (analysis, name)
        if key not in self._tables:
            path = self.results / analysis / f"{name}.csv"
            self._tables[key] = pd.read_csv(path) if path.exists() else pd.DataFrame()
        return self._tables[key]

    def findings(self, analysis: str) -> dict[str, Any] | None:
        """findings.json of an analysis; None where it did not run."""
        path = self.results / analysis / "findings.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def points(self, dataset: str) -> pd.DataFrame:
        """All operating points of a data set, as ``points_of`` made them; without rows where there are none."""
        table = self.table("tradeoff", f"{dataset}-points")
        return (
            table
            if table.empty
            else table.assign(variant=table["variant"].astype(object).fillna("").astype(str))
        )

    @property
    def datasets(self) -> list[str]:
        """Those with points."""
        return [name for name in DATASETS if len(self.points(name))]

    def curve(self, dataset: str, window: int | None = None, *, near: float | None = None) -> pd.DataFrame:
        """SkipW over K at the reference threshold: the curve that dominates most on val among the paper's own models.

        Args:
            dataset: its name.
            window: only models with this L.
            near: instead the model whose share of the inputs at K = L is nearest to this one (on val), where a claim
                is about one model of the paper.
        Returns:
            rows of ``points``, by ascending K; none where there is no such model.
        """
        points = self.points(dataset)
        if points.empty:
            return points
        own = plain_skipw(points)
        own = own if window is None else own[own["window"] == window]
        if near is not None and len(own):
            whole = own[(own["budget"] == own["window"]) & ((own["threshold"] - 0.5).abs() < 1e-9)]
            closest = whole.assign(distance=(whole["inputs_val"] - near).abs()).sort_values("distance")
            return _at_half(own, str(closest["experiment"].iloc[0])) if len(closest) else own.iloc[:0]
        names = pick_names(own, list(own["experiment"].unique()))
        return _at_half(own, names[0]) if names else own.iloc[:0]


def _at_half(points: pd.DataFrame, experiment: str) -> pd.DataFrame:
    own = points[(points["experiment"] == experiment) & ((points["threshold"] - 0.5).abs() < 1e-9)]
    return own.sort_values("budget")


def answered(holds: bool, figures: str) -> Answer:
    """A verdict from a test that could be made."""
    return Answer(HOLDS if holds else FAILS, figures)


def answered_for_all(verdicts: Mapping[str, bool], expected: Iterable[str], figures: str) -> Answer:
    """A verdict on a claim about several cases: one that fails is enough, but holding needs all of them.

    Args:
        verdicts: by case, those that could be tested.
        expected: the cases that the claim is about.
        figures: what decided.
    """
    if not all(verdicts.values()):
        return Answer(FAILS, figures)
    missing = [case for case in expected if case not in verdicts]
    if not missing:
        return Answer(HOLDS, figures)
    so_far = f"holds where it could be tested ({figures}); " if verdicts else ""
    return Answer(UNTESTED, f"{so_far}missing: {', '.join(missing)}")


def untested(why: str) -> Answer:
    """Where something is missing."""
    return Answer(UNTESTED, why)
