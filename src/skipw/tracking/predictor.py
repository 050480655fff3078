"""Raw sequences in, predictions out, at any operating point; what a version serves. Needs no mlflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from skipw.errors import BudgetError, ParamsError, ShapeError
from skipw.operating_point import OperatingPoint

__all__ = ["OUTPUT_COLUMNS", "Predictor", "class_labels", "load_predictor", "point_in"]

OUTPUT_COLUMNS = ("prediction", "scores", "inputs_processed")
SAMPLED = ("random", "periodic")
BATCH_SIZE = 256
PADDED_INPUTS = 2**18  # of a batch; one long sequence must not pad 255 short ones to its length


class Predictor:
    """A trained model with its normaliser or vocabulary and its own operating point.

    Args:
        folder: of model.safetensors and model.json.
        default: ``model`` (skipw, thrrnn, ...; by default what model.json says), ``budget`` and ``threshold``
            of the own operating point (by default the largest budget and 0.5), ``rate`` (share of inputs that a
            sampling baseline takes; by default all) and ``backend``.

    Attributes:
        observe: if set, told of each prediction: lengths and shares of inputs processed of its sequences.
    """

    observe: Callable[[Sequence[int], Sequence[float]], None] | None = None

    def __init__(self, folder: Path, default: Mapping[str, Any] | None = None) -> None:
        from skipw.data.imdb import encode
        from skipw.data.normaliser import Normaliser
        from skipw.data.tokeniser import tokenise
        from skipw.models.saved import load_model

        self.model, description = load_model(folder)
        self.default = dict(default or {})
        self.kind = str(self.default.get("model") or self.model.architecture.model)
        self.labels = class_labels(description)
        self.normaliser: Normaliser | None = None
        self.is_text = bool(description.get("vocabulary"))
        if self.is_text:
            words = {token: index for index, token in enumerate(description["vocabulary"])}
            preprocessing = description.get("preprocessing") or {}
            length, crop = int(preprocessing["max_length"]), preprocessing.get("crop", "last")
            self.tokenise = tokenise
            self.encode = lambda tokens: encode(tokens, words, length, crop)
        else:
            self.normaliser = Normaliser.from_json(description["normaliser"])

    def predict(self, sequences: Sequence[Any], params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Predict each sequence.

        Args:
            sequences: each a list of rows of D raw numbers (for D = 1 also plain numbers), or a text.
            params: ``budget`` and ``threshold``; None or absent means those of the own point.
        Returns:
            ``prediction`` (class or number), ``scores`` (the head's outputs), ``inputs_processed``.
        Raises:
            BudgetError: budget or threshold out of range, or not this model's.
            ParamsError: another param.
            ShapeError: an empty sequence, a wrong width, a value that is no finite number or too large.
        """
        point = self.operating_point(params or {})
        inputs = [self._read(sequence, row) for row, sequence in enumerate(sequences)]
        scores: list[list[float]] = []
        shares: list[float] = []
        for batch in _batches(inputs):
            batch_scores, batch_shares = self._run(batch, point)
            scores += batch_scores
            shares += batch_shares
        _check_finite(scores)
        if self.observe is not None:
            self.observe([len(sequence) for sequence in inputs], shares)
        columns = ([self._answer(row) for row in scores], scores, np.asarray(shares, dtype=np.float64))
        return pd.DataFrame(dict(zip(OUTPUT_COLUMNS, columns, strict=True)))

    def operating_point(self, params: Mapping[str, Any]) -> OperatingPoint | None:
        """The point to run at; None for models without gates.

        Raises:
            BudgetError: a budget or threshold that is out of range or that this model doesn't have.
            ParamsError: another param.
        """
        return point_in(params, self.kind, self.model.architecture.window, self.default)

    def _read(self, sequence: Any, row: int) -> npt.NDArray[Any]:
        """One sequence as the model's input: Float32[T, D] or Int64[T]."""
        if self.normaliser is not None:
            numbers = _numbers(sequence, row, self.normaliser.input_size)
            with np.errstate(over="ignore"):
                values = self.normaliser(numbers)
            if not np.isfinite(values).all():
                raise ShapeError(f"row {row}: holds a number too large for this model; check its unit.")
            return values
        if not isinstance(sequence, str):
            raise ShapeError(f"row {row}: expected a text, got {type(sequence).__name__}.")
        tokens = self.tokenise(sequence)
        if not tokens:
            raise ShapeError(f"row {row}: the text holds no word; give at least one.")
        return np.asarray(self.encode(tokens), dtype=np.int64)

    def _run(
        self, inputs: Sequence[npt.NDArray[Any]], point: OperatingPoint | None
    ) -> tuple[list[list[float]], list[float]]:
        """Scores and shares of inputs processed of one padded batch."""
        import torch

        lengths = torch.tensor([len(sequence) for sequence in inputs])
        steps = int(lengths.max())
        batch = np.zeros((len(inputs), steps, *inputs[0].shape[1:]), dtype=inputs[0].dtype)
        for row, sequence in enumerate(inputs):
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
        processed = result.rnn.updates.sum(dim=1).double() / lengths  # in float64: 2 of 5 is 0.4
        return result.scores.double().tolist(), processed.tolist()

    def _forced(self, lengths: Any, steps: int, generator: Any) -> Any:
        """The mask of a sampling baseline, None for the others."""
        from skipw.models.baselines import periodic_updates, random_updates

        rate = self.default.get("rate")
        if self.kind not in SAMPLED or rate is None:
            return None
        if self.kind == "periodic":
            return periodic_updates(lengths, steps, float(rate))
        return random_updates(lengths, steps, float(rate), generator)

    def _answer(self, scores: Sequence[float]) -> Any:
        return scores[0] if self.labels is None else self.labels[int(np.argmax(scores))]


def point_in(
    params: Mapping[str, Any], kind: str, window: int | None, default: Mapping[str, Any]
) -> OperatingPoint | None:
    """The point to run at; None for models without gates.

    Args:
        params: ``budget`` and ``threshold``; None or absent means the default's.
        kind: of the model, skipw, thrrnn, ...
        window: L of a skipw model.
        default: as Predictor takes it.
    Raises:
        BudgetError: a budget or threshold that is out of range or that this model doesn't have.
        ParamsError: another param.
    """
    if unknown := sorted(set(params) - {"budget", "threshold"}):
        raise ParamsError(f"params are budget and threshold, got {', '.join(unknown)}.")
    budget, threshold = params.get("budget"), params.get("threshold")
    if kind == "dense" or kind in SAMPLED:
        if budget is not None or threshold is not None:
            rate = default.get("rate")
            share = "every input" if rate is None else f"a share of {rate:g} of the inputs"
            raise BudgetError(f"this {kind} model processes {share}; leave budget and threshold out.")
        return None
    if kind != "skipw" and budget is not None:
        raise BudgetError(f"a {kind} model has no budget, got {budget!r}; leave budget out.")
    if kind == "skiprnn" and threshold not in (None, 0.5):
        raise BudgetError(f"a skiprnn model has the fixed threshold 0.5, got {threshold!r}; leave it out.")
    budget = default.get("budget") if budget is None else budget
    threshold = default.get("threshold") if threshold is None else threshold
    point = OperatingPoint(budget, 0.5 if threshold is None else threshold)
    if kind == "skipw":
        point.budget_in(window or 0)
    return point


def load_predictor(model: str) -> Predictor:
    """From a folder (data/models/<dataset>/<experiment>) or an MLflow address (models:/..., runs:/...).

    Raises:
        DataFormatError: the folder holds no model.
        DataUnavailableError: MLflow doesn't know the address.
    """
    if ":/" not in model:
        return Predictor(Path(model))
    from skipw.tracking.pulled import predictor_of

    return predictor_of(model)


def _batches(inputs: Sequence[npt.NDArray[Any]]) -> Iterator[Sequence[npt.NDArray[Any]]]:
    """In their order; at most BATCH_SIZE sequences and, padded, PADDED_INPUTS inputs (or a single sequence)."""
    start = longest = 0
    for end, sequence in enumerate(inputs):
        longest = max(longest, len(sequence))
        rows = end + 1 - start
        if rows > BATCH_SIZE or (rows > 1 and rows * longest > PADDED_INPUTS):
            yield inputs[start:end]
            start, longest = end, len(sequence)
    if start < len(inputs):
        yield inputs[start:]


def _check_finite(scores: Sequence[Sequence[float]]) -> None:
    """Finite inputs may still overflow inside the network; NaN is no answer (and no JSON)."""
    finite = np.isfinite(np.asarray(scores, dtype=np.float64)).all(axis=-1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise ShapeError(f"row {row}: its numbers are too large for this model; check their unit.")


def _numbers(sequence: Any, row: int, width: int) -> npt.NDArray[np.float64]:
    """Float64[T, D] from a list of rows, or of numbers if D = 1.

    Raises:
        ShapeError: it is empty, ragged, of another width, or holds something that is no finite number.
    """
    wanted = "a list of numbers" if width == 1 else f"a list of rows of {width} numbers"
    if isinstance(sequence, str) or not hasattr(sequence, "__len__"):
        raise ShapeError(f"row {row}: a sequence is {wanted}, got {type(sequence).__name__}.")
    if not len(sequence):
        raise ShapeError(f"row {row}: the sequence is empty; give at least one input.")
    try:
        values = _converted(sequence)
    except OverflowError as error:
        raise ShapeError(f"row {row}: holds a number beyond float64's range.") from error
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


def _converted(sequence: Any) -> npt.NDArray[np.float64]:
    """Float64 of a list of rows or numbers; None becomes NaN.

    Raises:
        OverflowError: a whole number beyond float64's range.
        TypeError, ValueError: it is ragged, or holds texts or booleans, which numpy would read as numbers.
    """
    if isinstance(sequence, list) and set(map(type, sequence)) == {list}:
        kinds = set(map(type, chain.from_iterable(sequence)))
    else:
        kinds = set(map(type, sequence))
    if kinds <= {int, float}:  # what JSON holds, at once
        return np.array(sequence, dtype=np.float64)
    if kinds & {bool, str, np.bool_, np.str_}:
        raise ValueError("got a text or a boolean")
    return np.asarray([_row(inputs) for inputs in sequence])


def _row(inputs: Any) -> npt.NDArray[np.float64]:
    row = np.asarray(inputs)
    if row.dtype.kind in "bUS":
        raise ValueError("got a text or a boolean")
    return row.astype(np.float64)


def class_labels(description: Mapping[str, Any]) -> list[Any] | None:
    """What ``prediction`` says for each class: its name, or a number if all are; None in regression."""
    if description.get("task") != "classification":
        return None
    names = [str(name) for name in description.get("classes") or []]
    if not names:
        return list(range(int(description["architecture"]["num_outputs"])))
    return [int(name) for name in names] if all(name.isdecimal() for name in names) else list(names)
