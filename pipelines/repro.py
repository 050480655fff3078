"""``make repro``: dvc.yaml's stages in two lanes side by side; plain ``dvc repro`` runs them one at a time.

python pipelines/repro.py [STAGE ...] [--file dvc.yaml] [--lanes 2]

With stages named, only these and what they need: ``results``, ``train@adding-skipw``, or ``train`` for all of a kind.

A training uses one thread, so on two cores two lanes take half the time. Each lane calls ``dvc repro
--single-item`` on stages whose predecessors are done. DVC locks the workspace while it reads and writes
dvc.lock, not while a stage's command runs, and waits for its turn (``--wait-for-lock``). A last, plain ``dvc
repro`` runs what is left and checks that the result is what one lane would have made.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import IO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from skipw.errors import SkipWError
from skipw.params import Params, experiment_settings, load

LOGS = Path(".scratch/logs")
BUSY = ("Unable to acquire lock", "is busy, it is being blocked by")
RIDES = {
    "prepare": "download",
    "evaluate": "train",
    "register": "pareto",
}  # runs right after, in the same lane
console = Console(stderr=True)


class ReproError(Exception):
    """A stage failed; the message holds the end of its log."""


@dataclass
class Job:
    """Stages of one key that follow each other, as train@x and evaluate@x."""

    stages: list[str]
    needs: set[str]  # stages of other jobs
    seconds: float  # a guess, for the order and the time left
    rank: float = 0.0  # seconds of the longest chain that starts here

    @property
    def name(self) -> str:
        return self.stages[0]


@dataclass
class Lane:
    """A running ``dvc repro`` and what it says."""

    job: Job
    process: subprocess.Popen[str]
    log: Path
    reader: Thread | None = None
    stage: str = ""
    line: str = ""
    begun: float = field(default_factory=time.monotonic)


def dvc(*args: str) -> str:
    """The output of a DVC command that only reads."""
    done = subprocess.run(["dvc", "--wait-for-lock", *args], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReproError(f"dvc {' '.join(args)} failed:\n{done.stderr.strip()}")
    return done.stdout


def stage_graph(file: str) -> dict[str, set[str]]:
    """Every stage of a dvc.yaml with the stages that it needs, in an order that DVC could run them in."""
    needs: dict[str, set[str]] = {}
    for line in dvc("dag", "--dot", file).splitlines():
        names = re.findall(r'"([^"]+)"', line)
        if names:
            needs.setdefault(names[-1], set()).update(names[:-1])
    return needs


def with_followers(changed: Collection[str], needs: dict[str, set[str]]) -> set[str]:
    """The stages that DVC calls changed and all that depend on them."""
    found = set(changed) & set(needs)
    while following := {stage for stage, before in needs.items() if before & found} - found:
        found |= following
    return found


def named(wanted: Collection[str], needs: dict[str, set[str]]) -> list[str]:
    """The stages of these names, or of these kinds.

    Raises:
        ReproError: there is no such stage.
    """
    found = []
    for name in wanted:
        same = [stage for stage in needs if name in (stage, stage.rpartition(":")[2], stage_of(stage)[0])]
        if not same:
            kinds = ", ".join(dict.fromkeys(stage_of(stage)[0] for stage in needs))
            raise ReproError(f"no stage {name}; kinds: {kinds}. One of a kind: train@adding-skipw")
        found += same
    return found


def with_needed(stages: Collection[str], needs: dict[str, set[str]]) -> set[str]:
    """These stages and all that they depend on."""
    found = set(stages)
    while before := {need for stage in found for need in needs[stage]} - found:
        found |= before
    return found


def stage_of(address: str) -> tuple[str, str]:
    """``paper/dvc.yaml:train@adding-skipw`` -> ``train``, ``adding-skipw``."""
    stage, _, key = address.rpartition(":")[2].partition("@")
    return stage, key


def guess_seconds(address: str, params: Params) -> float:
    """A rough duration: training by steps and sequence length, all else short."""
    stage, key = stage_of(address)
    if stage == "search":
        return 20.0 * getattr(params.search, key).trials
    if stage != "train":
        return {"evaluate": 20.0, "evaluate-periodic": 10.0}.get(stage, 8.0)
    settings = experiment_settings(params, key)
    prepare = params.prepare
    num_steps = {
        "adding": prepare.adding.num_steps,
        "mnist": prepare.mnist.image_size**2,
        "imdb": prepare.imdb.max_length,
        "har": 32,
    }[settings.dataset]
    work = settings.steps * num_steps * settings.num_layers * (settings.batch_size + 64) / 128
    return 10.0 + 2e-4 * work


def plan(needs: dict[str, set[str]], todo: set[str], params: Params) -> list[Job]:
    """Jobs for the stages of ``todo`` that have a key; the longest chain of work ranks first."""
    jobs: dict[str, Job] = {}
    home: dict[str, Job] = {}
    for address in needs:
        stage, key = stage_of(address)
        if address not in todo or not key:
            continue
        before = address.replace(f"{stage}@", f"{RIDES.get(stage)}@")
        job = home.get(before) or jobs.setdefault(address, Job([], set(), 0.0))
        home[address] = job
        job.stages.append(address)
        job.needs |= {other for other in needs[address] & todo if home.get(other) is not job}
        job.seconds += guess_seconds(address, params)
    for job in jobs.values():
        _rank(job, list(jobs.values()))
    return sorted(jobs.values(), key=lambda job: -job.rank)


def _rank(job: Job, jobs: list[Job]) -> float:
    """Fill in and return the seconds of the longest chain from this job on."""
    if not job.rank:
        followers = [other for other in jobs if other.needs & set(job.stages)]
        job.rank = job.seconds + max((_rank(other, jobs) for other in followers), default=0.0)
    return job.rank


class Runner:
    """Runs jobs in lanes and shows how far they are."""

    def __init__(self, jobs: Sequence[Job], lanes: int) -> None:
        self.waiting = list(jobs)
        self.total_seconds = sum(job.seconds for job in jobs)
        self.total_stages = sum(len(job.stages) for job in jobs)
        self.num_lanes = lanes
        self.lanes: list[Lane] = []
        self.done: set[str] = set()
        self.done_seconds = 0.0
        self.begun = time.monotonic()
        self.retries: dict[str, int] = {}

    def run(self) -> None:
        """All jobs to their end.

        Raises:
            ReproError: a stage failed; the other lanes were stopped too (a training goes on there next time).
        """
        if console.is_terminal:
            with Live(get_renderable=self.screen, console=console, refresh_per_second=4, transient=True):
                self._loop()
        else:
            self._loop()

    def _loop(self) -> None:
        try:
            while self.waiting or self.lanes:
                self._start_ready()
                time.sleep(0.1)
                for lane in [lane for lane in self.lanes if lane.process.poll() is not None]:
                    self._finish(lane)
        finally:
            self.stop()

    def _start_ready(self) -> None:
        pending = {stage for job in self.waiting for stage in job.stages}
        pending |= {stage for lane in self.lanes for stage in lane.job.stages}
        ready = [job for job in self.waiting if not job.needs & pending]
        for job in ready[: self.num_lanes - len(self.lanes)]:
            self.waiting.remove(job)
            self.lanes.append(self._start(job))

    def _start(self, job: Job) -> Lane:
        log = LOGS / f"{re.sub(r'[^A-Za-z0-9@.-]+', '_', job.name)}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = ["dvc", "--wait-for-lock", "repro", "--single-item", *job.stages]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "120"},
            start_new_session=True,
        )
        lane = Lane(job, process, log)
        lane.reader = Thread(target=self._read, args=(lane, process.stdout), daemon=True)
        lane.reader.start()
        return lane

    def _read(self, lane: Lane, output: IO[str]) -> None:
        """Copy a lane's output to its log; remember its stage and last line."""
        with lane.log.open("w", encoding="utf-8") as log:
            for line in output:
                log.write(line)
                log.flush()
                text = line.strip()
                if match := re.match(r"Running stage '(.+)':", text):
                    lane.stage, text = match.group(1), ""
                    self.say(f"{lane.stage} ...")
                if text.startswith("SUBSTITUTE"):
                    console.print(text, style="red", markup=False, highlight=False, soft_wrap=True)
                if text and not text.startswith(("> ", "Stage '", "Updating lock", "Use `dvc push`")):
                    lane.line = text

    def _finish(self, lane: Lane) -> None:
        assert lane.reader is not None
        lane.reader.join()
        self.lanes.remove(lane)
        if lane.process.returncode:
            self._failed(lane)
            return
        self.done |= set(lane.job.stages)
        self.done_seconds += lane.job.seconds
        took = clock(time.monotonic() - lane.begun)
        self.say(f"{' + '.join(lane.job.stages)} done in {took} ({len(self.done)}/{self.total_stages})")

    def _failed(self, lane: Lane) -> None:
        lines = lane.log.read_text(encoding="utf-8").splitlines()
        name = lane.job.name
        if any(word in "\n".join(lines[-12:]) for word in BUSY) and self.retries.get(name, 0) < 20:
            self.retries[name] = self.retries.get(name, 0) + 1
            self.waiting.insert(0, lane.job)
            time.sleep(1.0)
            return
        tail = "\n".join(f"  {line}" for line in lines[-30:])
        raise ReproError(f"{lane.stage or name} failed; the end of {lane.log}:\n\n{tail}")

    def stop(self) -> None:
        """End what still runs: first politely, as Ctrl-C would, so that nothing half written stays."""
        for sign, patience in ((signal.SIGINT, 20.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
            running = [lane.process for lane in self.lanes if lane.process.poll() is None]
            for process in running:
                os.killpg(process.pid, sign)
            limit = time.monotonic() + patience
            while any(process.poll() is None for process in running) and time.monotonic() < limit:
                time.sleep(0.1)

    def say(self, text: str) -> None:
        """A line of the journal, where no live screen shows the same."""
        if not console.is_terminal:
            elapsed = clock(time.monotonic() - self.begun)
            console.print(f"[{elapsed}] {text}", markup=False, highlight=False, soft_wrap=True)

    def seconds_left(self) -> float | None:
        """From the share of the guessed work that is done; None before anything is."""
        now = time.monotonic()
        worked = self.done_seconds + sum(
            min(now - lane.begun, 0.95 * lane.job.seconds) for lane in self.lanes
        )
        if self.done_seconds < 0.03 * self.total_seconds:
            return None
        return (now - self.begun) * (self.total_seconds / worked - 1.0)

    def screen(self) -> Group:
        """The live view: a bar for all, a line for each lane."""
        elapsed, left = time.monotonic() - self.begun, self.seconds_left()
        head = Table.grid(padding=(0, 1))
        share = ProgressBar(total=self.total_seconds, completed=self.done_seconds, width=40)
        rest = "" if left is None else f", about {clock(left)} left"
        head.add_row(share, f"{len(self.done)} of {self.total_stages} stages, {clock(elapsed)}{rest}")
        lanes = Table.grid(padding=(0, 1))
        for lane in self.lanes:
            took = clock(time.monotonic() - lane.begun)
            line = Text(lane.line, overflow="ellipsis", no_wrap=True, style="dim")
            lanes.add_row(Text(lane.stage or lane.job.name, style="bold cyan", no_wrap=True), took, line)
        return Group(head, lanes)


def clock(seconds: float) -> str:
    """``75`` -> ``1:15``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def reproduce(file: str, lanes: int, wanted: Collection[str] = ()) -> None:
    """Bring every stage of a dvc.yaml up to date, or only the wanted ones with all that they need."""
    begun = time.monotonic()
    params = load(Path(file).with_name("params.yaml"))
    changed = json.loads(dvc("status", "--json", file))
    if not changed:
        console.print("Everything is up to date.")
        return
    needs = stage_graph(file)
    targets = named(wanted, needs)
    inside = with_needed(targets, needs) if targets else set(needs)
    todo = with_followers(changed, needs) & inside
    if not todo:
        console.print(f"{', '.join(wanted)}: up to date.")
        return
    console.print(f"{len(todo)} of {len(inside)} stages to do, in {lanes} lanes; logs in {LOGS}/")
    Runner(plan(needs, todo, params), lanes).run()
    console.print("What is left, and the check that all is up to date:")
    if subprocess.run(["dvc", "repro", "--quiet", *(targets or [file])], check=False).returncode:
        raise ReproError("the last `dvc repro` failed; its output stands above")
    console.print(f"Done in {clock(time.monotonic() - begun)}.", style="bold green")


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "stages", nargs="*", metavar="STAGE", help="only these and what they need (default: all)"
    )
    parser.add_argument("--file", default="dvc.yaml", help="which pipeline (default: dvc.yaml)")
    parser.add_argument("--lanes", type=int, default=min(2, os.cpu_count() or 1), help="stages side by side")
    args = parser.parse_args(argv)
    if shutil.which("dvc") is None:
        sys.exit("dvc is not on the PATH; run `make repro`, or activate .venv first.")
    for sign in (signal.SIGTERM, signal.SIGINT):  # a shell's background job would ignore the latter
        signal.signal(sign, _as_interrupt)
    try:
        reproduce(args.file, args.lanes, args.stages)
    except (ReproError, SkipWError) as error:
        console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("Stopped. The same command goes on from here.", style="yellow")
        sys.exit(130)


if __name__ == "__main__":
    main()
