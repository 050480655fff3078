"""The registered model ``skipw-<dataset>``: a version for each model on the front, from files alone."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skipw.data.atomic import replaced_folder, write_json
from skipw.tracking.cards import experiment_card, model_card, version_card
from skipw.tracking.front_models import ALIASES, TrainedModel, read_models
from skipw.tracking.packing import FRONT_FILES, front_digest
from skipw.tracking.provenance import Provenance, front_tag
from skipw.tracking.run_records import (
    add_artifacts,
    find_run,
    log_dataset,
    log_grid,
    log_summary,
    rebuild_run,
)
from skipw.tracking.store import Store, connect, experiment_name
from skipw.tracking.summary import registry_summary
from skipw.tracking.versions import create_version, is_complete, refresh_version

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

__all__ = ["Registration", "register_front"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Registration:
    """What ``register_front`` did.

    Attributes:
        name: of the registered model.
        added: experiments with a new version.
        kept: experiments whose version was there.
        left: versions that are no longer on the front.
        summary: what registry.json says.
        versions: number by experiment.
        others: versions of another provenance that kept their aliases, by alias; empty if these models have them.
    """

    name: str
    added: tuple[str, ...]
    kept: tuple[str, ...]
    left: tuple[str, ...]
    summary: dict[str, Any]
    versions: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)

    def alias_lines(self) -> list[str]:
        """``knee: version 6, adding-skipw-k3, budget 5, threshold 0.5``, a line an alias."""
        whose = "shipped " if self.others else ""
        return [
            f"{whose}{alias}: version {self.versions[point['experiment']]}, {point['experiment']}, "
            f"{point['operating_point']}"
            for alias, point in self.summary["aliases"].items()
        ]


def register_front(
    dataset: str,
    data: Path,
    *,
    scale: str,
    rates: Sequence[float] = (),
    examples: int = 2,
    store: Store | None = None,
    shipped: bool = False,
    take_aliases: bool = True,
) -> Registration:
    """Bring MLflow in line with the files: runs, grids, versions, tags, aliases. Twice is the same as once.

    Args:
        dataset: har, mnist, ...
        data: the root of all outputs; data/registry/<dataset>/registry.json is written.
        scale: laptop, paper or tiny; only versions of the same scale and origin can leave the front.
        rates: shares that the sampling baselines were evaluated at, in the grid's order.
        examples: sequences in the input example of a version.
        store: the journal; the one of ``connect`` by default.
        shipped: the models came with the code; they have runs and versions of their own.
        take_aliases: False leaves the aliases where a version of another provenance holds one of them.
    Raises:
        DataFormatError, ChecksumError: if files are missing or damaged; then nothing was changed.
        RegistrationError: if a model can't be registered; what was registered before it stays valid.
    """
    models = read_models(dataset, data, rates)
    store = connect() if store is None else store
    front = data / "pareto" / dataset
    name, whose = experiment_name(dataset), Provenance(scale, shipped)
    with store.exclusive(name), store.as_default():
        runs = {model.experiment: _run(store, model, whose, front) for model in models}
        _demote_runs(store, dataset, whose, {run.info.run_id for run in runs.values()})
        chosen = [model for model in models if model.front]
        added, versions = _versions(store, name, chosen, runs, whose, front, examples)
        left = _demote_versions(store, name, whose, set(versions.values()))
        others = {} if take_aliases or not chosen else _held_by_others(store, name, whose)
        if chosen and not others:
            _describe(store, name, dataset, chosen, versions)
    summary = registry_summary(name, chosen)
    with replaced_folder(data / "registry" / dataset) as folder:
        write_json(folder / "registry.json", summary)
    kept = tuple(model.experiment for model in chosen if model.experiment not in added)
    return Registration(name, tuple(added), kept, tuple(left), summary, versions, others)


def _run(store: Store, model: TrainedModel, whose: Provenance, front: Path) -> Run:
    """The model's run, made out of its files if it is gone, with grid, summary and front."""
    dataset = str(model.description["dataset"])
    history = model.history
    tags = {**_run_tags(model, whose), **front_tag(front / "front.csv")}
    run = find_run(store, model.experiment, dataset, model.sha256, history, whose)
    if run is None:
        settings = {
            **(model.description.get("settings") or {}),
            "experiment": model.experiment,
            "model": model.kind,
        }
        run_id = rebuild_run(store, model.experiment, dataset, settings, tags, history)
        run = store.client.get_run(run_id)
    log_dataset(store, run, str(model.description["title"]), str(model.description["data_source"]))
    log_grid(store, run, model.grid, model.files.tables)
    log_summary(store, run, model.numbers(), tags)
    if model.front:
        add_artifacts(store, run, [front / file for file in ("front.csv", *FRONT_FILES)], "front_sha256")
    return run


def _run_tags(model: TrainedModel, whose: Provenance) -> dict[str, str]:
    description = model.description
    return {
        "checkpoint_sha256": model.sha256,
        "pareto": "true" if model.front else "false",
        "front_points": str(len(model.front)),
        "aliases": ";".join(alias for point in model.front for alias in point.aliases),
        "model": model.kind,
        **whose.tags,
        "data_source": str(description["data_source"]),
        "title": str(description["title"]),
        "init_from": str(description.get("init_from") or ""),
        "lineage": " ".join(map(str, description.get("lineage") or [])),
    }


def _demote_runs(store: Store, dataset: str, whose: Provenance, current: set[str]) -> None:
    """Earlier trainings are not on the front any more."""
    filters = f"tags.pareto = 'true' AND tags.scale = '{whose.scale}'"
    for run in store.client.search_runs([store.experiment(dataset)], filters, max_results=1000):
        if run.info.run_id not in current and whose.holds(run.data.tags):
            log_summary(store, run, {}, {"pareto": "false", "front_points": "0", "aliases": ""})


def _versions(
    store: Store,
    name: str,
    models: Sequence[TrainedModel],
    runs: Mapping[str, Run],
    whose: Provenance,
    front: Path,
    examples: int,
) -> tuple[list[str], dict[str, str]]:
    """A version for each model: the experiments that got a new one, and all versions by experiment."""
    own = [version for version in _all_versions(store, name) if whose.holds(version.tags)]
    present = {_identity(version): version for version in own}
    added: list[str] = []
    versions: dict[str, str] = {}
    for model in models:
        tags = _version_tags(model, whose, front)
        version = present.get((model.experiment, model.sha256))
        if version is None or not is_complete(store, version):
            run_id = runs[model.experiment].info.run_id
            version = create_version(store, name, model, run_id, front, tags, version_card(model), examples)
            added.append(model.experiment)
            log.info("%s: version %s of %s", model.experiment, version.version, name)
        elif version.tags != tags:
            if version.tags.get("front_sha256") != tags["front_sha256"]:
                refresh_version(store, version, model, front)
                store.client.update_model_version(name, version.version, version_card(model))
            _set_version_tags(store, version, tags)
        versions[model.experiment] = str(version.version)
    return added, versions


def _all_versions(store: Store, name: str) -> list[ModelVersion]:
    """Every version, oldest first, so that of two alike the newest wins."""
    found = store.client.search_model_versions(f"name = '{name}'", max_results=10000)
    return sorted(found, key=lambda version: int(version.version))


def _identity(version: ModelVersion) -> tuple[str, str]:
    return version.tags.get("experiment", ""), version.tags.get("checkpoint_sha256", "")


def _version_tags(model: TrainedModel, whose: Provenance, front: Path) -> dict[str, str]:
    """The numbers are those of the model's most accurate point on the front, on test."""
    best = model.best
    tags = {
        "pareto": "true",
        "experiment": model.experiment,
        "model": model.kind,
        **whose.tags,
        "data_source": str(model.description["data_source"]),
        "checkpoint_sha256": model.sha256,
        "front_sha256": front_digest(model, front),
        "inputs_processed": f"{best.test_inputs:.6g}",
        model.metric: f"{best.test:.6g}",
        "budget": "" if best.budget is None else str(best.budget),
        "threshold": "" if best.threshold is None else f"{best.threshold:g}",
    }
    return tags if best.rate is None else {**tags, "rate": f"{best.rate:g}"}


def _set_version_tags(store: Store, version: ModelVersion, tags: Mapping[str, str]) -> None:
    for key, value in tags.items():
        if version.tags.get(key) != value:
            store.client.set_model_version_tag(version.name, version.version, key, value)


def _demote_versions(store: Store, name: str, whose: Provenance, current: set[str]) -> list[str]:
    """Versions that left the front: pareto=false and no alias."""
    gone = [
        version
        for version in _all_versions(store, name)
        if str(version.version) not in current and whose.holds(version.tags)
    ]
    if not gone:
        return []
    held = store.client.get_registered_model(name).aliases
    for alias in ALIASES:
        if str(held.get(alias)) in {str(version.version) for version in gone}:
            store.client.delete_registered_model_alias(name, alias)
            for part in ("budget", "threshold"):
                store.client.delete_registered_model_tag(name, f"{alias}.{part}")
    left = [version for version in gone if version.tags.get("pareto") != "false"]
    for version in left:
        _set_version_tags(store, version, {"pareto": "false"})
    return [str(version.version) for version in left]


def _held_by_others(store: Store, name: str, whose: Provenance) -> dict[str, str]:
    """The aliases that versions of another provenance hold, with the versions' numbers."""
    held = store.client.get_registered_model(name).aliases
    others = {str(version.version) for version in _all_versions(store, name) if not whose.holds(version.tags)}
    return {alias: str(held[alias]) for alias in ALIASES if str(held.get(alias)) in others}


def _describe(
    store: Store, name: str, dataset: str, models: Sequence[TrainedModel], versions: Mapping[str, str]
) -> None:
    """Aliases with their points, and the text of the model's page and of the experiment's."""
    client = store.client
    registered = client.get_registered_model(name)
    tags = {
        "dataset": dataset,
        "metric": models[0].metric,
        "data_source": str(models[0].description["data_source"]),
    }
    for model in models:
        for point in model.front:
            for alias in point.aliases:
                if str(registered.aliases.get(alias)) != versions[model.experiment]:
                    client.set_registered_model_alias(name, alias, versions[model.experiment])
                tags[f"{alias}.budget"] = "" if point.budget is None else str(point.budget)
                tags[f"{alias}.threshold"] = "" if point.threshold is None else f"{point.threshold:g}"
    for key, value in tags.items():
        if registered.tags.get(key) != value:
            client.set_registered_model_tag(name, key, value)
    card = model_card(name, models, versions)
    if registered.description != card:
        client.update_registered_model(name, card)
    client.set_experiment_tag(
        store.experiment(dataset),
        "mlflow.note.content",
        experiment_card(models[0].description, searched=any(model.trial is not None for model in models)),
    )
