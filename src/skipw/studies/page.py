"""The study's page: one HTML file with its figures, its tables and plotly.js inside, that needs no network."""

from __future__ import annotations

import html
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skipw.evaluation.document import table_html
from skipw.evaluation.page import page
from skipw.studies.figures import (
    hypervolume_figure,
    importances_figure,
    lean_study,
    parallel_figure,
    points_figure,
)
from skipw.studies.tables import front_cells, plan_cells, summary_cells, trial_cells
from skipw.studies.wording import reasons, resume_command, wanted

if TYPE_CHECKING:
    from optuna import Study

    from skipw.studies.outcome import Outcome

__all__ = ["write_study_page"]

STYLE = """<style>
.facts td:last-child, .facts th:last-child { text-align: left; }
.facts td:first-child { color: #555; }
.facts th { display: none; }
.front td:nth-child(2), .front th:nth-child(2), .trials td:nth-child(2), .trials th:nth-child(2),
.trials td:nth-child(3), .trials th:nth-child(3) { text-align: left; white-space: nowrap; }
.trials th:nth-child(n+11), .trials td:nth-child(n+11) { text-align: left; }
.trials td, .trials th { vertical-align: top; padding: 0.25rem 0.4rem; }
.trials td:last-child { min-width: 17rem; }
pre { background: #f5f5f5; padding: 0.6rem 0.9rem; overflow-x: auto; font-size: 0.85rem; }
summary { cursor: pointer; font-size: 1.25rem; font-weight: 600; margin-top: 2.2rem; }
</style>"""
FEW = 60  # rows up to which a table is open at once


POINTS = (
    "Each mark is an operating point of a trial (K = 0 left out), on hover with its numbers; rings are on the "
    "study's own front. A click on the legend hides a kind of model, a double click shows it alone. Test values "
    "of the models on the front stand in their grid.csv."
)
VOLUME = (
    "The share of the rectangle between (all inputs, the constant predictor) and (no input, no error) that all "
    "operating points so far dominate, after each finished trial, in the order in which they ended."
)
PARALLEL = (
    "A line a complete trial, coloured by its Pareto rank among the trained points: 0 is the best. None: the "
    "model has no such setting."
)


class _Figures:
    """Sections with a figure; the first figure brings plotly.js along."""

    def __init__(self) -> None:
        self._first = True

    def section(self, heading: str, figure: Any | None, name: str, text: str, otherwise: str) -> str:
        """Heading, text and figure; heading and what is said otherwise where there is none."""
        title = f"<h2>{heading}</h2>\n"
        if figure is None:
            return f'{title}<p class="quiet">{html.escape(otherwise)}</p>'
        drawn = figure.to_html(
            full_html=False,
            include_plotlyjs=self._first,
            div_id=name,
            config={"displaylogo": False, "responsive": True},
        )
        self._first = False
        return f"{title}<p>{html.escape(text)}</p>\n{drawn}"


def write_study_page(path: Path, study: Study, outcome: Outcome) -> None:
    """Write the page. The same study gives the same file: no time and no place stands in it.

    Args:
        path: of the HTML file.
        study: in any state, with any number of trials.
        outcome: of ``read_outcome(study)``.
    Raises:
        OSError: the file can't be written.
    """
    section = _Figures().section
    lean = lean_study(study, outcome)
    importances, explained = importances_figure(lean)
    points, volume = points_figure(study, outcome), hypervolume_figure(study, outcome)
    none_yet = "No trial is complete yet."
    body = [
        STYLE,
        _facts_html(summary_cells(study, outcome)),
        section("Operating points on validation data", points, "points", POINTS, none_yet),
        _front_html(outcome),
        section("Hypervolume history", volume, "hypervolume", VOLUME, "No trial has finished yet."),
        section("Importances of the settings", importances, "importances", explained, explained),
        section("Parallel coordinates", parallel_figure(lean), "parallel", PARALLEL, none_yet),
        _trials_html(study, outcome),
        "<h2>What is searched, and how</h2>",
        _facts_html(plan_cells(study, outcome)),
        "<h2>Go on, look closer</h2>",
        _how_to_html(study, outcome),
    ]
    text = page(f"{outcome.title}: study", outcome.data_source, "\n".join(body))
    path.write_text(text, encoding="utf-8")


def _facts_html(cells: list[list[str]]) -> str:
    return f'<div class="facts">{table_html([["", ""], *cells])}</div>'


def _front_html(outcome: Outcome) -> str:
    if outcome.front.empty:
        none = "No operating point is better than the constant predictor yet."
        return f'<h2>The front</h2>\n<p class="quiet">{none}</p>'
    heading = f"The front: {_plural(len(outcome.front), 'point')}"
    return _folded(heading, "front", "", front_cells(outcome))


def _trials_html(study: Study, outcome: Outcome) -> str:
    trials = study.get_trials(deepcopy=False)
    if not trials:
        return '<h2>Trials</h2>\n<p class="quiet">There are none yet.</p>'
    why = ", ".join(f"{number} {kind}" for kind, number in reasons(trials).items())
    stopped = f"<p>Stopped early: {html.escape(why)}.</p>" if why else ""
    return _folded(_plural(len(trials), "trial"), "trials", stopped, trial_cells(study, outcome))


def _folded(heading: str, kind: str, text: str, cells: list[list[str]]) -> str:
    """A table that can be shut, and is if it is long."""
    is_open = " open" if len(cells) <= FEW else ""
    return (
        f"<details{is_open}><summary>{html.escape(heading)}</summary>\n{text}\n"
        f'<div class="{kind}">{table_html(cells)}</div></details>'
    )


def _how_to_html(study: Study, outcome: Outcome) -> str:
    dataset, given = outcome.dataset, outcome.called.get("storage")
    default = f"mlruns/study-{dataset}.journal"
    goes_on, live = "The study goes on with", "Optuna's own pages, live, on http://127.0.0.1:8080"
    if given is None:
        goes_on += f" (add <code>--storage</code> where it is not kept in the default journal, <code>{default}</code>)"
        live += " (or the storage's address in the journal's place)"
    look = ["skipw", "study", dataset, *([] if given is None else ["--storage", given])]
    parts = (
        (f"{goes_on}:", resume_command(outcome, wanted(study))),
        ("This page, as the study is now:", shlex.join([*look, "--study", outcome.name, "--page", "study.html"])),
        (f"{live}:", f"optuna-dashboard {shlex.quote(given or default)}"),
        ("The models on the front into the data set's front, the registry and the report:",
         f"dvc repro --single-item pareto@{dataset} register@{dataset} report"),
    )  # fmt: skip
    return "\n".join(f"<p>{text}</p>\n<pre>{html.escape(command)}</pre>" for text, command in parts)


def _plural(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
