"""A model that answers: MLflow's scoring app on it, what checks its requests, and what is said of it."""

from __future__ import annotations

import gc
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skipw.errors import DataUnavailableError, SkipWError
from skipw.tracking.serving.card import Card, describe
from skipw.tracking.serving.metrics import usage_of_request
from skipw.tracking.serving.reading import Reader
from skipw.tracking.serving.settings import ServeSettings
from skipw.tracking.serving.source import Source

__all__ = ["Deployed", "NotAnsweringError", "deploy"]


class NotAnsweringError(SkipWError, RuntimeError):
    """A model was loaded and does not answer its own input example."""


@dataclass(frozen=True)
class Deployed:
    """What a worker serves.

    Attributes:
        app: MLflow's scoring app.
        reader: checks what is handed to it.
        card: what a person is told about the model.
    """

    app: Any
    reader: Reader
    card: Card


def deploy(source: Source, settings: ServeSettings) -> Deployed:
    """Load the model and let it answer its own input example, through MLflow's own parser.

    Raises:
        BudgetError: the default budget or threshold is not one of this model's.
        DataUnavailableError: the version was not made by this package.
        NotAnsweringError: it fails on its example.
    """
    import torch
    from mlflow.pyfunc import scoring_server

    torch.set_num_threads(1)  # one request at a time; several threads are slower on busy cores
    model, predictor = _load(source, settings)
    predictor.operating_point({})
    predictor.observe = _observe
    card = describe(source, predictor, settings)
    _try_out(model, card)
    width = 1 if predictor.normaliser is None else predictor.normaliser.input_size
    reader = Reader(
        predictor.is_text, predictor.operating_point, settings.max_sequences, settings.max_inputs, width
    )
    deployed = Deployed(scoring_server.init(model), reader, card)
    gc.collect()
    gc.freeze()  # what is here stays; looking through it at every collection would delay answers
    return deployed


def _load(source: Source, settings: ServeSettings) -> tuple[Any, Any]:
    """MLflow's model and the predictor inside it."""
    import mlflow.pyfunc

    from skipw.tracking.packing import own_import_path
    from skipw.tracking.predictor import Predictor

    given = {"budget": settings.budget, "threshold": settings.threshold}
    point = {**source.point, **{name: value for name, value in given.items() if value is not None}}
    if not source.is_version:
        predictor = Predictor(source.folder, point)
        return _as_version(predictor, source.description), predictor
    with own_import_path():
        model = mlflow.pyfunc.load_model(str(source.folder), suppress_warnings=True, model_config=point)
    found = getattr(model.unwrap_python_model(), "predictor", None)
    if not isinstance(found, Predictor):
        raise DataUnavailableError(
            f"{source.uri} was not made by this package; use `mlflow models serve` for it."
        )
    return model, found


def _as_version(predictor: Any, description: Mapping[str, Any]) -> Any:
    """A folder's predictor behind the signature that its version would have."""
    from mlflow.models import Model, ModelSignature
    from mlflow.pyfunc import PyFuncModel

    from skipw.tracking.pyfunc_model import SkipWPythonModel, params_schema, schemas

    python_model = SkipWPythonModel()
    python_model.predictor = predictor

    class Folder:
        """What PyFuncModel calls."""

        def predict(self, data: Any, params: dict[str, Any] | None = None) -> Any:
            return python_model.predict(None, data, params)

    signature = ModelSignature(*schemas(description), params_schema())
    flavors = {"python_function": {"loader_module": "mlflow.pyfunc.model"}}
    return PyFuncModel(Model(signature=signature, flavors=flavors), Folder())


def _try_out(model: Any, card: Card) -> None:
    from mlflow.pyfunc import scoring_server

    try:
        schema = model.metadata.get_input_schema()
        answer = scoring_server.invocations(json.dumps(card.example), "application/json", model, schema)
        rows = json.loads(answer.response)["predictions"] if answer.status == 200 else []
    except Exception as error:  # whatever a model's code may raise
        raise NotAnsweringError(f"the model does not answer its own input example: {error}") from error
    if [sorted(row) for row in rows] != [["inputs_processed", "prediction", "scores"]]:
        raise NotAnsweringError(f"the model answers its own input example with {answer.response[:200]}")


def _observe(lengths: Sequence[int], shares: Sequence[float]) -> None:
    """Add what a prediction cost to the request that asked for it."""
    usage = usage_of_request.get(None)
    if usage is not None:
        usage.sequences += len(lengths)
        usage.inputs += sum(lengths)
        usage.processed += sum(round(share * length) for share, length in zip(shares, lengths, strict=True))
