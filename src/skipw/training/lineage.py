"""Start a training from a trained model: a chain of ascending λ, each from the last best (paper, App. A)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from skipw.errors import ParamsError
from skipw.gate_budgets import gate_of
from skipw.models.architecture import Architecture
from skipw.models.saved import load_model
from skipw.models.task import SequenceModel

__all__ = ["warm_start"]

DENSE = ("dense", "random", "periodic")
ACCUMULATING = ("thrrnn", "skiprnn")


def warm_start(model: SequenceModel, folder: Path) -> list[str]:
    """Copy the weights of the model in ``folder`` into ``model``.

    The same kind of model gives all its weights; ThrRNN and SkipRNN load each other's. A model of another kind gives
    its cells, initial state and head: its own gate, if it has one, is left out, and the new gate keeps its start.
    A SkipW whose gate sees more (``gate_inputs``, ``gate_windows``) takes the columns that the donor has; the others
    keep their start, 0.
    Each gate of a SkipW with ``gate_budgets`` takes that which the donor asks under its largest budget.
    With another ``time_scale`` the gate's columns for time are rescaled: it says what the donor's says.

    Args:
        model: changed in place.
        folder: data/models/<dataset>/<experiment>.
    Returns:
        The lineage: the experiments that the donor came from, oldest first, and the donor itself.
    Raises:
        ParamsError: if the cells or the shapes don't fit.
    """
    donor, description = load_model(folder)
    name = str(description.get("experiment", folder))
    ours, theirs = model.architecture, donor.architecture
    if theirs.cell != ours.cell:
        raise ParamsError(f"init_from {name}: its cells are {theirs.cell}, this model's {ours.cell}.")
    if not _same_gate(theirs.model, ours.model):
        _copy(name, donor, model, skip=("rnn.gate.",))
    elif _gates_differ(theirs, ours) and theirs.gate_columns().items() <= ours.gate_columns().items():
        _copy(name, donor, model, skip=("rnn.gate.",))
        _copy_gate(name, donor, model)
    else:
        _copy(name, donor, model, skip=())
    if ours.model == theirs.model == "skipw":
        _rescale_time(model, ours.time_scale / theirs.time_scale)
    return [*map(str, description.get("lineage") or []), name]


def _same_gate(theirs: str, ours: str) -> bool:
    """Whether one kind's gate is the other's; models without one agree too."""
    return theirs == ours or any(theirs in kinds and ours in kinds for kinds in (DENSE, ACCUMULATING))


def _gates_differ(theirs: Architecture, ours: Architecture) -> bool:
    """Whether two models of one kind have gates of other inputs or for other budgets."""
    return (theirs.gate_columns(), theirs.gate_budgets) != (ours.gate_columns(), ours.gate_budgets)


def _rescale_time(model: SequenceModel, factor: float) -> None:
    """Multiply what the gate makes of times, which its features are divided by."""
    a, weight = model.architecture, model.get_parameter("rnn.gate.weight")
    times = (a.time_feature != "none") + ("since_update" in a.gate_inputs)  # they follow the state
    with torch.no_grad():
        weight[:, a.hidden_size : a.hidden_size + times] *= factor


def _copy_gate(name: str, donor: SequenceModel, model: SequenceModel) -> None:
    """The gate of a donor that sees less, or has gates for other budgets."""
    ours, theirs = model.architecture, donor.architecture
    source, target = donor.state_dict(), model.state_dict()
    window = ours.window or 1
    mine, given = ours.gate_columns(), theirs.gate_columns()
    plain = target["rnn.gate.weight"].shape[1] - sum(mine.values())
    kept = list(range(plain))
    start = plain
    for seen, count in mine.items():
        kept += range(start, start + count) if seen in given else ()
        start += count
    weight = source["rnn.gate.weight"]
    if (theirs.window, theirs.time_feature) != (ours.window, ours.time_feature) or weight.shape[1] != len(
        kept
    ):
        raise ParamsError(f"init_from {name}: use the same window and time_feature in both experiments.")
    held = theirs.largest_budget or window  # what the donor takes a larger K for
    rows = torch.cat(
        [
            torch.arange(window) + window * gate_of(min(most, held), theirs.gate_budgets)
            for most in (window, *ours.gate_budgets)
        ]
    )
    with torch.no_grad():
        target["rnn.gate.weight"].zero_()
        target["rnn.gate.weight"][:, kept] = weight[rows]
        target["rnn.gate.bias"].copy_(source["rnn.gate.bias"][rows])


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
    spare = [key for key in source if key not in target and not key.startswith(skip or ("-",))]
    if spare:
        raise ParamsError(f"init_from {name}: {', '.join(spare)} would be lost; use the same architecture.")
    with torch.no_grad():
        for key, weight in target.items():
            if not key.startswith(skip or ("-",)):
                weight.copy_(source[key])
