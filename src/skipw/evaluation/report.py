"""The report over all data sets: pictures, text, metrics.json and the tables for ``dvc plots``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from skipw.data.atomic import write_json
from skipw.evaluation.document import Block, Paragraph, as_html, as_markdown
from skipw.evaluation.figures.bound_picture import draw_bound
from skipw.evaluation.figures.front_picture import draw_front
from skipw.evaluation.figures.patterns_picture import draw_patterns
from skipw.evaluation.figures.switching_picture import draw_switching
from skipw.evaluation.results import Evidence, result_blocks, result_metrics

__all__ = ["write_report"]


def write_report(folder: Path, evidence: list[Evidence], title: str, scale: str) -> None:
    """Write the report.

    Args:
        folder: an empty folder.
        evidence: of each data set, in the order of the report.
        title: of the report.
        scale: laptop, paper or tiny.
    """
    for name in ("figures", "plots"):
        (folder / name).mkdir()
    blocks: list[Block] = [Paragraph(_introduction(evidence, scale))]
    metrics: dict[str, Any] = {}
    for one in evidence:
        blocks += result_blocks(one, _draw(one, folder))
        metrics[one.dataset] = result_metrics(one)
        plot_table(one).to_csv(folder / "plots" / f"{one.dataset}.csv", index=False, lineterminator="\n")
    heading = f"{title}: results"
    (folder / "report.md").write_text(as_markdown(heading, blocks), encoding="utf-8")
    (folder / "report.html").write_text(as_html(heading, blocks, folder), encoding="utf-8")
    write_json(folder / "metrics.json", metrics)


def _introduction(evidence: list[Evidence], scale: str) -> str:
    names = ", ".join(str(one.meta["title"]) for one in evidence)
    return (
        f"Scale: {scale}. Data sets: {names}. Every model was evaluated at all its operating points on val "
        f"and on test. "
        "Fronts and aliases were chosen on val, over all models and baselines together; test values are "
        "reported. K is the "
        "budget, the most inputs that may be processed in any window of L; thr is the threshold. Inputs "
        "processed is the "
        "share of a sequence's inputs, mean over the sequences."
    )


def plot_table(evidence: Evidence) -> pd.DataFrame:
    """Test value and cost of every operating point, for ``dvc plots``."""
    grid = evidence.grid
    rows = grid[(grid["metric"] == evidence.metric) & (grid["split"] == "test")]
    columns = ["inputs_processed", "value", "model", "experiment", "budget", "threshold"]
    return rows[columns].rename(columns={"value": evidence.metric})


def _draw(evidence: Evidence, folder: Path) -> dict[str, str]:
    """Draw the pictures of a data set; returns their paths inside ``folder`` by kind."""
    meta, tables, metric = evidence.meta, evidence.tables, evidence.metric
    title = str(meta["title"])
    paths = {
        kind: f"figures/{evidence.dataset}-{kind}.png" for kind in ("front", "patterns", "bound", "switching")
    }
    draw_front(
        folder / paths["front"],
        evidence.grid,
        evidence.front,
        tables.get("repeats"),
        title=title,
        data_source=str(meta["data_source"]),
        metric=metric,
        constant=float(meta["constant_predictor"]["test"]),
    )
    names = evidence.names("skipw")
    if not names:
        return {"front": paths["front"]}
    first = next(iter(names))
    window = int(evidence.grid.loc[evidence.grid["experiment"] == first, "window"].iloc[0])
    draw_patterns(folder / paths["patterns"], tables["patterns"], names, window, f"{title}: inputs processed")
    shares, other = tables["shares"], next(iter(evidence.names("thrrnn").items()), None)
    draw_bound(
        folder / paths["bound"],
        shares[shares["experiment"] == first],
        None if other is None else shares[shares["experiment"] == other[0]],
        window=window,
        num_steps=int(meta["num_steps"]),
        names=(names[first], "" if other is None else other[1]),
        title=f"{title}: inputs processed per sequence",
    )
    draw_switching(
        folder / paths["switching"], tables["switching"], names, metric, f"{title}: change in mid-sequence"
    )
    return paths
