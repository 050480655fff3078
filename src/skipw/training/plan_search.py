"""The search for a plan: a perceptron learns the task while its inputs are taken away, the least used first."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from skipw.data.prepared import load_meta, load_split
from skipw.errors import ParamsError
from skipw.training.plan import Plan, Plans

if TYPE_CHECKING:
    from skipw.settings import TrainSettings

__all__ = ["find_plan", "plans_of"]

log = logging.getLogger(__name__)
HIDDEN, BATCH, LEARNING_RATE = 256, 256, 1e-3
MEMORY = 0.98  # of the running mean of an input's use
EVERY = 20  # updates between two prunings
# Shares of the updates after which the plan is found, and after which its order is looked for.
FOUND, KEPT = 0.6, 0.75


def plans_of(settings: TrainSettings, prepared: Path, unfinished: Path) -> Plans | None:
    """The plans that a training's settings ask for, each found once and kept with its checkpoints; None without any.

    Args:
        settings: of the experiment.
        prepared: data/prepared/<dataset>.
        unfinished: the folder of this training's checkpoints.
    Raises:
        ParamsError: if the data can't have one: token ids, or sequences of more than one length.
    """
    shares, window = settings.plan_inputs, settings.window
    if shares is None:
        return None
    assert window is not None  # params.py has seen to it
    if isinstance(shares, tuple):
        pairs = zip(shares, settings.gate_budgets, strict=False)  # those after the last share are free
        wanted = [(f"plan-{budget}.npy", share, budget) for share, budget in pairs]
    else:
        wanted = [("plan.npy", shares, settings.trained_budget or window)]
    plans = [_kept(unfinished / name, settings, prepared, share, budget) for name, share, budget in wanted]
    return Plans(tuple(plans), settings.gate_budgets, window)


def _kept(path: Path, settings: TrainSettings, prepared: Path, share: float, budget: int) -> Plan:
    """The plan in this file, found and written if there is none yet."""
    meta, window = load_meta(prepared), settings.window or 1
    steps = meta["num_steps"]
    if (order := _read(path, steps)) is not None:
        return Plan(order, steps, window)
    split = load_split(prepared, "train", settings.train_limit)
    if meta.get("vocabulary_size") or int(split.lengths.min()) < split.inputs.shape[1]:
        raise ParamsError(
            f"{settings.experiment}: plan_inputs needs numbers in sequences of one length; {settings.dataset} has none."
        )
    plan = find_plan(
        torch.from_numpy(np.array(split.inputs)),
        torch.from_numpy(np.array(split.targets)),
        count=max(1, int(share * steps)),
        window=window,
        budget=budget,
        classes=len(meta["classes"]) if meta["task"] == "classification" else 0,
        seed=settings.seed,
        updates=settings.plan_updates,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new.npy")
    np.save(fresh, plan.order)
    fresh.replace(path)
    return plan


def _read(path: Path, steps: int) -> npt.NDArray[np.int64] | None:
    """A plan's inputs; None where there is no such file, or it holds something else."""
    try:
        order = np.load(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError):
        order = np.empty(0)
    whole = order.ndim == 1 and order.dtype == np.int64 and len(np.unique(order)) == len(order) > 0
    if whole and order.min() >= 0 and order.max() < steps:
        return order
    log.warning("%s is damaged; the plan is looked for again", path.name)
    return None


def find_plan(
    inputs: Tensor,
    targets: Tensor,
    *,
    count: int,
    window: int,
    budget: int,
    classes: int,
    seed: int,
    updates: int,
) -> Plan:
    """The inputs that a perceptron on the whole sequence can do with, at most ``budget`` of each window.

    An input's use is how much the loss would change without it, to first order and relative to its mean: the root mean
    square of (x - x̄) · ∂loss/∂x over sequences, a running mean over updates (Molchanov et al., 2017, prune channels).
    Inputs are taken away after every 20th update, so that their number and the most in a window fall geometrically to
    what is asked; the order of those that are left is that in which they would go if it went on.

    Args:
        inputs: Float[n, T, D].
        targets: Long[n] classes, or Float[n].
        count: how many inputs.
        window: L, in inputs.
        budget: K, the most in a window.
        classes: 0 for a regression.
        seed: of weights and batches.
        updates: how long the perceptron trains, in batches of 256; a minute on MNIST.
    Raises:
        ParamsError: if every sequence is the same.
    """
    generator = torch.Generator().manual_seed(seed)
    size, steps, width = inputs.shape
    flat = inputs.reshape(size, steps * width)
    mean, spread = flat.mean(dim=0), flat.std(dim=0).reshape(steps, width)
    net = _perceptron(steps * width, classes or 1, generator)
    optimizer = torch.optim.Adam(net.parameters(), LEARNING_RATE)
    kept = spread.amax(dim=1) > 0.02 * spread.max()  # what hardly varies is in no plan
    first, last = int(kept.sum()), max(1, count // 16)
    if first == 0:
        raise ParamsError("plan_inputs: all sequences are the same, there is nothing to choose from.")
    count = min(count, first)
    squares = torch.zeros(steps)
    gone: list[int] = []  # of the plan's inputs, the least important first
    for step in range(updates):
        rows = torch.randint(size, (min(BATCH, size),), generator=generator)
        x = (flat[rows] * kept.repeat_interleave(width)).requires_grad_()
        loss = _loss(net(x), targets[rows], classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert x.grad is not None
        change = ((x.detach() - mean) * (len(rows) * x.grad)).reshape(-1, steps, width).sum(dim=-1)
        squares.mul_(MEMORY).add_(change.square().mean(dim=0), alpha=1 - MEMORY)
        if step % EVERY and step != updates - 1:
            continue
        share = (step + 1) / updates
        use = squares.sqrt()
        if share <= KEPT:
            part = min(1.0, share / FOUND)
            number, most = _between(first, count, part), _between(window, budget, part)
            kept &= _strongest(use.masked_fill(~kept, -1.0), number, window, most)
        else:
            order = use.masked_fill(~kept, -1.0).argsort(descending=True)[: int(kept.sum())]
            number = _between(int(kept.sum()) + len(gone), last, (share - KEPT) / (1 - KEPT))
            for index in reversed(order[number:].tolist()):
                kept[index] = False
                gone.append(index)
    left = use.masked_fill(~kept, -1.0).argsort(descending=True)[: int(kept.sum())].tolist()
    return Plan(np.array(left + gone[::-1], dtype=np.int64), steps, window)


def _perceptron(width: int, outputs: int, generator: torch.Generator) -> nn.Sequential:
    """Two hidden layers; weights from the generator, whatever the state of torch's own."""
    layers = [nn.Linear(width, HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, outputs)]
    for layer in layers:
        nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)  # torch's own start
        nn.init.zeros_(layer.bias)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])


def _loss(scores: Tensor, targets: Tensor, classes: int) -> Tensor:
    if classes:
        return nn.functional.cross_entropy(scores, targets)
    return nn.functional.mse_loss(scores[:, 0], targets)


def _between(first: int, last: int, part: float) -> int:
    """From ``first`` to ``last`` in equal ratios."""
    return max(last, round(first * (last / first) ** part))


def _strongest(use: Tensor, number: int, window: int, most: int) -> Tensor:
    """The ``number`` largest of ``use`` (Float[T], negative: none), at most ``most`` of a window: Bool[T].

    A window between others gets its largest even where that is too small: a gate can't tell two windows apart between
    which its state did not change, except by time, in which it is linear.
    """
    windows = -(-len(use) // window)
    members: list[list[int]] = [[] for _ in range(windows)]  # the largest first
    candidates: list[int | None] = [None] * windows
    for index in use.argsort(descending=True).tolist():
        if use[index] < 0:
            break
        here = index // window
        candidates[here] = index if candidates[here] is None else candidates[here]
        if number and len(members[here]) < most:
            members[here].append(index)
            number -= 1
    while gap := _first_gap(members, candidates):
        members[gap].append(candidates[gap])  # type: ignore[arg-type]
        crowded = [each for each in members if len(each) > 1]
        ends = [each for each in members if each]
        weakest = min(crowded or [ends[0], ends[-1]], key=lambda each: float(use[each[-1]]))
        weakest.pop()
    chosen = torch.zeros(len(use), dtype=torch.bool)
    chosen[[index for each in members for index in each]] = True
    return chosen


def _first_gap(members: list[list[int]], candidates: list[int | None]) -> int | None:
    """The first window between others that is empty and need not be."""
    used = [index for index, each in enumerate(members) if each]
    between = range(used[0], used[-1]) if used else range(0)
    return next((index for index in between if not members[index] and candidates[index] is not None), None)
