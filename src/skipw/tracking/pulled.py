"""Versions out of the registry, into this process."""

from __future__ import annotations

from skipw.errors import DataUnavailableError
from skipw.tracking.packing import own_import_path
from skipw.tracking.predictor import Predictor
from skipw.tracking.store import connect

__all__ = ["predictor_of"]


def predictor_of(uri: str) -> Predictor:
    """The predictor inside a logged or registered model.

    Args:
        uri: models:/skipw-<dataset>@knee, models:/skipw-<dataset>/3, runs:/<id>/<name>, ...
    Raises:
        DataUnavailableError: MLflow doesn't know it, or it is no model of this package.
    """
    import mlflow.pyfunc
    from mlflow.exceptions import MlflowException

    store = connect()
    try:
        with store.as_default(), own_import_path():
            served = mlflow.pyfunc.load_model(uri, suppress_warnings=True)
        predictor = getattr(served.unwrap_python_model(), "predictor", None)
    except (MlflowException, OSError) as error:
        raise DataUnavailableError(
            f"{uri}: not found in {store.uri} ({error}); `make ui` shows what is registered, "
            "MLFLOW_TRACKING_URI names another journal."
        ) from error
    if not isinstance(predictor, Predictor):
        raise DataUnavailableError(
            f"{uri} was not made by this package; use mlflow.pyfunc.load_model for it."
        )
    return predictor
