"""From what the user names, a version, a run's model or a folder, to files on this machine."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skipw.errors import DataFormatError, DataUnavailableError
from skipw.tracking.alias_points import point_of_alias
from skipw.tracking.predictor import point_in
from skipw.tracking.serving.points import read_points

__all__ = ["Source", "check_point", "find_source"]

VERSION = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<number>\d+)|@(?P<alias>[^/@]+))")


@dataclass(frozen=True)
class Source:
    """A model on this machine.

    Attributes:
        uri: pinned: an alias is replaced by the version that it named.
        folder: with MLmodel (a version) or with model.json alone.
        name: what people call it.
        aliases: of the version, now.
        description: model.json.
        points: see :func:`skipw.tracking.serving.points.read_points`.
        point: ``budget`` and ``threshold`` of the alias that it was named by, as far as it has them: where it runs
            unless told otherwise. Empty otherwise.
    """

    uri: str
    folder: Path
    name: str
    aliases: tuple[str, ...] = ()
    description: Mapping[str, Any] = field(default_factory=dict, repr=False)
    points: tuple[Mapping[str, Any], ...] = ()
    point: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_version(self) -> bool:
        """Whether MLflow packed it; else it is a folder of the pipeline, outside of any registry."""
        return (self.folder / "MLmodel").is_file()


def find_source(uri: str) -> Source:
    """Look the model up and fetch it if it lies elsewhere.

    Raises:
        DataFormatError: a folder without a model.
        DataUnavailableError: MLflow doesn't know the address, or its model was not made by this package.
    """
    if ":/" not in uri:
        folder = Path(uri).expanduser().absolute()
        return _described(uri, folder, folder.name)
    return _fetched(uri)


def check_point(source: Source, budget: int | None, threshold: float | None) -> None:
    """Whether the model can run there, told before it is loaded.

    Args:
        source: of the model.
        budget: of requests that name none; None means the model's own.
        threshold: likewise.
    Raises:
        BudgetError: out of range, or not this model's.
    """
    from skipw.tracking.packing import own_config

    architecture = source.description.get("architecture")
    if not isinstance(architecture, dict):  # a damaged description is for whoever loads it
        return
    own = own_config(source.folder) if source.is_version else {}
    kind = str(own.get("model") or architecture.get("model"))
    given = {"budget": budget, "threshold": threshold}
    point_in(given, kind, architecture.get("window"), {**own, **source.point})


def _described(
    uri: str,
    folder: Path,
    name: str,
    aliases: tuple[str, ...] = (),
    point: Mapping[str, Any] | None = None,
) -> Source:
    is_version = (folder / "MLmodel").is_file()
    found = sorted(folder.glob("artifacts/**/model.json")) if is_version else [folder / "model.json"]
    if not found or not found[0].is_file():
        if ":/" in uri:
            raise DataUnavailableError(
                f"{uri} was not made by this package; use `mlflow models serve` for it."
            )
        raise DataFormatError(
            f"{folder} holds neither model.json nor MLmodel; give a folder such as data/models/har/har-skipw, or "
            "an address such as models:/skipw-har@knee."
        )
    description = json.loads(found[0].read_text(encoding="utf-8"))
    experiment, dataset = str(description.get("experiment", name)), str(description.get("dataset", ""))
    points = tuple(read_points(folder, experiment, dataset))
    return Source(uri, folder, name, aliases, description, points, point or {})


def _fetched(uri: str) -> Source:
    """A model that MLflow keeps."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    from skipw.tracking.pulled import journal_of

    store = journal_of(uri)
    name, aliases, place, point = uri, (), uri, {}
    try:
        with store.as_default():
            if match := VERSION.fullmatch(uri):
                model = match["name"]
                if alias := match["alias"]:
                    version = store.client.get_model_version_by_alias(model, alias)
                    point = point_of_alias(alias, store.client.get_registered_model(model).tags)
                else:
                    version = store.client.get_model_version(model, match["number"])
                uri, name = f"models:/{model}/{version.version}", f"{model} version {version.version}"
                aliases = tuple(sorted(version.aliases))
                place = store.client.get_model_version_download_uri(model, str(version.version))
            folder = Path(download_artifacts(artifact_uri=place))
    except (MlflowException, OSError) as error:
        raise DataUnavailableError(
            f"{uri}: not found in {store.uri} ({error}); `make ui` shows what is registered, "
            "MLFLOW_TRACKING_URI names another journal."
        ) from error
    return _described(uri, folder, name, aliases, point)
