"""A worker runs trials of a study until there are enough. Any number of them, on any number of machines.

python -m skipw.studies.worker [SPEC]

SPEC is a ``WorkerSpec`` as JSON. Without it the worker reads a line of standard input (a storage's address may hold a
password, which no list of processes should show), and ends in order when standard input is closed: its launcher died.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from optuna import TrialPruned
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from skipw.checked import build
from skipw.errors import SkipWError
from skipw.params import SearchSettings, load
from skipw.studies.backlog import FINISHED, count, requeue_orphans, surplus
from skipw.studies.errors import StudyError
from skipw.studies.places import Claim, Places, Sign
from skipw.studies.plan import Plan, make_plan
from skipw.studies.retry import LET_GO
from skipw.studies.storage import open_storage
from skipw.studies.study import offer_recipe, open_study
from skipw.studies.trial import Journal, run_trial

if TYPE_CHECKING:
    from optuna import Study, Trial

__all__ = ["PATIENCE", "WorkerSpec", "work"]

log = logging.getLogger(__name__)
PATIENCE = 20.0  # seconds that a worker has to leave its trial in order
FAILURES = 3  # in a row, after which a worker gives up
TERMINATED = 128 + 15  # what a shell reports of a process that SIGTERM ended


@dataclass(frozen=True)
class WorkerSpec:
    """All that a worker is told; plain values, so that it may run anywhere.

    Attributes:
        storage: of the study.
        study: its name.
        dataset: adding, mnist, imdb or har.
        params: path of params.yaml.
        data: the root of all outputs, with the prepared data.
        search: what ``SearchSettings`` are made of.
        tracking: whether MLflow is told.
    """

    storage: str
    study: str
    dataset: str
    params: str
    data: str
    search: dict[str, Any]
    tracking: bool

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> WorkerSpec:
        return cls(**json.loads(text))


def work(spec: WorkerSpec) -> int:
    """Run trials until the study has as many as wanted, or others run the last ones; returns how many.

    Raises:
        StudyError: the study can't be opened, or ``FAILURES`` trials in a row failed with an error.
    """
    import torch

    torch.set_num_threads(1)
    params = load(spec.params)
    search = build(SearchSettings, spec.search, "search")
    data = Path(spec.data)
    plan = make_plan(spec.dataset, params, search, data)
    study = open_study(plan, open_storage(spec.storage), spec.study)
    places = Places.of(data, spec.study)
    journal = _journal(study, plan, places, params.scale) if spec.tracking else None
    sign = Sign(places.workers)
    done, in_order = 0, False
    try:
        while _one(study, plan, places, journal, sign):
            done += 1
            _give_up_after_failures(study)
        in_order = True
    finally:
        sign.close(keep=not in_order)
    return done


def _one(study: Study, plan: Plan, places: Places, journal: Journal | None, sign: Sign) -> bool:
    """Take and run one trial; False if there is none to take. The claim is held until the trial is ours."""
    wanted = plan.search.trials
    with places.claiming() as claim:
        requeue_orphans(study)
        counts = count(study)
        if counts.finished + counts.running >= wanted:
            return False

        offer_recipe(study, plan)
        taken: list[Trial] = []

        def objective(trial: Trial) -> tuple[float, float]:
            taken.append(trial)
            trial.set_user_attr("worker", sign.attributes())
            claim.release()
            if reason := surplus(study, trial.number, wanted):
                trial.set_user_attr("reason", reason)
                raise Surplus
            return _told(trial, plan, places, journal)

        try:
            study.optimize(objective, n_trials=1, catch=(Exception,))
        except (ValueError, UpdateFinishedTrialError):  # a database's heartbeat took this worker for dead
            if not taken or study.get_trials(deepcopy=False)[taken[0].number].state != TrialState.FAIL:
                raise
            log.warning("trial %d was given to another worker; its result is dropped", taken[0].number)
    return True


def _told(trial: Trial, plan: Plan, places: Places, journal: Journal | None) -> tuple[float, float]:
    """Run a trial; if it does not come to an answer, its record says why."""
    try:
        return run_trial(trial, plan, places, journal)
    except TrialPruned:
        raise
    except (SystemExit, KeyboardInterrupt):
        trial.set_user_attr(LET_GO, True)
        raise
    except UpdateFinishedTrialError:
        raise
    except Exception as error:
        log.exception("trial %d failed", trial.number)
        trial.set_user_attr("reason", f"error: {type(error).__name__}: {error}")
        raise


class Surplus(Exception):
    """A trial that nobody asked for."""


def _give_up_after_failures(study: Study) -> None:
    reasons: list[str] = []
    for trial in reversed(study.get_trials(deepcopy=False)):
        reason = str(trial.user_attrs.get("reason", ""))
        if trial.state in FINISHED:
            return
        if trial.state == TrialState.FAIL and reason.startswith("error: "):
            reasons.append(reason)
        if len(reasons) == FAILURES:
            raise StudyError(f"{FAILURES} trials in a row failed, the last with {reasons[0]}")


def _journal(study: Study, plan: Plan, places: Places, scale: str) -> Journal | None:
    """The study's run in MLflow, made by the first worker; None where MLflow is absent."""
    try:
        from skipw.tracking.study_runs import study_run
    except ImportError as error:
        log.info("no journal of this study is kept in MLflow: %s", error)
        return None
    from skipw.studies.outcome import plain

    claim = Claim(places.work / "journal.lock")
    try:
        tags = {
            "study": study.study_name,
            "data_source": plan.data_source,
            "title": plan.title,
            "scale": scale,
        }
        facts = plan.facts()
        params = plain({**facts["search"], "space": facts["space"], "fixed": facts["fixed"]})
        known = study.user_attrs.get("run_id")
        parent = study_run(plan.dataset, study.study_name, params, tags, known)
        if parent != known:
            study.set_user_attr("run_id", parent)
    finally:
        claim.release()
    return Journal(parent, scale)


def main() -> None:
    """Run the trials of the study that the first argument, or the first line of standard input, describes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the launcher's, which ends its workers itself
    signal.signal(signal.SIGTERM, _terminate)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(sys.argv) > 1:
        spec = WorkerSpec.from_json(sys.argv[1])
    else:
        spec = WorkerSpec.from_json(sys.stdin.readline())
        threading.Thread(target=_end_with_launcher, daemon=True).start()
    try:
        work(spec)
    except SkipWError as error:
        log.error("worker: %s", error)
        raise SystemExit(1) from error


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    raise SystemExit(TERMINATED)


def _end_with_launcher() -> None:
    """A worker without its launcher would go on unseen, with nobody to stop it."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    log.error("worker: the program that started it is gone; the same search goes on from the last validation")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
