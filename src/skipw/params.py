"""Read ``params.yaml``, check every key, type and range, hand the settings out as frozen dataclasses.

A whole file is checked at once, so that a misspelt key fails before anything was downloaded or trained. What the
keys mean stands in ``settings``.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from skipw.checked import build, refuse_unknown
from skipw.errors import ParamsError
from skipw.gate_budgets import problem
from skipw.settings import (
    DATASETS,
    SEARCHED,
    Download,
    Evaluate,
    Params,
    Prepare,
    SearchSettings,
    TrainSettings,
)

__all__ = [
    "DATASETS",
    "Download",
    "Evaluate",
    "Params",
    "Prepare",
    "SearchSettings",
    "TrainSettings",
    "experiment_settings",
    "load",
]

IDENTITY = ("experiment", "dataset", "model", "init_from", "start")
RECIPE_KEYS = tuple(f.name for f in fields(TrainSettings) if f.name not in IDENTITY)
EXPERIMENT_KEYS = (*IDENTITY[1:], *RECIPE_KEYS)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # of an experiment, which is a folder's too


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers (``1e-4`` is one, ``010`` is ten, ``1:30`` is a text), no merge keys and no key twice.

    As DVC reads the same files, ``_`` may stand between digits, and ``0b101`` is five.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        for key, _ in node.value:
            if key.value == "<<":
                raise ParamsError(
                    f"line {key.start_mark.line + 1}: merge keys (<<) are not read; write the keys out, or put what "
                    "experiments of a data set share into its recipe."
                )
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise ParamsError(
                    f"line {node.start_mark.line + 1}: key {key!r} stands there twice; keep one."
                )
        return super().construct_mapping(node, deep)

    def whole_number(self, node: yaml.ScalarNode) -> int:
        """``0o17``, ``0x1f`` and ``0b11`` by their prefix, all else decimal."""
        text = node.value.replace("_", "")
        try:
            return int(text, 0 if text.lstrip("+-")[:2] in ("0o", "0x", "0b") else 10)
        except ValueError as error:  # thousands of digits
            raise ParamsError(f"line {node.start_mark.line + 1}: not a whole number: {error}") from error


# Not YAML 1.1's numbers, nor its special keys ``<<`` and ``=``.
_Loader.yaml_implicit_resolvers = {
    first: [one for one in resolvers if one[0].rpartition(":")[2] not in ("int", "float", "merge", "value")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^[-+]?(\d[\d_]*|0o[0-7][0-7_]*|0x[\da-fA-F][\da-fA-F_]*|0b[01][01_]*)$", re.ASCII),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^([-+]?(\d[\d_]*\.[\d_]*|\.\d[\d_]*|\d[\d_]*(?=[eE]))([eE][-+]?\d+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$",
        re.ASCII,
    ),
    list("-+.0123456789"),
)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.whole_number)


def load(path: str | Path) -> Params:
    """Read and check a whole file of settings.

    Raises:
        ParamsError: no such file, no UTF-8, no YAML, an unknown key (the nearest known one is named), a wrong type,
            a value outside its range, or experiments that do not fit together.
    """
    try:
        content = _Loader(Path(path).read_text(encoding="utf-8")).get_single_data()
        params = build(Params, content, "")
        _check_experiments(params)
    except OSError as error:
        raise ParamsError(
            f"{path}: cannot be read ({error.strerror}); pass the path of a params.yaml."
        ) from error
    except UnicodeDecodeError as error:
        raise ParamsError(
            f"{path}: expected UTF-8, got the byte {error.object[error.start]:#04x} at {error.start}; "
            "save it as UTF-8."
        ) from error
    except yaml.YAMLError as error:
        raise ParamsError(f"{path}: not valid YAML: {error}") from error
    except ParamsError as error:
        raise ParamsError(f"{path}: {error}") from None
    except ValueError as error:  # a date or a number whose form alone is right, such as 2026-13-01
        raise ParamsError(f"{path}: not valid YAML: {error}") from error
    return params


def experiment_settings(params: Params, name: str) -> TrainSettings:
    """The settings of one experiment: its data set's recipe, overridden by the experiment's own keys.

    ``<dataset>-periodic`` has no entry of its own: it evaluates the model of ``<dataset>-random``.

    Raises:
        ParamsError: no such experiment, or settings that do not fit together.
    """
    experiments = params.train.experiments
    base, _, suffix = name.rpartition("-")
    if suffix == "periodic" and f"{base}-random" in experiments and name not in experiments:
        trained = experiment_settings(params, f"{base}-random")
        folder = trained.start.replace("prepared", "models", 1)
        return replace(trained, experiment=name, model="periodic", start=f"{folder}/{base}-random")
    refuse_unknown([name], experiments, "train.experiments")
    where = f"train.experiments.{name}"
    own = experiments[name]
    refuse_unknown(own, EXPERIMENT_KEYS, where)
    recipe = params.train.recipes.get(str(own.get("dataset")), {})
    settings = build(TrainSettings, {**recipe, **own, "experiment": name}, where)
    if settings.init_from is not None:
        refuse_unknown([settings.init_from], experiments, f"{where}.init_from", "experiment")
    _check_settings(settings, where)
    return settings


def _check_experiments(params: Params) -> None:
    """Every recipe and experiment on its own, then the chains of ``init_from``."""
    refuse_unknown(params.train.recipes, DATASETS, "train.recipes")
    for dataset, recipe in params.train.recipes.items():
        refuse_unknown(recipe, RECIPE_KEYS, f"train.recipes.{dataset}")
        build(TrainSettings, {**recipe, "experiment": dataset}, f"train.recipes.{dataset}")
    experiments = params.train.experiments
    for name in experiments:
        chain = [name]
        settings = experiment_settings(params, name)
        while settings.init_from is not None:
            where = f"train.experiments.{chain[-1]}.init_from"
            if settings.init_from in chain:
                raise ParamsError(
                    f"{where}: {' <- '.join([*chain, settings.init_from])} is a circle; break it."
                )
            chain.append(settings.init_from)
            earlier = experiment_settings(params, settings.init_from)
            if earlier.dataset != settings.dataset:
                raise ParamsError(f"{where}: {earlier.experiment} is of another data set, {earlier.dataset}.")
            settings = earlier


def _check_budgets(settings: TrainSettings, window: int, where: str) -> None:
    """K in training lies within the window, a drawn one within the largest; so do the budgets of gates of their own.

    What is for batches that draw their K comes with such batches.
    """
    if wrong := problem(settings.gate_budgets, window):
        raise ParamsError(f"{where}.gate_budgets: expected {wrong}, got {list(settings.gate_budgets)}.")
    meant = settings.largest_budget or window
    if meant > window:
        raise ParamsError(f"{where}.largest_budget: expected K within 1 to {window}, got {meant}.")
    if settings.budget is not None and settings.budget > meant:
        raise ParamsError(f"{where}.budget: expected K within 1 to {meant}, got {settings.budget}.")
    if settings.sandwich and not settings.random_budget:
        raise ParamsError(
            f"{where}.sandwich: it is for batches that draw their K; set random_budget, or leave it out."
        )
    if settings.distill and not settings.sandwich:
        raise ParamsError(
            f"{where}.distill: the scores at the largest K are those of sandwich; set it, or leave distill out."
        )
    if settings.budget_draw == "gates" and not settings.gate_budgets:
        raise ParamsError(
            f"{where}.budget_draw: gates draws one of gate_budgets; set these, or draw uniform or log."
        )
    if settings.budget_range is None:
        return
    low, high = settings.budget_range
    largest = settings.budget or meant
    if not 1 <= low <= high <= largest:
        raise ParamsError(
            f"{where}.budget_range: expected [smallest K, largest K] within 1 to {largest}, got [{low}, {high}]."
        )


def _check_plan(settings: TrainSettings, where: str) -> None:
    """A plan is for gates of aligned windows that see the state of a cell with one tensor, and time."""
    wanted = {
        "model": ("skipw",),
        "cell": ("gru", "fastgrnn"),
        "bound": ("aligned",),
        "gate_inputs": ((),),
        "select": ("topk",),
    }
    for name, allowed in wanted.items():
        if (found := getattr(settings, name)) not in allowed:
            need = f"{name} {' or '.join(map(str, allowed))}" if all(allowed) else f"no {name}"
            got = list(found) if isinstance(found, tuple) else found
            raise ParamsError(f"{where}.plan_inputs: a plan needs {need}, got {got}; docs/plans.md says why.")
    shares, gates = settings.plan_inputs, len(settings.gate_budgets)
    if isinstance(shares, tuple) != bool(gates) or (isinstance(shares, tuple) and len(shares) > gates):
        expected = f"a list of up to {gates} shares, for the first of gate_budgets" if gates else "one share"
        got = list(shares) if isinstance(shares, tuple) else shares
        raise ParamsError(f"{where}.plan_inputs: expected {expected}, got {got}.")


def _check_origin(settings: TrainSettings, where: str) -> None:
    """What needs the model of ``init_from`` names one; ``start`` is that model's folder, else the data's."""
    if settings.train_only == "gates" and settings.init_from is None:
        raise ParamsError(
            f"{where}.train_only: the cells under these gates are those of init_from; name one, or leave it out."
        )
    if settings.teacher and settings.init_from is None:
        raise ParamsError(
            f"{where}.teacher: the teacher is the model of init_from; name one, or leave it out."
        )
    end = (
        f"models/{settings.dataset}/{settings.init_from}"
        if settings.init_from
        else f"prepared/{settings.dataset}"
    )
    if not settings.start.endswith(end):
        raise ParamsError(
            f"{where}.start: expected the folder DVC waits for, <data>/{end}, got {settings.start!r}."
        )


def _check_settings(settings: TrainSettings, where: str) -> None:
    """What no single field can tell."""
    if not NAME.fullmatch(settings.experiment):
        raise ParamsError(
            f"{where}: expected a name of letters, digits, '-', '_' and '.', got {settings.experiment!r}; its outputs "
            "go into a folder of that name."
        )
    if not settings.experiment.startswith(f"{settings.dataset}-"):
        raise ParamsError(
            f"{where}: its data set is {settings.dataset}, so call it {settings.dataset}-<something>."
        )
    if settings.model == "periodic":
        raise ParamsError(
            f"{where}: periodic evaluates the model of random and needs no entry; remove this one."
        )
    if settings.model == "skipw" and settings.window is None:
        raise ParamsError(f"{where}.window: skipw needs a window; set it here or in its recipe.")
    if settings.bound == "any" and settings.selection_gradient != "identity":
        raise ParamsError(
            f"{where}.selection_gradient: {settings.selection_gradient} knows the bound of aligned windows only; "
            "with bound: any use identity."
        )
    if settings.model == "skipw" and settings.window is not None:
        _check_budgets(settings, settings.window, where)
    if settings.plan_inputs is not None:
        _check_plan(settings, where)
    if settings.train_only and settings.model not in SEARCHED:
        raise ParamsError(f"{where}.train_only: {settings.model} has no gate; leave it out.")
    if settings.distorts and settings.dataset != "mnist":
        raise ParamsError(
            f"{where}: distort_shift, distort_angle and distort_scale move images; {settings.dataset} has none."
        )
    _check_origin(settings, where)
    if settings.batch_size % settings.devices:
        raise ParamsError(
            f"{where}.batch_size: {settings.devices} devices take equal parts of a batch, "
            f"{settings.batch_size} sequences can't be split so; use a multiple of {settings.devices}."
        )
    shares = [share for share, _ in settings.cost_schedule]
    if not shares or shares != sorted(shares) or shares[0] < 0 or shares[-1] > 1:
        raise ParamsError(f"{where}.cost_schedule: expected [share, factor] pairs, shares rising in [0, 1].")
    if any(factor < 0 for _, factor in settings.cost_schedule):
        raise ParamsError(f"{where}.cost_schedule: a factor on the cost is at least 0.")
