"""Checks of what a model is called with; each error says what was expected, what came, and the remedy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from skipw.errors import BudgetError, ShapeError
from skipw.ops.state import SkipState

COUNTERS = {
    **dict.fromkeys(("step", "offset", "used", "last_update", "budget"), torch.long),
    **dict.fromkeys(("selected", "recent"), torch.bool),
    "threshold": torch.float64,
}
VALUES = ("importance", "noise", "accumulated", "increment", "last_input")

__all__ = [
    "check_counters",
    "check_generator",
    "check_input",
    "check_kind",
    "checked_lengths",
    "checked_updates",
]


def check_input(x: Tensor, input_size: int, weight: Tensor, outputs: str) -> None:
    """x is Float[B, T, D] of the weights' dtype and on their device; ``outputs`` is a known word."""
    if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[2] != input_size or x.shape[0] == 0:
        shape = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ShapeError(
            f"x must be Float[B, T, {input_size}] with B >= 1 (batch first), got {shape}; "
            "add a batch axis with x.unsqueeze(0) for one sequence."
        )
    if x.dtype != weight.dtype or x.device != weight.device:
        raise ShapeError(
            f"x must be {weight.dtype} on {weight.device} as the weights are, got {x.dtype} on {x.device}; "
            "convert x with .to(...) or the model with model.to(...)."
        )
    if outputs not in ("all", "last"):
        raise ShapeError(f"outputs must be 'all' or 'last', got {outputs!r}.")


def check_generator(generator: object) -> None:
    """What the selectors draw from is torch's generator, or None."""
    if generator is not None and not isinstance(generator, torch.Generator):
        raise ShapeError(
            f"generator must be a torch.Generator, got {generator!r}; use torch.Generator().manual_seed(...)."
        )


def checked_lengths(lengths: Tensor | Sequence[int] | None, x: Tensor) -> Tensor:
    """``lengths`` as Long[B]; all T where there is none."""
    batch, num_steps = x.shape[:2]
    if lengths is None:
        return torch.full((batch,), num_steps, dtype=torch.long, device=x.device)
    try:
        given = torch.as_tensor(lengths, device=x.device)
    except (TypeError, ValueError, RuntimeError):
        raise ShapeError(f"lengths must be Long[{batch}], got {lengths!r}.") from None
    whole = not (given.dtype.is_floating_point or given.dtype.is_complex or given.dtype == torch.bool)
    if given.shape != (batch,) or not whole:
        raise ShapeError(f"lengths must be Long[{batch}], got {given.dtype} {list(given.shape)}.")
    given = given.long()
    if int(given.min()) < 0 or int(given.max()) > num_steps:
        raise ShapeError(
            f"lengths must lie in [0, {num_steps}], got {int(given.min())} to {int(given.max())}."
        )
    return given


def checked_updates(updates: Tensor | None, at: object, x: Tensor) -> Tensor | None:
    """``updates`` as Bool[B, T] on x's device, or None."""
    if updates is None:
        return None
    if at is not None:
        raise BudgetError(
            "updates= decides by itself what is processed; leave `at` out, or leave updates out."
        )
    if not isinstance(updates, Tensor) or updates.dtype != torch.bool or updates.shape != x.shape[:2]:
        got = (
            f"{updates.dtype} {list(updates.shape)}"
            if isinstance(updates, Tensor)
            else type(updates).__name__
        )
        raise ShapeError(f"updates must be Bool{list(x.shape[:2])}, got {got}.")
    return updates.to(x.device)


def check_counters(state: SkipState, x: Tensor) -> None:
    """What a state holds beside the layers' values, where it holds it, has a row for each of x's and the types that
    models give it.
    """
    for name, dtype in COUNTERS.items():
        value = getattr(state, name)
        if value is not None and (
            value.dtype is not dtype or value.shape[0] != x.shape[0] or value.device != x.device
        ):
            raise ShapeError(
                f"state.{name} must be {dtype} with {x.shape[0]} rows on {x.device}, got {value.dtype} "
                f"{list(value.shape)} on {value.device}; hand on the state as a call returned it."
            )
    for name in VALUES:
        value = getattr(state, name)
        if value is not None:
            check_kind((value,), x)


def check_kind(given: tuple[Tensor, ...], x: Tensor) -> None:
    """A state is of x's dtype and on its device."""
    for part in given:
        if part.dtype != x.dtype or part.device != x.device:
            raise ShapeError(
                f"state must be {x.dtype} on {x.device} as x is, got {part.dtype} on {part.device}; convert it first."
            )
