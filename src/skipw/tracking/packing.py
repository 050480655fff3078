"""A version's folder as MLflow keeps it, written and tried out before anything is registered."""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from skipw.errors import SkipWError
from skipw.models.saved import copy_model
from skipw.tracking.examples import input_example
from skipw.tracking.front_models import TrainedModel
from skipw.tracking.store import quiet

__all__ = [
    "FRONT_FILES",
    "POINTS_FILE",
    "RegistrationError",
    "front_digest",
    "own_config",
    "own_import_path",
    "own_point",
    "pack",
    "try_out",
    "write_points",
]

PACKAGE = Path(__file__).resolve().parents[1]
PYFUNC_FILE = Path(__file__).with_name("pyfunc_model.py")
NOT_SHIPPED = ("__pycache__", "*.pyc", "*.so", ".*")
REQUIREMENTS = ("mlflow", "torch", "numpy", "pandas", "safetensors")
POINTS_FILE = "operating_points.csv"
FRONT_FILES = ("front.html", "front.png")


class RegistrationError(SkipWError, RuntimeError):
    """A model could not be registered; nothing of it stays behind."""


def pack(model: TrainedModel, packed: Path, front: Path, run_id: str, examples: int) -> None:
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
        copy_model(model.folder, weights)
        mlflow.pyfunc.save_model(
            packed,
            python_model=str(PYFUNC_FILE),
            artifacts={"model": str(weights)},
            code_paths=[str(code)],
            signature=ModelSignature(inputs, outputs, params_schema()),
            input_example=example,
            pip_requirements=_requirements(),
            model_config=own_point(model),
            mlflow_model=Model(run_id=run_id),
        )
    write_points(model, packed / POINTS_FILE)
    for file in FRONT_FILES:
        if (front / file).exists():
            shutil.copyfile(front / file, packed / file)


def own_point(model: TrainedModel) -> dict[str, Any]:
    """The default operating point, as pyfunc_model.py reads it."""
    best = model.best
    return {
        "model": model.kind,
        "budget": best.budget,
        "threshold": best.threshold,
        "rate": best.rate,
        "backend": "auto",
    }


def own_config(folder: Path) -> dict[str, Any]:
    """What ``own_point`` said of the version that lies in or below ``folder``; empty if there is none."""
    from mlflow.models import Model

    cards = sorted(folder.rglob("MLmodel"))
    flavors = Model.load(str(cards[0])).flavors if cards else {}
    return dict(flavors.get("python_function", {}).get("config") or {})


def _requirements() -> list[str]:
    """What a version needs, pinned, without local suffixes such as +cpu."""
    return [f"{name}=={importlib.metadata.version(name).split('+')[0]}" for name in REQUIREMENTS]


def write_points(model: TrainedModel, path: Path) -> None:
    rows = model.grid[model.grid["metric"] == model.metric]
    rows.to_csv(path, index=False, lineterminator="\n")


def try_out(packed: Path, model: TrainedModel) -> None:
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


def front_digest(model: TrainedModel, front: Path) -> str:
    """Changes when anything that a version shows of the front changes."""
    digest = hashlib.sha256(repr((own_point(model), model.front)).encode())
    digest.update(model.grid.to_csv(index=False).encode())
    for file in FRONT_FILES:
        if (front / file).exists():
            digest.update((front / file).read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def own_import_path() -> Iterator[None]:
    """Loading a version puts its code first in sys.path and caches beside it; take that back, leave nothing."""
    before, writes = list(sys.path), sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.path[:], sys.dont_write_bytecode = before, writes
