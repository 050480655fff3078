"""What a study is: data, space, the settings that stay fixed, and how its trials are trained and judged."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skipw.checked import build
from skipw.data.prepared import load_meta
from skipw.errors import ParamsError
from skipw.params import DATASETS, Params, SearchSettings, TrainSettings
from skipw.studies.space import Space, space_json, space_of

__all__ = ["Plan", "error_of", "make_plan"]

#: A recipe's keys that a plan sets itself.
OWN = ("steps", "val_every", "val_limit", "eval_batch_size", "seed", "num_threads", "patience")
#: What two studies may differ in and still be the same search.
FREE = ("trials", "workers", "sampler", "test_limit", "cells")  # the space says which cells


def error_of(value: float, metric: str) -> float:
    """The first objective, to be minimised: 1 - accuracy, or the mean squared error."""
    return 1.0 - value if metric == "accuracy" else value


@dataclass(frozen=True)
class Plan:
    """All that makes two trials comparable. Made from params.yaml and the prepared data, never changed.

    Attributes:
        dataset, title, data_source, metric: of the prepared data.
        constant: error of the constant predictor on val.
        sizes: sequences by split; ``num_steps``: T.
        search: the settings of params.yaml.
        recipe: the data set's, of params.yaml.
        fixed: the recipe less what the space varies.
        thresholds: that SkipW and ThrRNN are judged at.
        space: what varies.
        prepared_digest: of meta.json.
    """

    dataset: str
    title: str
    data_source: str
    metric: str
    constant: float
    sizes: Mapping[str, int]
    num_steps: int
    search: SearchSettings
    recipe: Mapping[str, Any]
    fixed: Mapping[str, Any]
    thresholds: Mapping[str, tuple[float, ...]]
    space: Space
    prepared_digest: str

    def facts(self) -> dict[str, Any]:
        """Plain values that tell this search from others; kept with the study."""
        search = {k: v for k, v in dataclasses.asdict(self.search).items() if k not in FREE}
        search["models"] = list(search["models"])
        return {
            "dataset": self.dataset,
            "data_source": self.data_source,
            "prepared": self.prepared_digest,
            "space": space_json(self.space),
            "search": search,
            "fixed": json.loads(json.dumps(self.fixed)),
            "thresholds": {name: list(values) for name, values in self.thresholds.items()},
        }

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits over ``facts``."""
        text = json.dumps(self.facts(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def study_name(self) -> str:
        """The study's name unless another is given: data set, and a hash of space, settings and data source."""
        return f"skipw-{self.dataset}-{self.digest}"

    @property
    def models(self) -> tuple[str, ...]:
        """The kinds of model that the space holds."""
        return tuple(map(str, self.space["model"].choices))  # type: ignore[attr-defined]

    def experiment(self, number: int) -> str:
        """The name of a trial's model, MLflow run and folder."""
        return f"{self.dataset}-trial-{number:03d}"

    def settings(
        self, chosen: Mapping[str, Any], experiment: str, init_from: str | None = None
    ) -> TrainSettings:
        """The training that a trial does: ``epochs`` passes over the data, whatever its batch size."""
        batch = int(chosen.get("batch_size", self.fixed.get("batch_size", TrainSettings.batch_size)))
        sequences = min(self.sizes["train"], self.fixed.get("train_limit") or self.sizes["train"])
        batch = min(batch, sequences)
        steps = max(self.search.validations, round(self.search.epochs * sequences / batch))
        own = {
            "experiment": experiment,
            "dataset": self.dataset,
            "init_from": init_from,
            "steps": steps,
            "val_every": max(1, steps // self.search.validations),
            "val_limit": self.search.val_limit,
            "seed": self.search.seed,
        }
        return build(TrainSettings, {**self.fixed, **chosen, **own}, f"trial {experiment}")


def make_plan(dataset: str, params: Params, search: SearchSettings, data: Path) -> Plan:
    """The plan of a data set's study.

    Args:
        dataset: adding, mnist, imdb or har.
        params: a whole, checked file of settings.
        search: ``params.search.<dataset>``, with what the command line overrides.
        data: the root of all outputs; the prepared data set must be there.
    Raises:
        ParamsError: an unknown data set, or 0 trials, workers or models.
        DataFormatError: if the data set is not prepared.
    """
    if dataset not in DATASETS:
        raise ParamsError(f"expected a data set of {', '.join(DATASETS)}, got {dataset!r}.")
    for name in ("trials", "workers"):
        if getattr(search, name) < 1:
            raise ParamsError(f"a study needs at least 1 of {name}, got {getattr(search, name)}.")
    if not 0 < search.epochs < math.inf:
        raise ParamsError(
            f"epochs must be more than 0 passes over the data, and finite, got {search.epochs:g}."
        )
    if not search.models:
        raise ParamsError("a study needs at least one model of skipw, thrrnn and skiprnn, got none.")
    folder = data / "prepared" / dataset
    meta = load_meta(folder)
    if not search.cells:
        raise ParamsError("a study needs at least one cell of gru, lstm and fastgrnn, got none.")
    space = space_of(
        search.space,
        dataset,
        search.models,
        classification=meta["task"] == "classification",
        cells=search.cells,
    )
    recipe = params.train.recipes.get(dataset, {})
    fixed = {
        key: value
        for key, value in recipe.items()
        if key not in OWN and (key not in space or key == "window")
    }
    evaluate = params.evaluate.thresholds
    return Plan(
        dataset=dataset,
        title=str(meta["title"]),
        data_source=str(meta["data_source"]),
        metric=str(meta["metric"]),
        constant=error_of(float(meta["constant_predictor"]["val"]), str(meta["metric"])),
        sizes=dict(meta["sizes"]),
        num_steps=int(meta["num_steps"]),
        search=search,
        recipe=recipe,
        fixed=fixed,
        thresholds={"skipw": evaluate.skipw, "thrrnn": evaluate.thrrnn},
        space=space,
        prepared_digest=hashlib.sha256((folder / "meta.json").read_bytes()).hexdigest()[:16],
    )
