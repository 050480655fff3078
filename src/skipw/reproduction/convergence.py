"""Validation loss against training step, SkipW beside SkipRNN (paper, appendix B, figure 11)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from skipw.reproduction.drawing import colour_of, panels
from skipw.reproduction.experiments import Experiment
from skipw.reproduction.points import budget_curve, label_of
from skipw.reproduction.work import Findings, Work

__all__ = ["run", "steps_to"]

NEAR = 1.1  # a run has converged where its loss first comes within this factor of its least


def run(work: Work, out: Findings) -> None:
    """The pair of a SkipW and a SkipRNN with the most similar inputs, for each data set."""
    pairs = []
    for dataset in work.datasets:
        pair = _nearest_pair(work, dataset)
        if pair is None:
            out.missing(f"{dataset}: a SkipW and a SkipRNN with their training histories")
        else:
            pairs.append(pair)
    if not pairs:
        return
    figure, axes = panels(len(pairs), width=4.4, height=3.1)
    rows = []
    for panel, pair in zip(axes, pairs, strict=True):
        for one, inputs in pair:
            history = work.history(one)
            assert history is not None
            steps, loss = history["step"].to_numpy(), history["val_loss"].to_numpy(dtype=float)
            panel.plot(
                steps, loss, color=colour_of(one.model), linewidth=1.4,
                linestyle="-" if one.model == "skipw" else "--",
                label=f"{label_of(one, short=True)}: {100 * inputs:.0f} % of the inputs",
            )  # fmt: skip
            rows.append({
                "dataset": one.dataset, "experiment": one.name, "model": one.model, "inputs": inputs,
                "steps": int(steps[-1]), "least_loss": loss.min(), "steps_to_near_least": steps_to(steps, loss),
                "init_from": one.settings.get("init_from"),
            })  # fmt: skip
        if pair[0][0].dataset == "adding":
            panel.set_yscale("log")
        panel.set_xlabel("Training step")
        panel.set_ylabel("Validation loss")
        panel.set_title(work.title(pair[0][0].dataset), fontsize=10, loc="left")
        panel.legend(frameon=False, fontsize=7.5)
    out.table(
        "convergence", pd.DataFrame(rows),
        f"Steps until the validation loss first comes within a factor of {NEAR:g} of its least.",
    )  # fmt: skip
    out.figure(
        "convergence", figure, "Validation loss during training, SkipW and SkipRNN of similar cost (Fig. 11)."
    )


def steps_to(steps: np.ndarray, loss: np.ndarray) -> int:
    """The first step whose loss is within NEAR of the least."""
    return int(steps[int(np.argmax(loss <= NEAR * loss.min()))])


def _nearest_pair(
    work: Work, dataset: str
) -> tuple[tuple[Experiment, float], tuple[Experiment, float]] | None:
    points = work.points(dataset)
    costs = {}
    for one in work.experiments(dataset, "skipw", "skiprnn"):
        if work.history(one) is not None and (one.plain or one.model == "skiprnn"):
            costs[one.name] = float(budget_curve(points, one.name).iloc[-1]["inputs"])
    if not any(one.model == "skipw" and one.name in costs for one in work.experiments(dataset)):
        for one in work.experiments(dataset, "skipw"):
            if work.history(one) is not None:
                costs[one.name] = float(budget_curve(points, one.name).iloc[-1]["inputs"])
    pairs = [
        (abs(np.log(max(costs[a.name], 1e-3) / max(costs[b.name], 1e-3))), a, b)
        for a in work.experiments(dataset, "skipw")
        for b in work.experiments(dataset, "skiprnn")
        if a.name in costs and b.name in costs
    ]
    if not pairs:
        return None
    _, a, b = min(pairs, key=lambda pair: (pair[0], pair[1].name, pair[2].name))
    return (a, costs[a.name]), (b, costs[b.name])
