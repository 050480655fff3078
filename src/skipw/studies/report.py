"""``skipw study``: a study as text on the terminal, and how to see more of it."""

from __future__ import annotations

import os
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skipw.studies.backlog import origin_of
from skipw.studies.display import brief, clock
from skipw.studies.errors import StudyError
from skipw.studies.outcome import Outcome, read_outcome
from skipw.studies.places import is_alive
from skipw.studies.storage import dashboard_command, default_storage, hidden, open_storage, resolved
from skipw.studies.study import find_study
from skipw.studies.tables import front_cells
from skipw.studies.wording import reasons, resume_command, sampler_text, state_text, wanted

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial
    from rich.console import Console
    from rich.table import Table

__all__ = ["print_study"]


def print_study(
    dataset: str, storage: str | None, name: str | None, page: Path | None, console: Console
) -> None:
    """Print a study: how far it is, who is at work, its front on val, why trials were stopped, what to do next.

    Takes part in nothing, so it may be called while workers run.

    Args:
        dataset: adding, mnist, imdb or har.
        storage: see ``open_storage``; the data set's journal by default.
        name: of the study; the data set's newest by default.
        page: write the study's page to this HTML file too.
        console: where to.
    Raises:
        ParamsError: the storage's address is of no known kind.
        StudyError: the storage can't be reached or is absent, there is no such study, the page can't be written.
    """
    where = storage or default_storage(dataset)
    study = find_study(open_storage(where, create=False), dataset, name)
    outcome = read_outcome(study)
    _print_head(study, outcome, console)
    if outcome.front.empty:
        console.print("No operating point is better than the constant predictor yet.")
    else:
        console.print(_front_table(outcome))
    why = reasons(study.get_trials(deepcopy=False))
    if why:
        _say(console, f"Stopped early: {', '.join(f'{number} {kind}' for kind, number in why.items())}.")
    _print_next(study, outcome, storage, where, page, console)


def _print_head(study: Study, outcome: Outcome, console: Console) -> None:
    from skipw.evaluation.source_notes import announcement

    _say(console, f"{outcome.title} ({outcome.data_source}), study {outcome.name}", style="bold")
    if note := announcement(outcome.data_source):
        _say(console, note, style="red")
    volume = f"hypervolume {outcome.hypervolume:.4f} on val"
    _say(console, f"{state_text(outcome, wanted(study))}; {volume}; sampler {sampler_text(study)}")
    for trial in study.get_trials(deepcopy=False):
        if not trial.state.is_finished() and trial.datetime_start is not None:
            _say(console, _running(trial))


def _running(trial: FrozenTrial) -> str:
    """A running trial: its worker, since when, its settings; an orphan is called one."""
    assert trial.datetime_start is not None
    worker = trial.user_attrs.get("worker", {})
    who = f"on {worker['host']}, process {worker['pid']}" if worker else "not signed by its worker yet"
    since = clock(time.time() - trial.datetime_start.timestamp())
    orphan = ", which ended; the next search goes on with it" if worker and is_alive(worker) is False else ""
    again = "" if origin_of(trial) == trial.number else f" (work of trial {origin_of(trial)})"
    return f"  trial {trial.number}{again} {who}{orphan}, for {since}: {brief(trial.params)}"


def _front_table(outcome: Outcome) -> Table:
    from rich import box
    from rich.table import Table

    head, *rows = front_cells(outcome)
    table = Table(
        title="Front on validation data", title_justify="left", title_style="", box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0), pad_edge=False, show_edge=False,
    )  # fmt: skip
    for heading in head:
        left = heading in ("model", "experiment")
        short = heading.replace(" (%)", " %")  # so that a row fits into 80 columns
        table.add_column(short, justify="left" if left else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _print_next(
    study: Study, outcome: Outcome, storage: str | None, where: str, page: Path | None, console: Console
) -> None:
    dataset = outcome.dataset
    shown = None if storage is None else hidden(storage)
    lines = {"Go on": resume_command(outcome, wanted(study), shown)}
    if page is None:
        there = [] if shown is None else ["--storage", shown]
        words = ["skipw", "study", dataset, *there, "--study", outcome.name, "--page", "study.html"]
        lines["Page"] = shlex.join(words)
    else:
        lines["Page"] = f"{_written(page, study, outcome).absolute().as_uri()}"
    if link := _mlflow_link(outcome):
        lines["MLflow"] = link
    if not where.startswith("grpc://"):
        lines["Live"] = dashboard_command(resolved(where))
    console.print()
    for name, text in lines.items():
        _say(console, f"{name + ':':8}{text}")


def _written(page: Path, study: Study, outcome: Outcome) -> Path:
    from skipw.studies.page import write_study_page

    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        write_study_page(page, study, outcome)
    except OSError as error:
        raise StudyError(f"the page {page} can't be written ({error}); choose another file.") from error
    return page


def _mlflow_link(outcome: Outcome) -> str | None:
    """The study's run; None where it has none, or MLflow is not installed."""
    if outcome.run_id is None:
        return None
    try:
        from skipw.tracking.links import run_link
    except ImportError:
        return None
    link = run_link(outcome.dataset, outcome.run_id)
    served = os.environ.get("MLFLOW_TRACKING_URI", "").startswith("http")
    return link if link is None or served else f"{link} (after `make ui`)"


def _say(console: Console, text: str, **options: Any) -> None:
    """A line that is neither wrapped nor coloured by guess, so that commands and addresses can be copied."""
    console.print(text, soft_wrap=True, highlight=False, markup=False, **options)
