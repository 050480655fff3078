"""Every trained and evaluated experiment under a data folder, by what its model.json says, never by its name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skipw.errors import DataFormatError
from skipw.evaluation.evaluated import Evaluated, evaluated, trial_number
from skipw.models.saved import DESCRIPTION_FILE, load_description
from skipw.settings import TrainSettings

__all__ = ["Experiment", "differences", "find_experiments", "same_but_for"]

#: Settings in which the paper's own models may differ from one another: sizes, λ, the optimiser, the machine.
ORDINARY = frozenset({
    "experiment", "dataset", "model", "init_from", "start", "cell", "hidden_size", "num_layers", "head_hidden",
    "dropout", "input_dropout", "window", "time_scale", "initial_state", "gate_state_gradient", "gate_bias",
    "cost_per_input", "cost_schedule", "steps", "batch_size", "learning_rate", "schedule", "warmup",
    "final_learning_rate", "decay_rate", "decay_samples", "weight_decay", "label_smoothing", "clip", "val_every",
    "eval_batch_size", "patience", "checkpoint_from", "train_limit", "val_limit", "seed", "num_threads", "backend",
    "accelerator", "devices", "average",
    # How gates are led to a cost, still one cost a model.
    "target_inputs", "target_ramp", "rollbacks", "gate_margin", "gate_margin_width", "gate_margin_from",
})  # fmt: skip
#: What has no effect unless another setting is on.
DEPENDENT = {
    "random_budget_from": "random_budget",
    "budget_draw": "random_budget",
    "budget_range": "random_budget",
    "random_threshold": "random_budget",
    "sandwich": "random_budget",
    "distill": "sandwich",
    "target_ramp": "target_inputs",
    "teacher_threshold": "teacher",
    "teacher_temperature": "teacher",
    "plan_until": "plan_inputs",
    "plan_weight": "plan_inputs",
    "plan_updates": "plan_inputs",
    "plan_state_gradient": "plan_inputs",
}
#: Names and places, and what has no effect on the outcome.
NOT_SETTINGS = frozenset({
    "experiment", "dataset", "start", "init_from", "num_threads", "backend", "accelerator", "devices",
    "eval_batch_size",
})  # fmt: skip
#: What a setting beyond the paper's is called; an empty text is not worth a word.
WORDS = {
    "random_budget": "random budgets {}",
    "random_budget_from": "",
    "cell": "{} cells",
    "budget_draw": "K drawn {}",
    "budget_range": "K from {}",
    "distill": "distilled {}",
    "teacher": "taught {} by the model it starts from",
    "teacher_threshold": "at thr {}",
    "teacher_temperature": "",
    "distort_angle": "images turned by up to {} degrees",
    "distort_scale": "images scaled by up to {}",
    "distort_share": "share of the images {}",
    "distort_shift": "images moved by up to {} pixels",
    "sandwich": "with K = L",
    "random_threshold": "random thr {}",
    "selection_gradient": "{} gradient of the selection",
    "select": "select {}",
    "time_feature": "time feature {}",
    "bound": "bound over {} L inputs",
    "budget": "trained at K = {}",
    "largest_budget": "for K up to {}",
    "gate_inputs": "gates see {}",
    "gate_windows": "biases of their own for {} windows",
    "gate_budgets": "gates of their own up to K = {}",
    "train_only": "{} alone trained",
    "random_updates": "random updates beside",
    "plan_inputs": "gates follow a plan of {} of the inputs",
    "plan_until": "until {} of the training",
    "plan_weight": "",
    "plan_updates": "",
    "plan_state_gradient": "",
}
DEFAULTS = {
    field.name: field.default
    for field in dataclasses.fields(TrainSettings)
    if field.default is not dataclasses.MISSING
}


@dataclass(frozen=True)
class Experiment:
    """One evaluated experiment.

    Attributes:
        name, dataset, model: as in grid.csv; random and periodic are models of their own.
        place: its folders.
        description: of model.json; periodic has that of random.
    """

    name: str
    dataset: str
    model: str
    place: Evaluated
    description: Mapping[str, Any]

    @property
    def settings(self) -> Mapping[str, Any]:
        """What it was trained with."""
        return self.description.get("settings", {})

    @property
    def architecture(self) -> Mapping[str, Any]:
        """The shape of its model."""
        return self.description["architecture"]

    @property
    def window(self) -> int | None:
        """L; None for models without one."""
        return self.architecture.get("window")

    @property
    def cost_per_input(self) -> float:
        """λ."""
        return float(self.description.get("cost_per_input", 0.0))

    @property
    def seed(self) -> int:
        """Of its training."""
        return int(self.description.get("seed", self.settings.get("seed", 0)))

    @property
    def beyond(self) -> dict[str, Any]:
        """Its settings that the paper's SkipW does not have, such as random budgets or another time feature.

        A setting that is not one of ORDINARY counts where it differs from its default, so that settings which are
        added later are told apart too.
        """
        found = {
            key: value
            for key, value in self.settings.items()
            if key not in ORDINARY and not _same(value or None, DEFAULTS.get(key) or None)
        }
        for key, plain in (("select", "topk"), ("time_feature", "steps")):
            if self.model == "skipw" and self.architecture.get(key, plain) != plain:
                found[key] = self.architecture[key]
            elif self.model != "skipw" or self.architecture.get(key) == plain:
                found.pop(key, None)
        if self.model != "skipw":
            found.pop("random_budget", None)
            found.pop("selection_gradient", None)
        if self.architecture.get("cell") == "fastgrnn":
            found["cell"] = "FastGRNN"
        if found.get("selection_gradient") != "soft":
            found.pop("selection_softness", None)
        for key, needed in DEPENDENT.items():
            if not found.get(needed):
                found.pop(key, None)
        return found

    @property
    def many_budgets(self) -> bool:
        """Whether it met random budgets in its training, or has gates for several."""
        return bool(self.beyond.get("random_budget") or self.beyond.get("gate_budgets"))

    @property
    def trained_budget(self) -> int | None:
        """The K that it was trained and validated at, L unless another was asked for; None for models without one."""
        return self.settings.get("budget") or self.settings.get("largest_budget") or self.window

    @property
    def plain(self) -> bool:
        """Whether it is the paper's own method."""
        return not self.beyond

    @property
    def variant(self) -> str:
        """``beyond`` for people; empty for the paper's own method."""
        parts = [
            WORDS.get(key, f"{key.replace('_', ' ')} {{}}").format(_shown(value))
            for key, value in sorted(self.beyond.items())
        ]
        return ", ".join(part for part in parts if part)


def find_experiments(dataset: str, data: Path) -> list[Experiment]:
    """The experiments of a data set that have a model and a grid, by name; trials of a search are left out.

    Args:
        dataset: adding, mnist, imdb or har.
        data: the root of all outputs.
    """
    return list(_found(dataset, data))


def _found(dataset: str, data: Path) -> Iterator[Experiment]:
    for place in evaluated(dataset, data):
        if trial_number(place.experiment) is not None:
            continue
        if not (place.model_folder / DESCRIPTION_FILE).exists():
            continue
        try:
            description = load_description(place.model_folder)
        except DataFormatError:
            continue
        model = str(description["architecture"]["model"]) if place.owns_model else "periodic"
        yield Experiment(place.experiment, dataset, model, place, description)


def differences(one: Experiment, other: Experiment) -> dict[str, tuple[Any, Any]]:
    """The settings in which two trainings differ, with both values; names and places don't count.

    Where one of them was started from another model and the other was not, that counts as ``init_from``.
    """
    keys = (one.settings.keys() | other.settings.keys()) - NOT_SETTINGS
    found = {
        key: (a, b)
        for key in sorted(keys)
        if not _same(
            a := one.settings.get(key, DEFAULTS.get(key)), b := other.settings.get(key, DEFAULTS.get(key))
        )
    }
    started = one.settings.get("init_from"), other.settings.get("init_from")
    if (started[0] is None) != (started[1] is None):
        found["init_from"] = started
    return found


def same_but_for(one: Experiment, other: Experiment, field: str) -> bool:
    """Whether two trainings differ in this setting and in nothing else."""
    return set(differences(one, other)) == {field}


def _same(one: Any, other: Any) -> bool:
    """Equal, where a list from JSON equals a tuple."""
    return _plain(one) == _plain(other)


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):  # a range of numbers, or names
        names = any(isinstance(one, str) for one in value)
        return (" and " if names else " to ").join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
