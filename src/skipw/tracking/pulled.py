"""Versions out of the registry, into this process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from skipw.errors import DataUnavailableError
from skipw.tracking.alias_points import point_of_alias
from skipw.tracking.packing import own_import_path
from skipw.tracking.predictor import Predictor
from skipw.tracking.store import Store, connect, exists

__all__ = ["explained", "journal_of", "predictor_of"]

ALIAS = re.compile(r"models:/(?P<name>[^/@]+)@(?P<alias>[^/@]+)")


def predictor_of(uri: str) -> Predictor:
    """The predictor inside a logged or registered model; named by an alias, its own point is the alias's.

    Args:
        uri: models:/skipw-<dataset>@knee, models:/skipw-<dataset>/3, runs:/<id>/<name>, ...
    Raises:
        DataUnavailableError: MLflow doesn't know it, or it is no model of this package.
    """
    import mlflow.pyfunc

    store = journal_of(uri)
    with explained(store, uri), store.as_default(), own_import_path():
        served = mlflow.pyfunc.load_model(uri, suppress_warnings=True)
        predictor = getattr(served.unwrap_python_model(), "predictor", None)
        named = ALIAS.fullmatch(uri)
        tags = store.client.get_registered_model(named["name"]).tags if named else {}
    if not isinstance(predictor, Predictor):
        raise DataUnavailableError(
            f"{uri} was not made by this package; use mlflow.pyfunc.load_model for it."
        )
    if named:
        predictor.default |= point_of_alias(named["alias"], tags)
    return predictor


def journal_of(uri: str) -> Store:
    """The journal that ``uri`` is looked up in; none is made.

    Raises:
        DataUnavailableError: if there is none.
    """
    if not exists():
        raise DataUnavailableError(
            f"{uri}: nothing is registered here yet; `make repro` does that, MLFLOW_TRACKING_URI names another "
            "journal, and the folder of a model will do too."
        )
    return connect()


@contextmanager
def explained(store: Store, uri: str) -> Iterator[None]:
    """MLflow's errors about an address as a message with a remedy.

    Raises:
        DataUnavailableError: in their place.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        place = re.sub(r"//[^/@]*@", "//", store.uri)  # without a password
        raise DataUnavailableError(
            f"{uri}: not found in {place} ({error}); `make ui` shows what is registered, "
            "MLFLOW_TRACKING_URI names another journal."
        ) from error
