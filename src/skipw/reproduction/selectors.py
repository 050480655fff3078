"""Other ways to select K inputs of a window, on the same weights (paper, appendix H, figures 32 to 37)."""

from __future__ import annotations

import pandas as pd

from skipw.evaluation.figures.axes import COST_LABEL
from skipw.reproduction.drawing import legend_below, panels
from skipw.reproduction.experiments import Experiment
from skipw.reproduction.points import REFERENCE_THRESHOLD, label_of, pick
from skipw.reproduction.runs import run_budgets, summary
from skipw.reproduction.work import Findings, Work

__all__ = ["run"]

#: Selector, threshold, name, and its look.
VARIANTS = (
    ("topk", REFERENCE_THRESHOLD, "SkipW (top K, thr = 0.5)", "#0072B2", "-", "^"),
    ("topk", 0.0, "top K, no threshold", "#56B4E9", "-", "v"),
    ("random", 0.0, "random K, no threshold", "#8C8C8C", "--", "x"),
    ("first", 0.0, "first K, no threshold", "#E69F00", "--", "<"),
    ("last", 0.0, "last K, no threshold", "#CC79A7", "--", ">"),
    ("first_above", REFERENCE_THRESHOLD, "first K above thr = 0.5", "#009E73", ":", "s"),
    ("sample", REFERENCE_THRESHOLD, "sampled by importance, thr = 0.5", "#CC3311", ":", "D"),
)
WITH_THRESHOLD = {"topk", "first_above", "sample"}


def run(work: Work, out: Findings) -> None:
    """All variants on one HAR model a window; models that were trained with another selector beside them."""
    if "har" not in work.datasets:
        out.missing("har: no evaluated model")
        return
    skipw = work.experiments("har", "skipw")
    plain = [one for one in skipw if one.plain] or skipw
    tables = []
    for window in sorted({one.window for one in plain if one.window}):
        shown = pick(work.points("har"), [one for one in plain if one.window == window])
        if shown is None:
            continue
        own = _variants(work, shown)
        tables.append(own)
        _draw(work, shown, own, out)
    for wanted in (8, 16):
        if not any(int(table["window"].iloc[0]) == wanted for table in tables):
            out.missing(f"har: selectors at L = {wanted}")
    if tables:
        out.table(
            "variants",
            pd.concat(tables, ignore_index=True),
            "Selectors on the same weights, on test, for every K.",
        )
    _trained(work, out)


def _variants(work: Work, shown: Experiment) -> pd.DataFrame:
    parts = []
    for select, threshold, name, *_ in VARIANTS:
        own = summary(shown, run_budgets(work, shown, [threshold], select=select))
        parts.append(own.assign(select=select, variant=name))
    return pd.concat(parts, ignore_index=True)


def _draw(work: Work, shown: Experiment, table: pd.DataFrame, out: Findings) -> None:
    figure, axes = panels(3, columns=3, width=3.5, height=3.5, share_y=True)
    window = shown.window or 1
    for select, threshold, name, colour, style, marker in VARIANTS:
        own = table[(table["select"] == select) & (table["threshold"] == threshold)].sort_values("budget")
        reference = select == "topk" and threshold > 0
        look = {"color": colour, "linestyle": style, "marker": marker, "markersize": 4, "linewidth": 1.3, "label": name,
                "zorder": 4 if reference else 3}  # fmt: skip
        if threshold == 0 or reference:
            axes[0].plot(100 * own["budget"] / window, 100 * own["value"], **look)
            axes[1].plot(100 * own["inputs"], 100 * own["value"], **look)
        if threshold > 0:
            axes[2].plot(100 * own["budget"] / window, 100 * own["value"], **look)
    for panel, label, title in zip(
        axes,
        ("K / L (%)", COST_LABEL, "K / L (%)"),
        ("without the threshold", "without the threshold", "with the threshold"),
        strict=True,
    ):
        panel.set_xlabel(label)
        panel.set_title(title, fontsize=9, loc="left")
    axes[0].set_ylabel("Accuracy (%)")
    figure.suptitle(f"{work.title('har')}: {label_of(shown, short=True)}", fontsize=10, x=0.01, ha="left")
    legend_below(figure, axes, columns=4)
    numbers = {8: "32, 33 and 36", 16: "34, 35 and 37"}.get(window)
    place = f" (the paper's Figs. {numbers})" if numbers else ""
    out.figure(
        f"window{window}", figure,
        f"{work.title('har')}, L = {window}: other ways to select inputs on the same weights{place}, on test.",
    )  # fmt: skip


def _trained(work: Work, out: Findings) -> None:
    """Models that were trained with another selector, at K = L and below, from the grids."""
    rows = []
    for dataset in work.datasets:
        points = work.points(dataset)
        other = [one for one in work.experiments(dataset, "skipw") if one.architecture["select"] != "topk"]
        own = points[points["experiment"].isin([one.name for one in other])]
        rows.append(own[(own["threshold"] - REFERENCE_THRESHOLD).abs() < 1e-9])
    table = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()
    if table.empty:
        out.missing("SkipW trained with another selector (sampled, or a soft top K)")
    columns = [
        "dataset",
        "experiment",
        "select",
        "variant",
        "window",
        "cost_per_input",
        "budget",
        "value",
        "inputs",
    ]
    out.table(
        "trained", table[columns] if len(table) else table, "Models trained with another selector, on test."
    )
