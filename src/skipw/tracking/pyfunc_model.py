"""A registered version as MLflow serves it: raw sequences in, predictions out, at any operating point.

MLflow copies this file into each version and runs it there (models from code), so nothing is pickled. The
weights, the normaliser and the vocabulary lie beside it; the package is in the version's ``code/``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType, Array

from skipw.errors import BudgetError, ShapeError
from skipw.tracking.predictor import OUTPUT_COLUMNS, Predictor, class_labels

__all__ = ["InvalidPointError", "InvalidSequenceError", "SkipWPythonModel", "params_schema", "schemas"]

MODEL_ARTIFACT = "model"
INPUT_COLUMN = "sequence"


class InvalidSequenceError(MlflowException, ShapeError):
    """A sequence can't be read; a server answers 400 with the reason."""


class InvalidPointError(MlflowException, BudgetError):
    """The operating point is invalid for this model; a server answers 400 with the reason."""


class SkipWPythonModel(PythonModel):
    """A :class:`skipw.tracking.predictor.Predictor` for MLflow.

    ``model_config`` holds the predictor's own operating point; it can be overridden when a version is loaded.
    """

    def load_context(self, context: Any) -> None:
        """Load the weights and what belongs to them."""
        self.predictor = Predictor(Path(context.artifacts[MODEL_ARTIFACT]), context.model_config)

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Predict each sequence of the column ``sequence``.

        Args:
            context: unused; MLflow passes it.
            model_input: one row a sequence: rows of D raw numbers (for D = 1 also plain numbers), or a text.
            params: ``budget`` and ``threshold``; None or absent means those of the own point.
        Returns:
            ``prediction`` (class or number), ``scores`` (the head's outputs), ``inputs_processed``.
        Raises:
            InvalidPointError: budget or threshold out of range, or not this model's.
            InvalidSequenceError: an empty sequence, a wrong width, a value that is no finite number.
        """
        from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

        try:
            answers = self.predictor.predict(_cells(model_input), params)
        except BudgetError as error:
            raise InvalidPointError(str(error), INVALID_PARAMETER_VALUE) from error
        except ShapeError as error:
            raise InvalidSequenceError(str(error), INVALID_PARAMETER_VALUE) from error
        return answers.set_index(model_input.index)


def _cells(model_input: Any) -> list[Any]:
    if not isinstance(model_input, pd.DataFrame) or INPUT_COLUMN not in model_input.columns:
        raise ShapeError(f"expected a table with the column {INPUT_COLUMN!r}, one row a sequence.")
    return model_input[INPUT_COLUMN].tolist()


def params_schema() -> ParamSchema:
    """``budget`` and ``threshold``, both None by default: the version's own operating point."""
    return ParamSchema(
        [ParamSpec("budget", DataType.long, None), ParamSpec("threshold", DataType.double, None)]
    )


def schemas(description: Mapping[str, Any]) -> tuple[Schema, Schema]:
    """Input and output columns.

    Numeric sequences are declared "any": a nested array type would refuse ragged batches in some of the
    server's formats and costs 27 ms for 784 rows; ``predict`` checks them itself, with clearer messages.
    """
    content = DataType.string if description.get("vocabulary") else AnyType()
    labels = class_labels(description)
    if labels is None:
        answer = DataType.double
    else:
        answer = DataType.long if isinstance(labels[0], int) else DataType.string
    outputs = [
        ColSpec(answer, OUTPUT_COLUMNS[0]),
        ColSpec(Array(DataType.double), OUTPUT_COLUMNS[1]),
        ColSpec(DataType.double, OUTPUT_COLUMNS[2]),
    ]
    return Schema([ColSpec(content, INPUT_COLUMN)]), Schema(outputs)


set_model(SkipWPythonModel())
