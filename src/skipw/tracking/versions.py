"""One version of a registered model: uploaded and registered as a whole, or not at all."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from skipw.tracking.front_models import TrainedModel
from skipw.tracking.packing import (
    FRONT_FILES,
    POINTS_FILE,
    RegistrationError,
    own_point,
    pack,
    try_out,
    write_points,
)
from skipw.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

__all__ = ["create_version", "is_complete", "logged_model_id", "refresh_version"]

log = logging.getLogger(__name__)


def create_version(
    store: Store,
    name: str,
    model: TrainedModel,
    run_id: str,
    front: Path,
    tags: Mapping[str, str],
    card: str,
    examples: int,
) -> ModelVersion:
    """Register a model; if anything goes wrong, nothing stays behind.

    Args:
        store: the journal.
        name: of the registered model.
        model: what to register.
        run_id: of its training.
        front: folder with front.html and front.png.
        tags: of the version.
        card: its description.
        examples: sequences in the input example.
    Raises:
        RegistrationError: if the packed model doesn't answer, or MLflow doesn't take it.
    """
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory(prefix="skipw-version-") as scratch:
        packed = Path(scratch) / "model"
        pack(model, packed, front, run_id, examples)
        try_out(packed, model)
        model_id, new = None, False
        try:
            logged = store.client.create_logged_model(
                store.experiment(str(model.description["dataset"])), model.experiment, run_id,
                dict(tags), _parameters(model), model.kind,
            )  # fmt: skip
            model_id = logged.model_id
            _upload(store, model, packed, logged, run_id)
            new = _ensure_registered_model(store, name)
            version = store.client.create_model_version(
                name, f"models:/{model_id}", run_id, dict(tags), description=card, model_id=model_id
            )
        except BaseException as error:  # an interrupt leaves nothing behind either
            if model_id is not None:
                _discard(store, model_id, logged.artifact_location)
            if new:
                store.client.delete_registered_model(name)
            if isinstance(error, MlflowException | OSError):
                raise RegistrationError(
                    f"{model.experiment} was not registered as {name}: {error}"
                ) from error
            raise
    _show_among_models(store, model_id, version)
    return version


def _show_among_models(store: Store, model_id: str, version: ModelVersion) -> None:
    """Name the version in the experiment's table of models, whose page reads this tag."""
    place = json.dumps([{"name": version.name, "version": str(version.version)}])
    store.client.set_logged_model_tags(model_id, {"mlflow.modelVersions": place})


def _upload(store: Store, model: TrainedModel, packed: Path, logged: Any, run_id: str) -> None:
    """Fill a new logged model: its files, its place among the run's outputs, its metrics."""
    from mlflow.entities import LoggedModelOutput, Metric
    from mlflow.models import Model

    card = Model.load(str(packed / "MLmodel"))
    card.model_id = card.model_uuid = logged.model_id
    card.artifact_path = logged.artifact_location
    card.save(str(packed / "MLmodel"))
    client, now = store.client, int(time.time() * 1000)
    client.log_model_artifacts(logged.model_id, str(packed))
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
    client.log_batch(
        run_id,
        metrics=[Metric(key, value, now, 0, logged.model_id) for key, value in model.numbers().items()],
    )
    client.finalize_logged_model(logged.model_id, "READY")


def _parameters(model: TrainedModel) -> dict[str, str]:
    """What tells one model from another in the table of models."""
    architecture = model.description["architecture"]
    values = {key: architecture.get(key) for key in ("cell", "hidden_size", "num_layers", "window")}
    values |= {"model": model.kind, "cost_per_input": model.description.get("cost_per_input")}
    values |= {"budget": model.best.budget, "threshold": model.best.threshold, "rate": model.best.rate}
    return {key: f"{value}" for key, value in values.items() if value is not None}


def _ensure_registered_model(store: Store, name: str) -> bool:
    """Whether it had to be created."""
    from mlflow.exceptions import MlflowException

    try:
        store.client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return False
    return True


def _discard(store: Store, model_id: str, location: str) -> None:
    """Remove a logged model and its files."""
    from mlflow.exceptions import MlflowException

    try:
        store.client.delete_logged_model(model_id)
    except MlflowException as error:
        log.warning("the unfinished model %s stays in the list of models: %s", model_id, error)
    if (folder := _local(location)) is not None:  # .../models/<id>/artifacts
        shutil.rmtree(folder.parent if folder.parent.name == model_id else folder, ignore_errors=True)


def _local(location: str) -> Path | None:
    """A file: address or a plain path as a folder; None for anything remote."""
    parts = urlparse(location)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None


def logged_model_id(version: ModelVersion) -> str:
    """The id of the logged model behind a version (SQLite's registry leaves ``model_id`` empty)."""
    return str(version.model_id or str(version.source).removeprefix("models:/"))


def is_complete(store: Store, version: ModelVersion) -> bool:
    """False if the version's files were deleted."""
    from mlflow.exceptions import MlflowException

    try:
        folder = _local(store.client.get_logged_model(logged_model_id(version)).artifact_location)
    except MlflowException:
        return False
    return folder is None or (folder / "MLmodel").exists()


def refresh_version(store: Store, version: ModelVersion, model: TrainedModel, front: Path) -> None:
    """The same weights, another front: new operating points, page, picture and default point."""
    import mlflow.artifacts
    from mlflow.models import Model

    client, model_id = store.client, logged_model_id(version)
    location = client.get_logged_model(model_id).artifact_location
    with tempfile.TemporaryDirectory(prefix="skipw-version-") as scratch:
        folder = Path(scratch)
        mlflow.artifacts.download_artifacts(
            artifact_uri=f"{location}/MLmodel", dst_path=scratch, tracking_uri=store.uri
        )
        card = Model.load(str(folder / "MLmodel"))
        card.flavors["python_function"]["config"] = own_point(model)
        card.save(str(folder / "MLmodel"))
        write_points(model, folder / POINTS_FILE)
        for file in (*FRONT_FILES, "MLmodel", POINTS_FILE):
            source = front / file if file in FRONT_FILES else folder / file
            if source.exists():
                client.log_model_artifact(model_id, str(source))
