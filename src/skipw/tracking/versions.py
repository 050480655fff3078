"""One version of a registered model: packed, tried out, uploaded and registered, or nothing at all."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import numpy as np

from skipw.errors import SkipWError
from skipw.tracking.examples import input_example
from skipw.tracking.front_models import TrainedModel
from skipw.tracking.store import Store, quiet

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

__all__ = [
    "RegistrationError",
    "create_version",
    "front_digest",
    "is_complete",
    "logged_model_id",
    "own_import_path",
    "refresh_version",
]

log = logging.getLogger(__name__)
PACKAGE = Path(__file__).resolve().parents[1]
PYFUNC_FILE = Path(__file__).with_name("pyfunc_model.py")
NOT_SHIPPED = ("__pycache__", "*.pyc", "*.so", ".*")
REQUIREMENTS = ("mlflow", "torch", "numpy", "pandas", "safetensors")
POINTS_FILE = "operating_points.csv"
FRONT_FILES = ("front.html", "front.png")


class RegistrationError(SkipWError, RuntimeError):
    """A model could not be registered; nothing of it stays behind."""


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
        _pack(model, packed, front, run_id, examples)
        _try_out(packed, model)
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


def _pack(model: TrainedModel, packed: Path, front: Path, run_id: str, examples: int) -> None:
    """Write the version's folder: MLmodel, the code, the weights, the operating points, the front."""
    import mlflow.pyfunc
    from mlflow.models import Model, ModelSignature

    from skipw.tracking.pyfunc_model import params_schema, schemas

    inputs, outputs = schemas(model.description)
    example: Any = input_example(model.description, examples)
    if model.kind == "skipw":
        example = (example, {"budget": model.best.budget, "threshold": model.best.threshold})
    with (
        tempfile.TemporaryDirectory(prefix="skipw-code-") as staged,
        own_import_path(),
        quiet("mlflow.pyfunc"),
    ):
        code = Path(staged) / PACKAGE.name
        shutil.copytree(PACKAGE, code, ignore=shutil.ignore_patterns(*NOT_SHIPPED))
        weights = Path(staged) / "weights"
        weights.mkdir()
        for file in ("model.safetensors", "model.json"):
            shutil.copyfile(model.folder / file, weights / file)
        mlflow.pyfunc.save_model(
            packed,
            python_model=str(PYFUNC_FILE),
            artifacts={"model": str(weights)},
            code_paths=[str(code)],
            signature=ModelSignature(inputs, outputs, params_schema()),
            input_example=example,
            pip_requirements=_requirements(),
            model_config=_config(model),
            mlflow_model=Model(run_id=run_id),
        )
    _write_points(model, packed / POINTS_FILE)
    for file in FRONT_FILES:
        if (front / file).exists():
            shutil.copyfile(front / file, packed / file)


def _config(model: TrainedModel) -> dict[str, Any]:
    """The default operating point, as pyfunc_model.py reads it."""
    best = model.best
    return {
        "model": model.kind,
        "budget": best.budget,
        "threshold": best.threshold,
        "rate": best.rate,
        "backend": "auto",
    }


def _requirements() -> list[str]:
    """What a version needs, pinned, without local suffixes such as +cpu."""
    return [f"{name}=={importlib.metadata.version(name).split('+')[0]}" for name in REQUIREMENTS]


def _write_points(model: TrainedModel, path: Path) -> None:
    rows = model.grid[model.grid["metric"] == model.metric]
    rows.to_csv(path, index=False, lineterminator="\n")


def _try_out(packed: Path, model: TrainedModel) -> None:
    """Load the packed version as a server would and let it answer its example.

    Raises:
        RegistrationError: if it fails or answers nonsense.
    """
    import mlflow.pyfunc

    example = input_example(model.description, 2)
    points: Sequence[dict[str, Any]] = ({}, {"budget": 1}) if model.kind == "skipw" else ({},)
    try:
        with own_import_path():
            served = mlflow.pyfunc.load_model(str(packed), suppress_warnings=True)
            answers = [served.predict(example, params=point) for point in points]
    except Exception as error:  # whatever a model's code may raise
        raise RegistrationError(f"{model.experiment} was packed but does not answer: {error}") from error
    for answer in answers:
        if len(answer) != len(example) or not np.isfinite(np.asarray(answer["scores"].tolist())).all():
            raise RegistrationError(f"{model.experiment} was packed but answers {answer.to_dict('records')}")


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


def front_digest(model: TrainedModel, front: Path) -> str:
    """Changes when anything that a version shows of the front changes."""
    digest = hashlib.sha256(repr((_config(model), model.front)).encode())
    digest.update(model.grid.to_csv(index=False).encode())
    for file in FRONT_FILES:
        if (front / file).exists():
            digest.update((front / file).read_bytes())
    return digest.hexdigest()[:16]


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
        card.flavors["python_function"]["config"] = _config(model)
        card.save(str(folder / "MLmodel"))
        _write_points(model, folder / POINTS_FILE)
        for file in (*FRONT_FILES, "MLmodel", POINTS_FILE):
            source = front / file if file in FRONT_FILES else folder / file
            if source.exists():
                client.log_model_artifact(model_id, str(source))


@contextmanager
def own_import_path() -> Iterator[None]:
    """Loading a version puts its code first in sys.path; take that back."""
    before = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = before
