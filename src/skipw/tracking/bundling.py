"""Models out of the journal, or from a folder, into an edge bundle."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skipw.errors import DataFormatError, DataUnavailableError
from skipw.evaluation.evaluated import GRID_FILE, Evaluated
from skipw.evaluation.source_notes import announcement
from skipw.models.saved import DESCRIPTION_FILE, WEIGHTS_FILE, load_description
from skipw.operating_point import OperatingPoint
from skipw.runtime.bundle import EdgeBundle, Origin, check_target, write_bundle
from skipw.runtime.measured import read_points
from skipw.tracking.examples import example_sequences
from skipw.tracking.front_models import read_model
from skipw.tracking.packing import POINTS_FILE, own_config
from skipw.tracking.pulled import explained, journal_of
from skipw.tracking.store import Store, quiet

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

__all__ = ["pull"]

VERSION_URI = re.compile(r"models:/+([^/@]+)(?:@([^/]+)|/([^/]+))")
ID_URI = re.compile(r"models:/+([^/@]+)")
RUN_URI = re.compile(r"runs:/+([^/]+)/(.+)")


@dataclass(frozen=True)
class _Found:
    """A model on this machine: its folder, its points, where it runs and comes from."""

    folder: Path
    points: str
    point: OperatingPoint | None
    origin: Origin


def pull(uri: str, folder: Path | str, *, data: Path | None = None) -> EdgeBundle:
    """Write a model into an edge bundle.

    Args:
        uri: models:/skipw-<dataset>@<alias>, models:/skipw-<dataset>/<version>, models:/<model id>,
            runs:/<run id>/<name>, or the folder of a model such as data/models/<dataset>/<experiment>.
        folder: new, empty, or an older bundle, which is replaced.
        data: the root of all outputs, where a folder's grid and front are looked up; found from a folder such
            as data/models/<dataset>/<experiment> by default.
    Returns:
        The bundle. Its default operating point is the alias' own; else the model's most accurate on the front.
    Raises:
        DataUnavailableError: MLflow doesn't know the address, or it is no model of this package.
        DataFormatError: if ``folder`` holds something that would be lost; or a file is damaged.
        ChecksumError: if the weights are not those that were registered.
    """
    folder = Path(folder)
    check_target(folder)
    with _fetched(uri, data) as found:
        description = load_description(found.folder)
        origin = replace(found.origin, notice=announcement(str(description.get("data_source") or "")) or "")
        return write_bundle(
            folder, found.folder, origin,
            point=found.point, points=found.points, examples=example_sequences(description),
        )  # fmt: skip


@contextmanager
def _fetched(uri: str, data: Path | None) -> Iterator[_Found]:
    """The model while the block lasts."""
    if ":/" not in uri:
        yield _in_folder(Path(uri), data)
        return
    import mlflow.artifacts

    store = journal_of(uri)
    with tempfile.TemporaryDirectory(prefix="skipw-pull-") as scratch:
        with explained(store, uri), store.as_default(), quiet("mlflow.store.artifact"):
            version, alias = _version(store, uri)
            run_id = _run_id(store, uri, version)
            mlflow.artifacts.download_artifacts(uri, dst_path=scratch, tracking_uri=store.uri)
            _add_grid(store, run_id, Path(scratch))
            tags = store.client.get_registered_model(version.name).tags if version and alias else {}
        yield _downloaded(uri, Path(scratch), version, alias, tags, run_id)


def _version(store: Store, uri: str) -> tuple[ModelVersion | None, str]:
    """The registered version that is meant, and the alias it was named by."""
    found = VERSION_URI.fullmatch(uri)
    if found is None:
        return None, ""
    name, alias, number = found.groups()
    if alias:
        number = str(store.client.get_model_version_by_alias(name, alias).version)
    elif number == "latest":
        versions = store.client.search_model_versions(f"name = '{name}'", max_results=10000)
        number = str(max((int(one.version) for one in versions), default=0))
    return store.client.get_model_version(name, number), alias or ""  # only this one names all aliases


def _run_id(store: Store, uri: str, version: ModelVersion | None) -> str:
    if version is not None:
        return str(version.run_id or "")
    if found := RUN_URI.fullmatch(uri):
        return found[1]
    if found := ID_URI.fullmatch(uri):
        return str(store.client.get_logged_model(found[1]).source_run_id or "")
    return ""


def _downloaded(
    uri: str, scratch: Path, version: ModelVersion | None, alias: str, tags: dict[str, str], run_id: str
) -> _Found:
    """What lies in a download: a version's folder, or the model folder of a run."""
    folders = [
        path.parent
        for path in sorted(scratch.rglob(WEIGHTS_FILE))
        if (path.parent / DESCRIPTION_FILE).is_file()
    ]
    if len(folders) != 1:
        raise DataUnavailableError(
            f"{uri} holds {len(folders)} models of this package ({WEIGHTS_FILE} and {DESCRIPTION_FILE}), expected "
            "one; name a version such as models:/skipw-har@knee."
        )
    experiment = str(load_description(folders[0]).get("experiment") or "")
    if version is None:
        origin = Origin(uri, experiment, run_id=run_id)
    else:
        aliases = tuple(sorted(map(str, version.aliases)))
        evaluated = version.tags.get("experiment", experiment)  # periodic has the weights of random
        origin = Origin(uri, version.name, str(version.version), aliases, run_id, experiment=evaluated)
    tables = sorted(scratch.rglob(POINTS_FILE))
    if not tables:
        return _with_grid(folders[0], scratch, None, origin)
    points = tables[0].read_text(encoding="utf-8")
    config = own_config(scratch)
    if alias and f"{alias}.budget" in tags:
        point = _point(tags[f"{alias}.budget"], tags.get(f"{alias}.threshold", ""))
    else:
        point = _point(config.get("budget"), config.get("threshold"))
    if config.get("rate") is not None:
        rate = _rate(tables[0], alias, float(config["rate"]))
        origin = replace(origin, sampling=str(config["model"]), rate=rate)
    return _Found(folders[0], points, point, origin)


def _rate(table: Path, alias: str, own: float) -> float:
    """The share of a sampling baseline that an alias stands for: the version's own, or as it was measured."""
    front = [point for point in read_points(table) if point.pareto]
    held = [point for point in front if alias in point.aliases]
    sign = 1 if front and front[0].metric == "accuracy" else -1
    best = min(front, key=lambda point: (-sign * point.val, point.val_inputs_processed), default=None)
    return held[0].val_inputs_processed if held and held[0] != best else own


def _add_grid(store: Store, run_id: str, scratch: Path) -> None:
    """The grid of a run, beside a model that came without operating points; a run may have none yet."""
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

    if run_id and not list(scratch.rglob(POINTS_FILE)):
        with suppress(MlflowException, OSError):
            place = f"runs:/{run_id}/grid/{GRID_FILE}"
            mlflow.artifacts.download_artifacts(place, dst_path=str(scratch), tracking_uri=store.uri)


def _with_grid(folder: Path, place: Path, front: Path | None, origin: Origin) -> _Found:
    """A model with the grid that lies in ``place``, or without if none does."""
    if not (place / GRID_FILE).is_file():
        return _Found(folder, "", None, origin)
    model = read_model(Evaluated(origin.model, folder, place), front)
    table = model.grid[model.grid["metric"] == model.metric]
    points = table.to_csv(index=False, lineterminator="\n")
    if model.best.rate is not None:
        origin = replace(origin, sampling=model.kind, rate=model.best.rate)
    return _Found(folder, points, _point(model.best.budget, model.best.threshold), origin)


def _point(budget: Any, threshold: Any) -> OperatingPoint | None:
    """From tags and settings, where nothing is None or ""."""
    if threshold in (None, ""):
        return None if budget in (None, "") else OperatingPoint(int(budget))
    return OperatingPoint(None if budget in (None, "") else int(budget), float(threshold))


def _in_folder(folder: Path, data: Path | None) -> _Found:
    """A model folder of the pipeline, or any other; its grid and its front are taken where they are found."""
    try:
        description = load_description(folder)
    except DataFormatError as error:
        raise DataUnavailableError(
            f"{folder} is no address of MLflow (models:/skipw-har@knee, runs:/RUN_ID/NAME), and no folder of a "
            f"trained model either: {error} `make repro` trains models into data/models."
        ) from error
    experiment = str(description.get("experiment") or folder.name)
    dataset = str(description.get("dataset") or "")
    root = data or _outputs_root(folder.resolve())
    places = [folder, *([] if root is None else [root / "evaluation" / dataset / folder.resolve().name])]
    origin = Origin(str(folder), experiment)
    place = next((place for place in places if (place / GRID_FILE).is_file()), folder)
    front = None if root is None else root / "pareto" / dataset / "front.csv"
    return _with_grid(folder, place, front, origin)


def _outputs_root(folder: Path) -> Path | None:
    """``data`` for data/models/<dataset>/<experiment> and data/studies/<dataset>/trials/<experiment>."""
    parts = [parent.name for parent in folder.parents]
    if parts[1:2] == ["models"]:
        return folder.parents[2]
    if parts[0:1] == ["trials"] and parts[2:3] == ["studies"]:
        return folder.parents[3]
    return None
