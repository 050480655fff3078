"""Which inputs are processed: heat maps by position (paper, figures 16 to 18) and digits (figures 20 to 26)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skipw.reproduction.digits import draw_digits
from skipw.reproduction.drawing import panels
from skipw.reproduction.experiments import Experiment
from skipw.reproduction.points import REFERENCE_THRESHOLD, label_of, pick
from skipw.reproduction.runs import run_budgets
from skipw.reproduction.work import Findings, Work

__all__ = ["run"]

SEQUENCES = 10_000  # at thr = 0
ROWS_OF_BUDGETS = 6


def run(work: Work, out: Findings) -> None:
    """Heat maps of each data set, and the digits of MNIST."""
    for dataset in work.datasets:
        skipw = work.experiments(dataset, "skipw")
        plain = [one for one in skipw if one.plain] or skipw
        shown = pick(work.points(dataset), plain)
        if shown is None:
            out.missing(f"{dataset}: SkipW")
            continue
        _draw_models(work, shown, out)
        if dataset == "mnist":
            _draw_images(work, shown, out)
            draw_digits(work, plain, out)
        else:
            _draw_budgets(work, shown, out)


def by_position(table: pd.DataFrame, budget: int | None, threshold: float) -> NDArray[np.float64] | None:
    """Float[T], the probability that each input is processed at a point of patterns.csv; None without it."""
    own = table[np.isclose(table["threshold"], threshold)]
    own = own[own["budget"].isna()] if budget is None else own[own["budget"] == budget]
    return own.sort_values("position")["share"].to_numpy() if len(own) else None


def _draw_models(work: Work, shown: Experiment, out: Findings) -> None:
    """Figure 16: one strip a model, at K = L and thr = 0.5."""
    dataset = shown.dataset
    others = work.experiments(dataset, "skipw")
    without = [one for one in others if set(one.beyond) == {"time_feature"}]
    models = [shown, *without]
    for kind in ("thrrnn", "skiprnn"):
        found = work.experiments(dataset, kind)
        models += [_nearest_cost(work, found, shown)] if found else []
        if not found:
            out.missing(f"{dataset}: patterns of {kind}")
    if not without:
        out.missing(f"{dataset}: SkipW with another time feature or none (ablation D.4.1)")
    strips, names, rows = [], [], []
    for one in models:
        table = work.table(one, "patterns")
        strip = None if table is None else by_position(table, one.window, REFERENCE_THRESHOLD)
        if strip is None:
            continue
        strips.append(strip)
        names.append(label_of(one))
        rows.append(
            pd.DataFrame({"experiment": one.name, "model": one.model, "time_feature": one.architecture["time_feature"],
                          "position": np.arange(len(strip)), "share": strip})
        )  # fmt: skip
    out.table(
        f"{dataset}-models", pd.concat(rows, ignore_index=True),
        "Probability that the input at each position is processed, K = L, thr = 0.5.",
    )  # fmt: skip
    if dataset == "mnist":
        return  # the images show it better
    _strips(strips, names, f"{work.title(dataset)}: K = L, thr = 0.5", f"{dataset}-models", out,
            f"{work.title(dataset)}: probability that each input is processed, by model"
            f"{' (the paper’s Fig. 16)' if dataset == 'adding' else ''}.", shown.window or 0)  # fmt: skip


def _nearest_cost(work: Work, found: Sequence[Experiment], like: Experiment) -> Experiment:
    """The model whose cost at thr = 0.5 is nearest to another's at K = L."""
    points = work.points(like.dataset)
    at_half = points[np.isclose(points["threshold"].astype(float), REFERENCE_THRESHOLD)]
    wanted = at_half[(at_half["experiment"] == like.name) & (at_half["budget"] == like.window)][
        "inputs"
    ].mean()
    costs = {one.name: at_half[at_half["experiment"] == one.name]["inputs"].mean() for one in found}
    return min(found, key=lambda one: abs(costs[one.name] - wanted))


def _some_budgets(window: int) -> list[int]:
    return sorted({max(1, round(share * window)) for share in np.linspace(0.1, 1.0, ROWS_OF_BUDGETS)})


def _draw_budgets(work: Work, shown: Experiment, out: Findings) -> None:
    """Figures 17 and 18: several K with the threshold and without it."""
    window, title = shown.window or 1, work.title(shown.dataset)
    table = work.table(shown, "patterns")
    budgets = _some_budgets(window)
    runs = run_budgets(work, shown, [0.0], limit=SEQUENCES)
    free = {k: run.seen.by_position() for (k, _), run in runs.items()}
    out.table(
        f"{shown.dataset}-thr0",
        pd.concat([
            pd.DataFrame({"experiment": shown.name, "budget": k, "position": np.arange(len(v)), "share": v})
            for k, v in free.items()
        ], ignore_index=True),
        "Probability that the input at each position is processed at thr = 0.",
    )  # fmt: skip
    number = {True: " (the paper’s Fig. {})", False: ""}[shown.dataset == "adding"]
    if table is not None:
        strips = [by_position(table, k, REFERENCE_THRESHOLD) for k in budgets]
        kept = [(k, strip) for k, strip in zip(budgets, strips, strict=True) if strip is not None]
        _strips([s for _, s in kept], [f"K = {k}" for k, _ in kept], f"{title}: {label_of(shown)}, thr = 0.5",
                f"{shown.dataset}-budgets", out,
                f"{title}: inputs processed at thr = 0.5 and several K{number.format(18)}.", window)  # fmt: skip
    _strips([free[k] for k in budgets], [f"K = {k}" for k in budgets], f"{title}: {label_of(shown)}, thr = 0",
            f"{shown.dataset}-budgets-thr0", out,
            f"{title}: the same at thr = 0: exactly K inputs in every window{number.format(17)}.", window)  # fmt: skip


def _strips(
    strips: Sequence[NDArray[np.float64]], names: Sequence[str], title: str, file: str, out: Findings, caption: str,
    window: int,
) -> None:  # fmt: skip
    figure, axes = panels(len(strips), columns=1, width=7.4, height=0.62 if len(strips) > 3 else 0.75)
    figure.set_size_inches(7.4, 0.62 * len(strips) + 0.95)
    image = None
    for panel, strip, name in zip(axes, strips, names, strict=True):
        image = panel.imshow(
            100 * strip[None, :], aspect="auto", cmap="viridis", vmin=0, vmax=100, interpolation="none",
            extent=(-0.5, len(strip) - 0.5, 0, 1),
        )  # fmt: skip
        panel.grid(False)
        panel.set_yticks([])
        panel.spines[["left", "bottom"]].set_visible(False)
        if window and len(strip) <= 40 * window:
            panel.vlines(np.arange(window, len(strip), window) - 0.5, 0, 1, color="white", linewidth=0.7)
        panel.set_title(name, fontsize=8, loc="left", pad=2)
        panel.tick_params(labelbottom=panel is axes[-1], labelsize=8)
    axes[-1].set_xlabel("Position in the sequence", fontsize=9)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    bar = figure.colorbar(image, ax=list(axes), fraction=0.04, pad=0.015)
    bar.set_label("Processed (%)", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    out.figure(file, figure, caption)


def _draw_images(work: Work, shown: Experiment, out: Findings) -> None:
    """MNIST: the probability that each pixel is processed, as an image, for several K and the other models."""
    table = work.table(shown, "patterns")
    if table is None:
        return
    window = shown.window or 1
    entries = [
        (f"SkipW, K = {k}", by_position(table, k, REFERENCE_THRESHOLD)) for k in _some_budgets(window)[1:]
    ]
    for kind in ("thrrnn", "skiprnn"):
        found = work.experiments("mnist", kind)
        other = work.table(one := _nearest_cost(work, found, shown), "patterns") if found else None
        if other is not None:
            entries.append((label_of(one), by_position(other, None, REFERENCE_THRESHOLD)))
    size = round(len(table["position"].unique()) ** 0.5)
    kept = [(name, strip) for name, strip in entries if strip is not None and len(strip) == size * size]
    figure, axes = panels(len(kept), columns=4, width=1.9, height=2.1)
    image = None
    for panel, (name, strip) in zip(axes, kept, strict=True):
        image = panel.imshow(
            100 * strip.reshape(size, size), cmap="viridis", vmin=0, vmax=100, interpolation="none"
        )
        panel.set_title(name, fontsize=8)
        panel.axis("off")
    if image is not None:
        bar = figure.colorbar(image, ax=list(axes), fraction=0.03, pad=0.02)
        bar.set_label("Processed (%)", fontsize=8)
        out.figure(
            "mnist-pixels", figure,
            f"{work.title('mnist')}: probability that each pixel is processed, {label_of(shown)}, thr = 0.5, and the "
            "models without a budget.",
        )  # fmt: skip
