"""A model's arrays and description: from a folder, from a torch module, and back into a folder.

Only :func:`of_module` meets torch, through the module that it is given.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from skipw.errors import ChecksumError, ShapeError
from skipw.models.architecture import Architecture
from skipw.models.saved import (
    DESCRIPTION_FILE,
    FORMAT_VERSION,
    WEIGHTS_FILE,
    load_description,
    verified_weights,
)

__all__ = ["DENSE", "Weights", "expected_shapes", "of_module", "read_folder", "write_folder"]

DENSE = ("dense", "random", "periodic")
BLOCKS = {"gru": 3, "lstm": 4, "fastgrnn": 1}  # of N rows each, in a cell's matrices
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Weights:
    """All that a stream needs of a model, read-only.

    Attributes:
        arrays: by their name in model.safetensors ("rnn.cells.0.weight_ih", ...), all Float32 or all Float64.
        architecture: sizes and settings; what it says of a head counts only if ``has_head``.
        has_head: whether scores are computed from the top layer's state.
        description: model.json.
    """

    arrays: Mapping[str, Array]
    architecture: Architecture
    has_head: bool
    description: Mapping[str, Any]

    def __post_init__(self) -> None:
        wanted = expected_shapes(self.architecture, has_head=self.has_head)
        found = {name: array.shape for name, array in self.arrays.items()}
        differing = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
        if differing:
            name = differing[0]
            raise ChecksumError(
                f"the weights don't fit the architecture in {name!r} (and {len(differing) - 1} more): "
                f"expected {_shape(wanted.get(name))}, got {_shape(found.get(name))}; train or fetch "
                "the model again."
            )
        double = any(array.dtype == np.float64 for array in self.arrays.values())
        dtype = np.float64 if double else np.float32
        own = {name: np.array(array, dtype=dtype, order="C") for name, array in self.arrays.items()}
        for array in own.values():
            array.setflags(write=False)
        object.__setattr__(self, "arrays", MappingProxyType(own))

    @property
    def dtype(self) -> np.dtype[Any]:
        return next(iter(self.arrays.values())).dtype


def expected_shapes(architecture: Architecture, *, has_head: bool = True) -> dict[str, tuple[int, ...]]:
    """Name and shape of every array of a model. L window, N hidden units, D inputs."""
    a = architecture
    hidden, blocks = a.hidden_size, BLOCKS[a.cell]
    biases = {"bias_ih": blocks * hidden, "bias_hh": blocks * hidden}
    if a.cell == "fastgrnn":
        biases = {"bias_z": hidden, "bias_h": hidden, "zeta": 1, "nu": 1}
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(a.num_layers):
        width = a.input_size if layer == 0 else hidden
        shapes[f"rnn.cells.{layer}.weight_ih"] = (blocks * hidden, width)
        shapes[f"rnn.cells.{layer}.weight_hh"] = (blocks * hidden, hidden)
        shapes |= {f"rnn.cells.{layer}.{name}": (size,) for name, size in biases.items()}
    if a.initial_state == "trainable":
        shapes["rnn.initial_state"] = (a.num_layers, 1, hidden)
        if a.cell == "lstm":
            shapes["rnn.initial_cell"] = (a.num_layers, 1, hidden)
    if a.model not in DENSE:
        slots = a.window or 1
        timed = a.model == "skipw" and a.time_feature != "none"
        more = sum(a.gate_columns().values())
        rows = slots * (1 + len(a.gate_budgets))
        shapes["rnn.gate.weight"], shapes["rnn.gate.bias"] = (rows, hidden + timed + more), (rows,)
    if a.vocabulary_size:
        shapes["embedding.weight"] = (a.vocabulary_size, a.embedding_size)
    if has_head:
        if a.head_hidden:
            shapes["head.hidden.weight"] = (a.head_hidden, hidden)
            shapes["head.hidden.bias"] = (a.head_hidden,)
        shapes["head.output.weight"] = (a.num_outputs, a.head_hidden or hidden)
        shapes["head.output.bias"] = (a.num_outputs,)
    return shapes


def read_folder(folder: Path | str) -> Weights:
    """The model in ``folder``, its SHA-256 verified.

    Raises:
        DataFormatError: if a file is missing, is not what its name says or has another format version.
        ParamsError: if the architecture holds an unknown key or a value outside its range.
        ChecksumError: if the weights are not those that were written, or don't fit the architecture.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    description = load_description(folder)
    architecture = Architecture.from_json(description["architecture"])
    content = verified_weights(folder, description)
    try:
        arrays = load(content)
    except SafetensorError as error:
        raise ChecksumError(f"{Path(folder) / WEIGHTS_FILE} is not a safetensors file ({error}).") from error
    return Weights(arrays, architecture, description.get("head") is not False, description)


def write_folder(folder: Path | str, weights: Weights) -> dict[str, Any]:
    """Write ``model.safetensors`` and ``model.json`` as ``skipw.models.saved`` does.

    Recurrent layers without head get ``"head": false``. Each file is renamed into its place, the description
    last: what a dying process leaves is refused when loaded.

    Returns:
        The description as written.
    """
    from safetensors.numpy import save

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    content = save({name: np.ascontiguousarray(array) for name, array in weights.arrays.items()})
    written = {
        **weights.description,
        "format_version": FORMAT_VERSION,
        "architecture": weights.architecture.to_json(),
        "checkpoint_sha256": hashlib.sha256(content).hexdigest(),
    }
    if not weights.has_head:
        written["head"] = False
    text = json.dumps(written, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    _replace(folder / WEIGHTS_FILE, content)
    _replace(folder / DESCRIPTION_FILE, text.encode())
    return written


def of_module(model: Any, description: Mapping[str, Any] | None = None) -> Weights:
    """A copy of the weights of a SkipW, ThrRNN, SkipRNN or DenseRNN, or of a SequenceModel.

    Raises:
        ShapeError: if ``model`` is something else, or its cells are none of GRU, LSTM and FastGRNN.
    """
    from skipw.models.recurrent import Recurrent
    from skipw.models.task import SequenceModel

    task = isinstance(model, SequenceModel)
    rnn = model.rnn if task else model
    if not isinstance(rnn, Recurrent):
        raise ShapeError(
            "from_model takes a SkipW, ThrRNN, SkipRNN, DenseRNN or SequenceModel, or the folder of a saved "
            f"model; got {type(model).__name__}."
        )
    cell = _cell_kind(rnn)
    architecture = model.architecture if task else _architecture(rnn, cell)
    prefix = "" if task else "rnn."
    arrays = {prefix + name: value.detach().cpu().numpy() for name, value in _floating(model).items()}
    for name, shape in expected_shapes(architecture, has_head=task).items():
        if name.endswith((".bias_ih", ".bias_hh")):  # a cell made with bias=False
            arrays.setdefault(name, np.zeros(shape, dtype=arrays["rnn.cells.0.weight_hh"].dtype))
    return Weights(arrays, architecture, task, dict(description or {}))


def _floating(model: Any) -> dict[str, Any]:
    """The state_dict, with half precision widened to Float32, which numpy can compute with."""
    return {
        name: value.float() if value.dtype.itemsize < 4 else value
        for name, value in model.state_dict().items()
    }


def _cell_kind(rnn: Any) -> str:
    """The cells' name, found by their own classes, so a factory of these is served too."""
    from torch import nn

    from skipw.fastgrnn import FastGRNNCell

    kinds = {type(cell) for cell in rnn.cells}
    for kind, name in ((nn.GRUCell, "gru"), (nn.LSTMCell, "lstm"), (FastGRNNCell, "fastgrnn")):
        if kinds == {kind}:
            return name
    raise ShapeError(
        f"a stream serves GRU, LSTM and FastGRNN cells, this model wraps {type(rnn.cells[0]).__name__}; "
        "run it in chunks with state= instead."
    )


def _architecture(rnn: Any, cell: str) -> Architecture:
    """The architecture of bare recurrent layers; the output that it has to name is never there."""
    from skipw.models.skip_rnn import SkipRNN, ThrRNN
    from skipw.models.skip_window import SkipW

    settings: dict[str, Any] = {}
    if isinstance(rnn, SkipW):
        model = "skipw"
        settings = {
            "window": rnn.window,
            "time_feature": rnn.time_feature,
            "time_scale": rnn.time_scale,
            "select": rnn.select,
            "bound": rnn.bound,
            "gate_inputs": rnn.gate_inputs,
            "gate_windows": rnn.gate_windows,
            "gate_budgets": rnn.gate_budgets,
            "largest_budget": rnn.largest_budget,
        }
    elif isinstance(rnn, ThrRNN):
        model = "skiprnn" if isinstance(rnn, SkipRNN) else "thrrnn"
    else:
        model = "dense"
    return Architecture(
        model=model,
        input_size=rnn.input_size,
        num_outputs=1,
        task="regression",
        cell=cell,
        hidden_size=rnn.hidden_size,
        num_layers=rnn.num_layers,
        initial_state="zeros" if rnn.initial_state is None else "trainable",
        gate_state_gradient=getattr(rnn, "gate_state_gradient", 1.0),
        **settings,
    )


def _shape(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else str(list(shape))


def _replace(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` in one step."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
