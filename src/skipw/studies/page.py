"""The study's page: one HTML file with its figures, its tables and plotly.js inside, that needs no network."""

from __future__ import annotations

import html
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
FEW = 60  # trials up to which their table is open at once


class _Figures:
    """Figures as HTML; the first brings plotly.js along."""

    def __init__(self) -> None:
        self._first = True

    def html(self, figure: Any | None, name: str, otherwise: str) -> str:
        if figure is None:
            return f'<p class="quiet">{html.escape(otherwise)}</p>'
        text = figure.to_html(
            full_html=False,
            include_plotlyjs=self._first,
            div_id=name,
            config={"displaylogo": False, "responsive": True},
        )
        self._first = False
        return str(text)


def write_study_page(path: Path, study: Study, outcome: Outcome) -> None:
    """Write the page. The same study gives the same file: no time and no place stands in it.

    Args:
        path: of the HTML file.
        study: in any state, with any number of trials.
        outcome: of ``read_outcome(study)``.
    Raises:
        OSError: the file can't be written.
    """
    figures = _Figures()
    lean = lean_study(study, outcome)
    importances, explained = importances_figure(lean)
    none_yet = "No trial is complete yet."
    body = [
        STYLE,
        _facts_html(summary_cells(study, outcome)),
        "<h2>Operating points on validation data</h2>",
        "<p>Each mark is an operating point of a trial, on hover with its numbers; rings are on the study's own "
        "front. A click on the legend hides a kind of model, a double click shows it alone. Test values stand in "
        "grid.csv of the trials on the front.</p>",
        figures.html(points_figure(study, outcome), "points", none_yet),
        f"<h2>The front: {_plural(len(outcome.front), 'point')}</h2>",
        _front_html(outcome),
        "<h2>Hypervolume history</h2>",
        "<p>The share of the rectangle between (all inputs, the constant predictor) and (no input, no error) that "
        "all operating points so far dominate, after each finished trial in the order in which they ended.</p>",
        figures.html(hypervolume_figure(study, outcome), "hypervolume", "No trial has finished yet."),
        "<h2>Importances of the settings</h2>",
        figures.html(importances, "importances", explained),
        "" if importances is None else f'<p class="quiet">{html.escape(explained)}</p>',
        "<h2>Parallel coordinates</h2>",
        "<p>A line a complete trial, coloured by how many fronts of the trained points lie before its own (Pareto "
        "rank, 0 is the best). None: the model has no such setting.</p>",
        figures.html(parallel_figure(lean), "parallel", none_yet),
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
        return '<p class="quiet">No operating point is better than the constant predictor yet.</p>'
    return f'<div class="front">{table_html(front_cells(outcome))}</div>'


def _trials_html(study: Study, outcome: Outcome) -> str:
    trials = study.get_trials(deepcopy=False)
    if not trials:
        return "<h2>Trials</h2>\n" + '<p class="quiet">There are none yet.</p>'
    why = ", ".join(f"{number} {kind}" for kind, number in reasons(trials).items())
    stopped = f"<p>Stopped early: {html.escape(why)}.</p>" if why else ""
    is_open = " open" if len(trials) <= FEW else ""
    table = table_html(trial_cells(study, outcome))
    return (
        f"<details{is_open}><summary>{_plural(len(trials), 'trial')}</summary>\n{stopped}\n"
        f'<div class="trials">{table}</div></details>'
    )


def _how_to_html(study: Study, outcome: Outcome) -> str:
    dataset = outcome.dataset
    default = f"mlruns/study-{dataset}.journal"
    parts = (
        ("The study goes on with (add <code>--storage</code> where it is not kept in the default journal, "
         f"<code>{default}</code>):", resume_command(outcome, wanted(study))),
        ("This page, as the study is now:", f"skipw study {dataset} --page study.html"),
        ("Optuna's own pages, live, on http://127.0.0.1:8080 (or the storage's address in the journal's place):",
         f"optuna-dashboard {default}"),
        ("The models on the front into the pipeline, the registry and the report:",
         f"dvc repro pareto@{dataset} register@{dataset} report"),
    )  # fmt: skip
    return "\n".join(f"<p>{text}</p>\n<pre>{html.escape(command)}</pre>" for text, command in parts)


def _plural(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
