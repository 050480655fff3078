"""A registered version as MLflow serves it: raw sequences in, predictions out, at any operating point.

MLflow copies this file into each version and runs it there (models from code), so nothing is pickled. The
weights, the normaliser and the vocabulary lie beside it; the package is in the version's ``code/``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType, Array

from skipw.errors import BudgetError, ShapeError
from skipw.operating_point import OperatingPoint

__all__ = [
    "InvalidPointError",
    "InvalidSequenceError",
    "SkipWPythonModel",
    "class_labels",
    "params_schema",
    "schemas",
]

MODEL_ARTIFACT = "model"
INPUT_COLUMN = "sequence"
OUTPUT_COLUMNS = ("prediction", "scores", "inputs_processed")
SAMPLED = ("random", "periodic")
BATCH_SIZE = 256


class InvalidSequenceError(MlflowException, ShapeError):
    """A sequence can't be read; a server answers 400 with the reason."""


class InvalidPointError(MlflowException, BudgetError):
    """The operating point is invalid for this model; a server answers 400 with the reason."""


class SkipWPythonModel(PythonModel):
    """A trained model with its default operating point.

    ``model_config`` holds the default point: ``model`` (skipw, thrrnn, ...), ``budget``, ``threshold``,
    ``rate`` (share of inputs that a sampling baseline takes), ``backend``. It can be overridden at loading.
    """

    def load_context(self, context: Any) -> None:
        """Load the weights and what belongs to them."""
        from skipw.data.imdb import encode, tokenise
        from skipw.data.normaliser import Normaliser
        from skipw.models.saved import load_model

        config = dict(context.model_config or {})
        model, description = load_model(Path(context.artifacts[MODEL_ARTIFACT]))
        self.model = model
        self.kind: str = config.get("model") or model.architecture.model
        self.default = config
        self.labels = class_labels(description)
        self.words: dict[str, int] | None = None
        self.normaliser: Normaliser | None = None
        if vocabulary := description.get("vocabulary"):
            self.words = {token: index for index, token in enumerate(vocabulary)}
            preprocessing = description.get("preprocessing") or {}
            length, crop = int(preprocessing["max_length"]), preprocessing.get("crop", "last")
            words = self.words
            self.tokenise = tokenise
            self.encode = lambda tokens: encode(tokens, words, length, crop)
        else:
            self.normaliser = Normaliser.from_json(description["normaliser"])

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Predict each sequence of the column ``sequence``.

        Args:
            context: unused; MLflow passes it.
            model_input: one row a sequence: rows of D raw numbers (for D = 1 also plain numbers), or a text.
            params: ``budget`` and ``threshold``; None or absent means the default point's.
        Returns:
            ``prediction`` (class or number), ``scores`` (the head's outputs), ``inputs_processed``.
        Raises:
            InvalidPointError: budget or threshold out of range, or not this model's.
            InvalidSequenceError: an empty sequence, a wrong width, a value that is no finite number.
        """
        from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

        try:
            point = self.operating_point(params or {})
            sequences = [self._read(cell, row) for row, cell in enumerate(_cells(model_input))]
        except BudgetError as error:
            raise InvalidPointError(str(error), INVALID_PARAMETER_VALUE) from error
        except ShapeError as error:
            raise InvalidSequenceError(str(error), INVALID_PARAMETER_VALUE) from error
        scores: list[list[float]] = []
        shares: list[float] = []
        for start in range(0, len(sequences), BATCH_SIZE):
            batch_scores, batch_shares = self._run(sequences[start : start + BATCH_SIZE], point)
            scores += batch_scores
            shares += batch_shares
        return pd.DataFrame(
            {
                "prediction": [self._answer(row) for row in scores],
                "scores": scores,
                "inputs_processed": np.asarray(shares, dtype=np.float64),
            },
            index=model_input.index if isinstance(model_input, pd.DataFrame) else None,
        )

    def operating_point(self, params: Mapping[str, Any]) -> OperatingPoint | None:
        """The point to run at; None for models without gates.

        Raises:
            BudgetError: a budget or threshold that is out of range or that this model doesn't have.
        """
        budget, threshold = params.get("budget"), params.get("threshold")
        if self.kind == "dense" or self.kind in SAMPLED:
            if budget is not None or threshold is not None:
                takes = (
                    "every input"
                    if self.kind == "dense"
                    else f"a share of {self.default.get('rate')} of the inputs"
                )
                raise BudgetError(
                    f"a {self.kind} model always processes {takes}; leave budget and threshold out."
                )
            return None
        if self.kind != "skipw" and budget is not None:
            raise BudgetError(f"a {self.kind} model has no budget, got {budget!r}; leave budget out.")
        if self.kind == "skiprnn" and threshold not in (None, 0.5):
            raise BudgetError(
                f"a skiprnn model has the fixed threshold 0.5, got {threshold!r}; leave threshold out."
            )
        budget = self.default.get("budget") if budget is None else budget
        threshold = self.default.get("threshold") if threshold is None else threshold
        point = OperatingPoint(budget, 0.5 if threshold is None else threshold)
        if self.kind == "skipw":
            point.budget_in(self.model.architecture.window or 0)
        return point

    def _read(self, cell: Any, row: int) -> npt.NDArray[Any]:
        """One cell as the model's input: Float32[T, D] or Int64[T]."""
        if self.words is not None:
            if not isinstance(cell, str):
                raise ShapeError(f"row {row}: expected a text, got {type(cell).__name__}.")
            tokens = self.tokenise(cell)
            if not tokens:
                raise ShapeError(f"row {row}: the text holds no word; give at least one.")
            return np.asarray(self.encode(tokens), dtype=np.int64)
        assert self.normaliser is not None
        values = _numbers(cell, row, self.normaliser.input_size)
        return self.normaliser(values)

    def _run(
        self, sequences: Sequence[npt.NDArray[Any]], point: OperatingPoint | None
    ) -> tuple[list[list[float]], list[float]]:
        """Scores and shares of inputs processed of one padded batch."""
        import torch

        lengths = torch.tensor([len(sequence) for sequence in sequences])
        steps = int(lengths.max())
        batch = np.zeros((len(sequences), steps, *sequences[0].shape[1:]), dtype=sequences[0].dtype)
        for row, sequence in enumerate(sequences):
            batch[row, : len(sequence)] = sequence
        generator = torch.Generator().manual_seed(0)  # the same request gets the same answer
        with torch.inference_mode():
            result = self.model(
                torch.from_numpy(batch),
                at=point,
                lengths=lengths,
                updates=self._forced(lengths, steps, generator),
                backend=str(self.default.get("backend") or "auto"),
                generator=generator,
            )
        return result.scores.double().tolist(), result.rnn.inputs_processed.double().tolist()

    def _forced(self, lengths: Any, steps: int, generator: Any) -> Any:
        """The mask of a sampling baseline, None for the others."""
        from skipw.models.baselines import periodic_updates, random_updates

        if self.kind not in SAMPLED:
            return None
        rate = float(self.default["rate"])
        if self.kind == "periodic":
            return periodic_updates(lengths, steps, rate)
        return random_updates(lengths, steps, rate, generator)

    def _answer(self, scores: Sequence[float]) -> Any:
        return scores[0] if self.labels is None else self.labels[int(np.argmax(scores))]


def _cells(model_input: Any) -> list[Any]:
    if not isinstance(model_input, pd.DataFrame) or INPUT_COLUMN not in model_input.columns:
        raise ShapeError(f"expected a table with the column {INPUT_COLUMN!r}, one row a sequence.")
    return model_input[INPUT_COLUMN].tolist()


def _numbers(cell: Any, row: int, width: int) -> npt.NDArray[np.float64]:
    """Float64[T, D] from one cell.

    Raises:
        ShapeError: it is empty, ragged, of another width, or holds something that is no finite number.
    """
    wanted = "a list of numbers" if width == 1 else f"a list of rows of {width} numbers"
    if isinstance(cell, str) or not hasattr(cell, "__len__"):
        raise ShapeError(f"row {row}: a sequence is {wanted}, got {type(cell).__name__}.")
    if not len(cell):
        raise ShapeError(f"row {row}: the sequence is empty; give at least one input.")
    try:
        values = np.asarray([np.asarray(inputs, dtype=np.float64) for inputs in cell])
    except (TypeError, ValueError) as error:
        raise ShapeError(
            f"row {row}: a sequence is {wanted}, all of the same width; some are not ({error})."
        ) from error
    if values.ndim == 1 and width == 1:
        values = values[:, np.newaxis]
    if values.ndim != 2 or values.shape[1] != width:
        got = values.shape[1] if values.ndim == 2 else f"shape {values.shape}"
        raise ShapeError(f"row {row}: a sequence is {wanted}, got {got} instead of {width}.")
    if not np.isfinite(values).all():
        step = int(np.argmax(~np.isfinite(values).all(axis=1)))
        raise ShapeError(f"row {row}: input {step} holds a value that is missing, NaN or infinite.")
    return values


def class_labels(description: Mapping[str, Any]) -> list[Any] | None:
    """What ``prediction`` says for each class: its name, or a number if all are; None in regression."""
    if description.get("task") != "classification":
        return None
    names = [str(name) for name in description.get("classes") or []]
    if not names:
        return list(range(int(description["architecture"]["num_outputs"])))
    return [int(name) for name in names] if all(name.isdecimal() for name in names) else list(names)


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
