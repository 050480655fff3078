"""Run a study: start workers, watch them, replace the dead, publish what was found."""

from __future__ import annotations

import dataclasses
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from skipw.params import Params, SearchSettings
from skipw.studies.backlog import count, requeue_orphans
from skipw.studies.crew import Crew, LocalCrew
from skipw.studies.display import Display
from skipw.studies.errors import StudyError
from skipw.studies.files import publish
from skipw.studies.outcome import Outcome, read_outcome
from skipw.studies.places import Places, living
from skipw.studies.plan import make_plan
from skipw.studies.storage import default_storage, hidden, open_storage, resolved
from skipw.studies.study import open_study, remember_call
from skipw.studies.worker import WorkerSpec

if TYPE_CHECKING:
    from optuna import Study

__all__ = ["run_search"]

log = logging.getLogger(__name__)
LOOK = 1.0  # seconds between two looks at the study
TOLD = "exit status 1: worker: "  # an error that would meet every worker
MAX_DEATHS = 5  # of workers, without a trial finished in between


def run_search(
    dataset: str,
    params: Params,
    params_path: Path,
    search: SearchSettings,
    data: Path,
    *,
    storage: str | None = None,
    study_name: str | None = None,
    tracking: bool = True,
    crew: Callable[[WorkerSpec, Path], Crew] = LocalCrew,
    publishing: bool = True,
) -> Outcome:
    """Bring a study to ``search.trials`` finished trials and publish it under data/studies/<dataset>.

    A study that was stopped, or whose program or machine died, goes on; a finished one is only published.

    Args:
        dataset: adding, mnist, imdb or har.
        params: the whole file of settings; ``params_path`` is where it lies.
        search: ``params.search.<dataset>``, with what the command line overrides.
        data: the root of all outputs.
        storage: see ``open_storage``; the data set's journal file by default.
        study_name: the plan's own by default.
        tracking: tell MLflow.
        crew: makes the workers; processes of this machine by default.
        publishing: False leaves data/studies as it is.
    Raises:
        ParamsError, DataFormatError: bad settings, or data that are not prepared.
        StudyError: the storage can't be reached, the study is another one, or trials keep failing.
        KeyboardInterrupt: after the workers were ended in order; the same call goes on.
    """
    plan = make_plan(dataset, params, search, data)
    where = resolved(storage or default_storage(dataset))
    store = open_storage(where)
    places = Places.of(data, study_name or plan.study_name)
    with places.claiming():
        study = open_study(plan, store, study_name)
        kept = None if storage is None else hidden(storage)
        remember_call(study, params=params_path, data=data, storage=kept)
    spec = WorkerSpec(
        storage=where,
        study=study.study_name,
        dataset=dataset,
        params=str(params_path.absolute()),
        data=str(places.data),
        search=dataclasses.asdict(search),
        tracking=tracking,
    )
    workers = crew(spec, places.workers)
    with _sigterm_as_interrupt():
        try:
            with Display(study, search.trials) as display:
                _until_done(study, workers, display, search, places)
        finally:
            workers.stop()
            _requeue_orphans(study, places)
    outcome = read_outcome(study)
    if publishing:
        publish(study, outcome, plan, params, places, tracking=tracking)
    return outcome


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM ends a search as Ctrl-C does. Only the main thread may set handlers; elsewhere nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = [(sign, signal.signal(sign, interrupt)) for sign in (signal.SIGTERM, signal.SIGINT)]
    try:
        yield
    finally:
        for sign, handler in before:
            signal.signal(sign, handler)


def _until_done(study: Study, crew: Crew, display: Display, search: SearchSettings, places: Places) -> None:
    """Keep enough workers running until the last trial has finished.

    Raises:
        StudyError: workers die again and again.
    """
    deaths: list[str] = []
    others = living(places.workers)  # of another launcher, which runs or was killed just now
    finished = display.update()
    while finished < search.trials:
        _requeue_orphans(study, places)
        others = [sign for sign in others if sign in living(places.workers)]
        counts = count(study)
        free = search.trials - counts.finished - counts.running
        present = crew.alive() + len(others)
        idle = max(0, present - counts.running)  # alive without a trial yet, so that none is started twice
        if (short := min(free - idle, search.workers - present)) > 0:
            crew.start(short)
        time.sleep(LOOK)
        before, finished = finished, display.update()
        for death in crew.deaths():
            if death.startswith(TOLD):
                raise StudyError(death.removeprefix(TOLD))
            log.warning("a worker ended with %s; its trial goes on in another", death)
            deaths.append(death)
        if finished > before:
            deaths.clear()
        if len(deaths) >= MAX_DEATHS:
            raise StudyError(f"{len(deaths)} workers ended without a trial done, the last with {deaths[-1]}")


def _requeue_orphans(study: Study, places: Places) -> None:
    with places.claiming():
        requeue_orphans(study)
