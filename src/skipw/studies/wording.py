"""A study in words, for its page and for the terminal: models, points, states, reasons, how to go on."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from skipw.evaluation.curves import NAMES
from skipw.studies.backlog import origin_of
from skipw.studies.display import brief
from skipw.studies.outcome import Outcome
from skipw.studies.samplers import sampler_name

__all__ = [
    "SHAPE",
    "STATES",
    "lineage_of",
    "model_text",
    "reason_of",
    "reasons",
    "resume_command",
    "sampler_text",
    "settings_text",
    "short_name",
    "state_text",
    "wanted",
]

STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "stopped",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
    TrialState.FAIL: "failed",
}
SAMPLERS = {"tpe": "TPE", "nsga2": "NSGA-II", "random": "random"}
SHAPE = ("model", "cell", "hidden_size", "num_layers", "window")
MORE = 20  # trials that the command for going on adds to a study that has all it wanted


def model_text(row: Mapping[str, Any]) -> str:
    """A model and its shape: ``SkipW, GRU 2×64, L 8``; what is unknown is left out.

    Args:
        row: with any of model, cell, hidden_size, num_layers, window; a missing value is None or NaN.
    """
    known = {key: value for key, value in row.items() if not pd.isna(value)}
    parts = [NAMES.get(str(known.get("model")), str(known.get("model", "?")))]
    size = [str(known[key]) for key in ("num_layers", "hidden_size") if key in known]
    if size[:1] == ["1"] and len(size) == 2:
        size = size[1:]
    shape = f"{str(known.get('cell', '')).upper()} {'×'.join(size)}".strip()
    parts += [shape] if shape else []
    if "window" in known and known.get("model") == "skipw":
        parts.append(f"L {known['window']}")
    return ", ".join(parts)


def settings_text(params: Mapping[str, Any]) -> str:
    """The settings that a trial drew besides its model's shape, in a few words."""
    others = brief({key: value for key, value in params.items() if key not in SHAPE})
    parts = [others] if others else []
    if "weight_decay" in params:
        parts.append(f"L2 {params['weight_decay']:.1e}")
    if "dropout" in params:
        parts.append(f"dropout {params['dropout']:g}")
    return ", ".join(parts)


def reason_of(trial: FrozenTrial) -> str:
    """Why a trial was stopped or failed, or what it goes on with; empty for others."""
    told = str(trial.user_attrs.get("reason", ""))
    if told or trial.state not in (TrialState.FAIL, TrialState.PRUNED):
        return told
    return "its worker ended" if trial.state == TrialState.FAIL else "stopped"


def reasons(trials: Iterable[FrozenTrial]) -> dict[str, int]:
    """How many trials were stopped, by kind of reason (``no learning``, ``dominated``, ...), the most first."""
    counts: dict[str, int] = {}
    for trial in trials:
        if trial.state == TrialState.PRUNED:
            kind = reason_of(trial).partition(":")[0].partition(" at ")[0]
            counts[kind] = counts.get(kind, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def lineage_of(trial: FrozenTrial) -> str:
    """The trial whose model a trial began with, and the one whose work it goes on with."""
    donor = trial.user_attrs.get("init_from")
    parts = [short_name(str(donor))] if donor else []
    if origin_of(trial) != trial.number:
        parts.append(f"work of trial {origin_of(trial)}")
    return ", ".join(parts)


def short_name(experiment: str) -> str:
    """``har-trial-012`` -> ``trial 12``; other names as they are."""
    number = experiment.rpartition("-trial-")[2]
    return f"trial {int(number)}" if number.isdigit() and number != experiment else experiment


def wanted(study: Study) -> int | None:
    """Finished trials that the last search asked for; None if it did not say."""
    asked = study.user_attrs.get("asked", {})
    return int(asked["trials"]) if "trials" in asked else None


def sampler_text(study: Study) -> str:
    """The sampler of the last search: ``auto: TPE``."""
    asked = study.user_attrs.get("asked", {})
    if "sampler" not in asked:
        return "not recorded"
    name, used = str(asked["sampler"]), sampler_name(str(asked["sampler"]), int(asked["trials"]))
    return f"auto: {SAMPLERS[used]}" if name == "auto" else SAMPLERS[used]


def state_text(outcome: Outcome, aim: int | None) -> str:
    """``12 of 20 trials: 9 complete, 3 stopped early; 1 running``."""
    counts = outcome.counts
    part = "" if aim is None or counts.finished > aim else f" of {aim}"
    text = f"{counts.finished}{part} trials: {counts.complete} complete, "
    text += f"{counts.stopped} stopped early"
    others = {"running": counts.running, "waiting": counts.waiting, "failed": counts.failed}
    rest = ", ".join(f"{number} {name}" for name, number in others.items() if number)
    return f"{text}; {rest}" if rest else text


def resume_command(outcome: Outcome, aim: int | None, storage: str | None = None) -> str:
    """The command that goes on with this very study, or says what differs if params.yaml was changed otherwise.

    Args:
        outcome: of the study.
        aim: finished trials that it was to have; more are asked for once it has them.
        storage: address, if it is not the data set's default; None takes the one that the last search was given.
    """
    search, done = outcome.facts["search"], outcome.counts.finished
    trials = aim if aim is not None and done < aim else done + MORE
    words = ["skipw", "search", outcome.dataset, "--trials", str(trials)]
    words += ["--epochs", f"{search['epochs']:g}", "--space", str(search["space"])]
    words += ["--models", ",".join(search["models"])]  # params.yaml may name others, or fewer
    words += ["--seed", str(search["seed"]), "--study", outcome.name]
    options = dict(outcome.called) if storage is None else {**outcome.called, "storage": storage}
    for name in ("params", "data", "storage"):
        words += [f"--{name}", options[name]] if name in options else []
    return shlex.join(words)
