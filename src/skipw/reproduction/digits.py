"""Sequential MNIST: digits with the skipped pixels in blue, the predicted label on top (figures 20 to 26)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skipw.data.prepared import load_split
from skipw.evaluation.sequence_results import tensors
from skipw.operating_point import OperatingPoint
from skipw.reproduction.drawing import panels
from skipw.reproduction.experiments import Experiment
from skipw.reproduction.points import budget_curve, label_of, pick
from skipw.reproduction.work import Findings, Work

__all__ = ["draw_digits", "painted"]

BLUE = (0.0, 0.27, 0.60)
COLUMNS = 10


def draw_digits(work: Work, skipw: Sequence[Experiment], out: Findings) -> None:
    """One row of ten digits for each of: the best SkipW at K = L and L / 4, the cheapest at K = L and 2, SkipRNN."""
    points = work.points("mnist")
    first = pick(points, skipw)
    if first is None:
        return
    ends = {one.name: budget_curve(points, one.name).iloc[-1] for one in skipw}
    useful = [one for one in skipw if ends[one.name]["value_val"] > 0.5] or list(skipw)
    cheap = min(useful, key=lambda one: float(ends[one.name]["inputs_val"]))
    whole, small = first.window or 1, max(1, (first.window or 1) // 4)
    rows: list[tuple[Experiment, OperatingPoint | None]] = [
        (first, OperatingPoint(whole)),
        (first, OperatingPoint(small)),
    ]
    if cheap.name != first.name:
        rows += [(cheap, OperatingPoint(cheap.window)), (cheap, OperatingPoint(min(2, cheap.window or 2)))]
    for kind in ("thrrnn", "skiprnn"):
        rows += [(one, OperatingPoint()) for one in work.experiments("mnist", kind)[:2]]
    inputs, lengths, targets = _ten_digits(work)
    size = round(inputs.shape[1] ** 0.5)
    if size * size != inputs.shape[1]:
        return
    figure, axes = panels(len(rows) * COLUMNS, columns=COLUMNS, width=0.72, height=0.86)
    for row, (one, point) in enumerate(rows):
        with torch.inference_mode():
            answer = work.model(one)(inputs, at=point, lengths=lengths)
        updates = answer.rnn.updates.numpy()
        for column in range(COLUMNS):
            panel = axes[row * COLUMNS + column]
            panel.set_visible(column < len(targets))
            if column >= len(targets):
                continue
            pixels = inputs[column, :, 0].numpy().reshape(size, size)
            panel.imshow(painted(pixels, updates[column].reshape(size, size)), interpolation="none")
            label, right = int(answer.scores[column].argmax()), int(targets[column])
            panel.set_title(str(label), fontsize=7, pad=1.5, color="black" if label == right else "#C00000")
            panel.axis("off")
        budget = "" if one.model != "skipw" or point is None else f", K = {point.budget}"
        used = 100 * updates.mean()
        axes[row * COLUMNS].text(
            0, 1.36, f"{label_of(one)}{budget}: {used:.1f} % of these pixels", fontsize=7,
            transform=axes[row * COLUMNS].transAxes, va="bottom",
        ).set_in_layout(False)  # fmt: skip
    figure.set_size_inches(0.72 * COLUMNS, 1.12 * len(rows))
    figure.get_layout_engine().set(h_pad=0.12, rect=(0, 0, 1, 0.98))
    out.figure(
        "mnist-digits", figure,
        "Sequential MNIST: the first test image of each class; skipped pixels are blue, the predicted label stands on "
        "top, in red where it is wrong (the paper's Figs. 20 to 26).", form="png",
    )  # fmt: skip


def painted(pixels: NDArray[Any], updates: NDArray[np.bool_]) -> NDArray[np.float64]:
    """An image Float[H, W, 3]: processed pixels as they are, skipped ones in blue, the brighter the more ink."""
    low, high = float(pixels.min()), float(pixels.max())
    grey = (pixels - low) / max(high - low, 1e-9)
    blue = np.array(BLUE) + (1 - np.array(BLUE)) * 0.45 * grey[..., None]
    return np.where(updates[..., None], np.repeat(grey[..., None], 3, axis=-1), blue)


def _ten_digits(work: Work) -> tuple[torch.Tensor, torch.Tensor, NDArray[Any]]:
    split = load_split(work.data / "prepared" / "mnist", "test")
    classes = np.unique(split.targets)[:COLUMNS]
    places = [int(np.argmax(split.targets == wanted)) for wanted in classes]
    taken = [tensors(split, slice(place, place + 1)) for place in places]
    return (
        torch.cat([one[0] for one in taken]),
        torch.cat([one[1] for one in taken]),
        np.array([int(one[2][0]) for one in taken]),
    )
