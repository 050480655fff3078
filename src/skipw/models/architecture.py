"""What a task model is made of, as plain values that travel in model.json. Needs no torch."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from skipw.errors import ParamsError
from skipw.gate_budgets import problem as gate_budgets_problem
from skipw.gate_inputs import GATE_INPUTS, columns, problem

if TYPE_CHECKING:
    from skipw.models.task import SequenceModel

__all__ = ["BOUNDS", "CELLS", "GATES", "MODELS", "TASKS", "Architecture"]

MODELS = ("skipw", "thrrnn", "skiprnn", "dense", "random", "periodic")
GATES = {"gru": 3, "lstm": 4, "fastgrnn": 1}  # blocks of N rows in each of a cell's matrices
CELLS = tuple(GATES)
TASKS = ("classification", "regression")
TIME_FEATURES = ("steps", "window", "since_update", "none")
BOUNDS = ("aligned", "any")
SELECTORS = ("topk", "sample", "random", "first", "last", "first_above")
INITIAL_STATES = ("trainable", "zeros")


@dataclass(frozen=True)
class Architecture:
    """The shape of a :class:`skipw.models.task.SequenceModel`.

    Args:
        model: "skipw", "thrrnn", "skiprnn", "dense"; "random" and "periodic" are dense models that are
            driven by forced updates.
        input_size: D, values per input; the embedding's size where there is a vocabulary.
        num_outputs: classes, or 1 for regression.
        task: "classification" or "regression".
        cell: "gru", "lstm" or "fastgrnn".
        hidden_size: N, per layer.
        num_layers: layers of cells under one gate.
        window: L for skipw, ``None`` for the others.
        time_feature, time_scale, select, initial_state, gate_state_gradient, bound: as in ``skipw.SkipW``.
        gate_inputs, gate_budgets: as in ``skipw.SkipW``, empty for the other models.
        gate_windows: as in ``skipw.SkipW``, 0 for the other models.
        largest_budget: as in ``skipw.SkipW``, None for the other models.
        gate_bias: start of the gate's bias; several values are repeated over the window's slots.
        head_hidden: width of a Linear + ReLU before the last Linear, 0 for none.
        dropout: share of the readout dropped while training, in [0, 1).
        input_dropout: share of the input's values dropped while training, in [0, 1).
        vocabulary_size: V for token ids, 0 for numbers.
        embedding_size: E, equals ``input_size`` where there is a vocabulary, else 0.

    Raises:
        ParamsError: if a value is of the wrong type or outside its range.
    """

    model: str
    input_size: int
    num_outputs: int
    task: str
    cell: str = "gru"
    hidden_size: int = 64
    num_layers: int = 1
    window: int | None = None
    time_feature: str = "steps"
    time_scale: float = 100.0
    select: str = "topk"
    initial_state: str = "trainable"
    gate_state_gradient: float = 1.0
    gate_bias: float | tuple[float, ...] = 1.0
    head_hidden: int = 0
    dropout: float = 0.0
    input_dropout: float = 0.0
    vocabulary_size: int = 0
    embedding_size: int = 0
    bound: str = "aligned"
    gate_inputs: tuple[str, ...] = ()
    gate_budgets: tuple[int, ...] = ()
    largest_budget: int | None = None
    gate_windows: int = 0

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            _require(
                getattr(self, name) in allowed, name, f"one of {', '.join(allowed)}", getattr(self, name)
            )
        for name, least in _WHOLE_NUMBERS.items():
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            _require(whole and value >= least, name, f"a whole number of at least {least}", value)
        for name in ("time_scale", "gate_state_gradient", "dropout", "input_dropout"):
            _require(_is_number(getattr(self, name)), name, "a finite number", getattr(self, name))
            object.__setattr__(self, name, float(getattr(self, name)))
        _require(self.time_scale > 0, "time_scale", "a number above 0", self.time_scale)
        _require(self.gate_state_gradient >= 0, "gate_state_gradient", "at least 0", self.gate_state_gradient)
        for name in ("dropout", "input_dropout"):
            _require(0 <= getattr(self, name) < 1, name, "a number in [0, 1)", getattr(self, name))
        self._check_gate()
        self._check_task()

    def _check_gate(self) -> None:
        bias = self.gate_bias
        values = tuple(bias) if isinstance(bias, list | tuple) else (bias,)
        _require(
            bool(values) and all(map(_is_number, values)), "gate_bias", "a number or a list of numbers", bias
        )
        values = tuple(float(value) for value in values)
        object.__setattr__(self, "gate_bias", values if len(values) > 1 else values[0])
        if self.model == "skipw":
            window = self.window
            whole = isinstance(window, int) and not isinstance(window, bool)
            _require(whole and (window or 0) >= 1, "window", "a whole number of at least 1 for skipw", window)
        else:
            _require(
                self.window is None, "window", f"null for {self.model} (only skipw has one)", self.window
            )

        inputs = tuple(self.gate_inputs) if isinstance(self.gate_inputs, list) else self.gate_inputs
        wrong = problem(inputs, self.time_feature)
        _require(wrong is None, "gate_inputs", str(wrong), self.gate_inputs)
        kept = inputs if self.model == "skipw" else ()
        object.__setattr__(self, "gate_inputs", tuple(name for name in GATE_INPUTS if name in kept))
        wrong = gate_budgets_problem(self.gate_budgets, self.window) if self.window is not None else None
        _require(wrong is None, "gate_budgets", str(wrong), self.gate_budgets)
        object.__setattr__(self, "gate_budgets", tuple(self.gate_budgets) if self.model == "skipw" else ())
        object.__setattr__(self, "gate_windows", self.gate_windows if self.model == "skipw" else 0)
        most = self.largest_budget
        whole = isinstance(most, int) and not isinstance(most, bool)
        fits = most is None or (whole and 1 <= most <= (self.window or 0))
        _require(
            fits, "largest_budget", f"null or 1 to the window of {self.window} (only skipw has one)", most
        )

    def _check_task(self) -> None:
        if self.task == "regression":
            _require(self.num_outputs == 1, "num_outputs", "1 for regression", self.num_outputs)
        else:
            _require(self.num_outputs >= 2, "num_outputs", "at least 2 for classification", self.num_outputs)
        if self.vocabulary_size:
            same = self.embedding_size == self.input_size
            _require(same, "embedding_size", f"input_size = {self.input_size}", self.embedding_size)
        else:
            _require(
                self.embedding_size == 0, "embedding_size", "0 without a vocabulary", self.embedding_size
            )

    def gate_columns(self) -> dict[str, int]:
        """What the gate sees beside state and time, by name, and how many columns of its weight each takes."""
        return columns(self.gate_inputs, self.window or 1, self.input_size, self.gate_windows)

    def gate_bias_per_slot(self) -> tuple[float, ...]:
        """The gate's first bias: one value a slot of the window (one value for models without a window)."""
        values = self.gate_bias if isinstance(self.gate_bias, tuple) else (self.gate_bias,)
        return tuple(values[slot % len(values)] for slot in range(self.window or 1))

    def build(self) -> SequenceModel:
        """A new model with random weights (torch's global generator)."""
        from skipw.models.task import SequenceModel

        return SequenceModel(self)

    def to_json(self) -> dict[str, Any]:
        """Plain values for model.json; :meth:`from_json` reads them back."""
        values = dataclasses.asdict(self)
        if isinstance(self.gate_bias, tuple):
            values["gate_bias"] = list(self.gate_bias)
        if self.bound == "aligned":  # what models were before there was another
            del values["bound"]
        values["gate_inputs"] = list(self.gate_inputs)
        values["gate_budgets"] = list(self.gate_budgets)
        for name in ("gate_inputs", "gate_windows", "gate_budgets", "largest_budget"):
            if not values[name]:
                del values[name]  # so that files stay as they were before there was such a setting
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Architecture:
        """The architecture in ``values``.

        Raises:
            ParamsError: if a key is unknown or missing, or a value is refused.
        """
        if not isinstance(values, Mapping):
            raise ParamsError(
                f"an architecture is a mapping of names to values, got {type(values).__name__}."
            )
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for key in values:
            if key not in fields:
                near = difflib.get_close_matches(str(key), fields, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(fields)}."
                raise ParamsError(f"unknown architecture key {key!r}{hint}")
        missing = [n for n, f in fields.items() if f.default is dataclasses.MISSING and n not in values]
        if missing:
            raise ParamsError(
                f"the architecture lacks {', '.join(missing)}; was the file written by this package?"
            )
        return cls(**values)


_CHOICES: dict[str, tuple[str, ...]] = {
    "model": MODELS,
    "cell": CELLS,
    "task": TASKS,
    "time_feature": TIME_FEATURES,
    "select": SELECTORS,
    "bound": BOUNDS,
    "initial_state": INITIAL_STATES,
}
_WHOLE_NUMBERS = {
    "input_size": 1,
    "hidden_size": 1,
    "num_layers": 1,
    "num_outputs": 1,
    "head_hidden": 0,
    "vocabulary_size": 0,
    "embedding_size": 0,
    "gate_windows": 0,
}


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(float(value))


def _require(holds: bool, name: str, expected: str, value: object) -> None:
    if not holds:
        raise ParamsError(f"architecture.{name} must be {expected}, got {value!r}.")
