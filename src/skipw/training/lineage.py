"""Start a training from a trained model: a chain of ascending λ, each from the last best (paper, App. A)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from skipw.errors import ParamsError
from skipw.models.saved import load_model
from skipw.models.task import SequenceModel

__all__ = ["warm_start"]

DENSE = ("dense", "random", "periodic")
ACCUMULATING = ("thrrnn", "skiprnn")


def warm_start(model: SequenceModel, folder: Path) -> list[str]:
    """Copy the weights of the model in ``folder`` into ``model``.

    The same kind of model gives all its weights; ThrRNN and SkipRNN load each other's; a dense model gives
    its cells, initial state and head to any other, whose gate keeps its own start.

    Args:
        model: changed in place.
        folder: data/models/<dataset>/<experiment>.
    Returns:
        The lineage: the experiments that the donor came from, oldest first, and the donor itself.
    Raises:
        ParamsError: if the kinds or the shapes don't fit.
    """
    donor, description = load_model(folder)
    name = str(description.get("experiment", folder))
    ours, theirs = model.architecture, donor.architecture
    _check_kinds(name, theirs.model, ours.model)
    if theirs.cell != ours.cell:
        raise ParamsError(f"init_from {name}: its cells are {theirs.cell}, this model's {ours.cell}.")
    fresh_gate = theirs.model in DENSE and ours.model not in DENSE
    _copy(name, donor, model, skip=("rnn.gate.",) if fresh_gate else ())
    return [*map(str, description.get("lineage") or []), name]


def _check_kinds(name: str, theirs: str, ours: str) -> None:
    if theirs == ours or theirs in DENSE or (theirs in ACCUMULATING and ours in ACCUMULATING):
        return
    raise ParamsError(
        f"init_from {name}: a {theirs} model can't start a {ours} model, their gates differ; "
        f"take a {ours} or dense experiment, or leave init_from out."
    )


def _copy(name: str, donor: nn.Module, model: nn.Module, skip: tuple[str, ...]) -> None:
    """Copy every weight of ``model`` whose name does not begin with one of ``skip``."""
    source, target = donor.state_dict(), model.state_dict()
    for key, weight in target.items():
        if key.startswith(skip or ("-",)):
            continue
        if key not in source:
            raise ParamsError(
                f"init_from {name}: it has no {key}; use the same initial_state and head_hidden."
            )
        if source[key].shape != weight.shape:
            raise ParamsError(
                f"init_from {name}: {key} is {list(source[key].shape)} there and {list(weight.shape)} here; "
                "use the same sizes, window and time_feature in both experiments, on the same prepared data."
            )
    spare = [key for key in source if key not in target]
    if spare:
        raise ParamsError(f"init_from {name}: {', '.join(spare)} would be lost; use the same architecture.")
    with torch.no_grad():
        for key, weight in target.items():
            if not key.startswith(skip or ("-",)):
                weight.copy_(source[key])
