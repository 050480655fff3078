"""Adding Task: inputs processed in the parts p1 to p4 and markers missed (figures 8, 15, eqs. 12, 13, Table 1)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from skipw.reproduction.drawing import panels
from skipw.reproduction.experiments import Experiment
from skipw.reproduction.paper import stated
from skipw.reproduction.patterns import by_position
from skipw.reproduction.points import REFERENCE_THRESHOLD, label_of, pick
from skipw.reproduction.runs import run_budgets
from skipw.reproduction.work import Findings, Work

__all__ = ["run"]

PARTS = ("p1", "p2", "p3", "p4")
WORDS = {
    "p1": "p1: up to the first marker",
    "p2": "p2: on to the middle",
    "p3": "p3: up to the second marker",
    "p4": "p4: after it",
}
LOOKS = (("#0072B2", "o"), ("#E69F00", "s"), ("#009E73", "^"), ("#CC79A7", "D"))


def run(work: Work, out: Findings) -> None:
    """Proportions by part and markers missed for each K, and the halves beside Table 1."""
    skipw = work.experiments("adding", "skipw") if "adding" in work.datasets else []
    plain = [one for one in skipw if one.plain] or skipw
    shown = pick(work.points("adding"), plain) if plain else None
    if shown is None:
        out.missing("adding: SkipW")
        return
    runs = run_budgets(work, shown, [REFERENCE_THRESHOLD])
    rows = []
    for (budget, _), one in sorted(runs.items()):
        first, second = one.missed or (np.nan, np.nan)
        shares = one.seen.by_part()
        rows.append({"experiment": shown.name, "window": shown.window, "budget": budget, **shares,
                     "missed_first": first, "missed_second": second, "largest": one.inputs.max(),
                     "value": one.values.mean(), "inputs": one.inputs.mean(),
                     "sequences": len(one.values)})  # fmt: skip
    table = pd.DataFrame(rows)
    out.table(
        "parts", table, "Share of inputs processed in each part, and of markers that are not, for each K."
    )
    out.table(
        "halves",
        _halves(work, shown, out),
        "Inputs processed in the two halves beside the paper's Table 1 (%).",
    )
    _draw(table, shown, out)


def _halves(work: Work, shown: Experiment, out: Findings) -> pd.DataFrame:
    rows = []
    for kind in ("skipw", "thrrnn", "skiprnn"):
        found = [shown] if kind == "skipw" else work.experiments("adding", kind)
        if not found:
            out.missing(f"adding: {kind} in Table 1")
        paper = stated("table1").get(kind, {})
        for one in found:
            table = work.table(one, "patterns")
            strip = None if table is None else by_position(table, one.window, REFERENCE_THRESHOLD)
            if strip is None:
                continue
            middle = (len(strip) + 1) // 2
            rows.append({
                "experiment": one.name, "model": kind, "cost_per_input": one.cost_per_input,
                "first_half": 100 * strip[:middle].mean(), "second_half": 100 * strip[middle:].mean(),
                "paper_first_half": paper.get("first_half"), "paper_second_half": paper.get("second_half"),
            })  # fmt: skip
    return pd.DataFrame(rows)


def _draw(table: pd.DataFrame, shown: Experiment, out: Findings) -> None:
    figure, (left, right) = panels(2, width=4.4, height=3.6)
    for part, (colour, marker) in zip(PARTS, LOOKS, strict=True):
        left.plot(
            table["budget"], 100 * table[part], color=colour, marker=marker, markersize=4.5, linewidth=1.4,
            label=WORDS[part],
        )  # fmt: skip
    left.set_ylabel("Inputs processed in the part (%)")
    for column, name, (colour, marker) in (
        ("missed_first", "first marker", LOOKS[0]),
        ("missed_second", "second marker", LOOKS[1]),
    ):
        right.plot(
            table["budget"], 100 * table[column], color=colour, marker=marker, markersize=4.5, linewidth=1.4,
            linestyle="--", label=f"{name} missed",
        )  # fmt: skip
    right.set_ylabel("Sequences whose marker is skipped (%)")
    for axes in (left, right):
        axes.set_xlabel("Budget K")
        axes.set_xticks(table["budget"])
        axes.set_ylim(-3, 103)
    figure.suptitle(f"Adding Task: {label_of(shown, short=True)}, thr = 0.5", fontsize=10, x=0.01, ha="left")
    handles = [handle for axes in (left, right) for handle in axes.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    out.figure(
        "parts", figure,
        "Adding Task: inputs processed in each part (the paper's Fig. 8) and markers missed (Fig. 15), for each K.",
    )  # fmt: skip
