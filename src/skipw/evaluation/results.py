"""The section of the report about one data set: text, tables, pictures, and the numbers behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from skipw.data.prepared import load_meta
from skipw.evaluation.comparison import COST_LEVELS, at_equal_cost, check_bound
from skipw.evaluation.curves import COLOURS, NAMES, curves_of, search_group
from skipw.evaluation.document import Block, Figure, Heading, Notice, Paragraph, Table
from skipw.evaluation.evaluated import evaluated, trial_number
from skipw.evaluation.front import read_front, read_grids, summarise
from skipw.evaluation.page import front_table_cells, metric_text, share_text, shown
from skipw.evaluation.source_notes import announcement
from skipw.models.saved import load_description

__all__ = ["Evidence", "read_evidence", "result_blocks", "result_metrics"]


@dataclass(frozen=True)
class Evidence:
    """All that is known about one data set.

    Attributes:
        dataset: its name.
        meta: its meta.json.
        grid: all grids, those of a search's trials too.
        front: front.csv.
        descriptions: the model.json of each experiment that was trained, and of each trial.
        tables: patterns, shares, parts, switching and repeats of all experiments, by file name.
    """

    dataset: str
    meta: dict[str, Any]
    grid: pd.DataFrame
    front: pd.DataFrame
    descriptions: dict[str, dict[str, Any]]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        return str(self.meta["metric"])

    def names(self, model: str) -> dict[str, str]:
        """The names for people of the experiments of a kind of model; trials of a search are left out."""
        curves = [c for c in curves_of(self.grid, self.metric) if c.group is None]
        return {c.experiment: c.name for c in curves if c.model == model}

    def in_search(self, table: pd.DataFrame) -> pd.Series:
        """Which rows of a table with a column ``experiment`` are about trials of a search."""
        trials = {name for name in table["experiment"].unique() if trial_number(str(name)) is not None}
        return table["experiment"].isin(trials)


def read_evidence(dataset: str, data: Path) -> Evidence:
    """Read what the stages before have left.

    Raises:
        DataFormatError: if a file is missing or damaged, or data sources are mixed.
    """
    experiments = evaluated(dataset, data)
    tables = {}
    for name in ("patterns", "shares", "parts", "switching", "repeats"):
        paths = [one.grid_folder / f"{name}.csv" for one in experiments]
        found = [pd.read_csv(path) for path in paths if path.exists()]
        if found:
            tables[name] = pd.concat(found, ignore_index=True)
    trained = [one for one in experiments if one.owns_model and one.model_folder.exists()]
    return Evidence(
        dataset,
        load_meta(data / "prepared" / dataset),
        read_grids([one.grid for one in experiments]),
        read_front(data / "pareto" / dataset / "front.csv"),
        {one.experiment: load_description(one.model_folder) for one in trained},
        tables,
    )


def result_metrics(evidence: Evidence) -> dict[str, Any]:
    """The data set's entry in metrics.json: hypervolume, aliases and violations of the bound."""
    summary = summarise(evidence.front, evidence.grid, evidence.metric, evidence.meta["constant_predictor"])
    checks = check_bound(evidence.grid, evidence.metric)
    return summary | {"bound_violations": sum(check.violations for check in checks)}


def result_blocks(evidence: Evidence, figures: Mapping[str, str]) -> list[Block]:
    """The section.

    Args:
        evidence: of the data set.
        figures: paths of the pictures that were drawn, by kind: front, patterns, bound, switching.
    """
    meta, metric = evidence.meta, evidence.metric
    blocks: list[Block] = [Heading(str(meta["title"]))]
    note = announcement(str(meta["data_source"]))
    if note:
        blocks.append(Notice(note))
    blocks.append(Paragraph(_summary(evidence)))
    blocks.append(
        Figure(
            figures["front"], "Each model's operating points on test; rings mark the front, chosen on val."
        )
    )
    blocks += [Heading("Points with an alias", 2), Table(_alias_cells(evidence))]
    blocks += [Heading("At equal cost", 2), _comparison(evidence)]
    blocks += [Heading("The bound", 2), *_bound(evidence)]
    if "bound" in figures:
        caption = (
            "Inputs processed per sequence: bars mark the largest value, dots the mean, dashes the bound."
        )
        blocks.append(Figure(figures["bound"], caption))
    blocks += _behaviour(evidence, figures)
    blocks += [Heading("The whole front", 2), Table(front_table_cells(evidence.front, metric))]
    blocks += [Heading("Where the numbers come from", 2), *_provenance(evidence)]
    return blocks


def _value_text(value: float, metric: str) -> str:
    return f"{metric_text(value, metric)} % accuracy" if metric == "accuracy" else f"an MSE of {value:.3g}"


def _summary(evidence: Evidence) -> str:
    """What a reader should take away, in a few sentences."""
    numbers, metric = result_metrics(evidence), evidence.metric
    constant = _value_text(float(evidence.meta["constant_predictor"]["test"]), metric)
    aliases = numbers["aliases"]
    text = (
        f"Of {numbers['operating_points']} operating points of {_counts(evidence)}, "
        f"{numbers['front_points']} are on the Pareto front. "
    )
    if aliases["most-accurate"] is None:
        return f"{text}No point is better on val than the constant predictor ({constant} on test)."
    sentences = []
    for alias, point in aliases.items():
        test = point["test"]
        sentences.append(
            f"{alias}: {_value_text(test['value'], metric)} with {share_text(test['inputs_processed'])} % "
            f"of the inputs "
            f"({point['experiment']}{_place(point)})"
        )
    share = numbers["hypervolume"]["test"]
    return (
        f"{text}On test, {'; '.join(sentences)}. The constant predictor reaches {constant}. The front "
        f"dominates "
        f"{100 * share:.1f} % of the area between it and a perfect model that needs no input (hypervolume)."
    )


def _counts(evidence: Evidence) -> str:
    """How many experiments there are, and how many trials of a search."""
    found = evidence.grid.drop_duplicates("experiment")
    trials = int(evidence.in_search(found).sum())
    experiments = f"{len(found) - trials} experiments"
    return f"{experiments} and of {trials} trials of a search" if trials else experiments


def _place(point: Mapping[str, Any]) -> str:
    parts = []
    if point["budget"] is not None:
        parts.append(f"K = {point['budget']}")
    if point["threshold"] is not None:
        parts.append(f"thr = {point['threshold']:g}")
    return f" at {', '.join(parts)}" if parts else ""


def _alias_cells(evidence: Evidence) -> list[list[str]]:
    held = evidence.front[evidence.front["alias"] != ""]
    heading, *rows = front_table_cells(held, evidence.metric)
    return [[row[-1], *row[:-1]] for row in (heading, *rows)]


def _comparison(evidence: Evidence) -> Table:
    """Kinds of models side by side, a row a cost level."""
    metric, grid = evidence.metric, evidence.grid
    columns = NAMES | {search_group(model): search_group(model) for model in COLOURS}
    tried = grid["model"].map(search_group)
    best = at_equal_cost(grid.assign(model=grid["model"].mask(evidence.in_search(grid), tried)), metric)
    models = [model for model in columns if model in set(best["model"])]
    cells = [["inputs at most (%)", *(columns[model] for model in models)]]
    for level in COST_LEVELS:
        row = [f"{100 * level:g}"]
        for model in models:
            found = best[(best["level"] == level) & (best["model"] == model)]
            row.append("–")
            if len(found):
                one = found.iloc[0]
                row[-1] = (
                    f"{metric_text(one['value'], metric)} ({share_text(one['inputs_processed'])}\u00a0%)"
                )
        cells.append(row)
    unit = "accuracy in %" if metric == "accuracy" else "MSE"
    return Table(
        cells,
        f"Test {unit} of the point that was best on val among those that cost no more than the level there; "
        f"in brackets "
        "the inputs that it processed on test.",
    )


def _bound(evidence: Evidence) -> list[Block]:
    checks = check_bound(evidence.grid, evidence.metric)
    violations = sum(check.violations for check in checks)
    verdict = (
        "In every window of every sequence at most K inputs were processed, at every operating point."
        if violations == 0
        else f"THE BOUND WAS VIOLATED at {violations} points: this is a defect."
    )
    head = ["experiment", "points, val and test", "with a full window", "violations"]
    tried = [check for check in checks if trial_number(check.experiment) is not None]
    rows = [
        [c.experiment, f"{c.points}", f"{c.windows_full}", f"{c.violations}"]
        for c in checks
        if c not in tried
    ]
    if tried:
        sums = (sum(getattr(c, key) for c in tried) for key in ("points", "windows_full", "violations"))
        rows.append([f"{len(tried)} trials of a search", *(f"{total}" for total in sums)])
    block: Block = Paragraph(verdict) if violations == 0 else Notice(verdict)
    return [block, Table([head, *rows])] if checks else [Paragraph("No model with a budget was evaluated.")]


def _behaviour(evidence: Evidence, figures: Mapping[str, str]) -> list[Block]:
    """Patterns, the four parts of the Adding Task, and switching."""
    blocks: list[Block] = []
    if "patterns" in figures or "parts" in evidence.tables:
        blocks.append(Heading("Which inputs are processed", 2))
    if "patterns" in figures:
        blocks.append(
            Figure(figures["patterns"], "Share of the test sequences in which each input is processed.")
        )
    if "parts" in evidence.tables:
        blocks += [_parts(evidence.tables["parts"])]
    if "switching" in figures:
        caption = (
            "The operating point changes before the input at the position shown; at 0 the second one rules "
            "all along."
        )
        blocks += [Heading("Switching in mid-sequence", 2), Figure(figures["switching"], caption)]
    return blocks


def _parts(parts: pd.DataFrame) -> Table:
    """Figure 8 as a table: SkipW at each budget, the others at their points."""
    head = ["experiment", "budget K", "threshold", "p1 (%)", "p2 (%)", "p3 (%)", "p4 (%)"]
    rows = []
    keys = ["experiment", "budget", "threshold"]
    for (experiment, budget, threshold), own in parts.groupby(keys, dropna=False):
        shares = own.set_index("part")["share"]
        place = [str(experiment), shown(budget, ".0f"), shown(threshold, "g")]
        rows.append([*place, *(share_text(shares[part]) for part in ("p1", "p2", "p3", "p4"))])
    caption = (
        "p1 up to the first marker, p2 on to the middle, p3 up to the second marker, p4 to the end (eqs. "
        "12, 13). A perfect "
        "policy processes all of p1 and p3 and nothing else."
    )
    return Table([head, *rows], caption)


def _provenance(evidence: Evidence) -> list[Block]:
    meta = evidence.meta
    sizes = ", ".join(f"{split} {size:,}" for split, size in meta["sizes"].items())
    text = f"Data source: {meta['data_source']}. Sequences: {sizes}; {meta['num_steps']} inputs each at most."
    head = [
        "experiment",
        "cell",
        "hidden",
        "layers",
        "window L",
        "λ",
        "started from",
        "seed",
        "evaluated on val / test",
    ]
    grid = evidence.grid[evidence.grid["metric"] == evidence.metric]
    searched = evidence.in_search(grid)
    named = [_origin(evidence, str(name), own) for name, own in grid[~searched].groupby("experiment")]
    blocks: list[Block] = [Paragraph(text), Table([head, *named])]
    if searched.any():
        tried = [_origin(evidence, str(name), own) for name, own in grid[searched].groupby("experiment")]
        model = grid.groupby("experiment")["model"].first()
        rows = [[row[0], NAMES[model[row[0]]], *row[1:]] for row in tried]
        caption = "Trials of a search: those with a point on the search's own front, which was chosen on val."
        blocks.append(Table([[head[0], "model", *head[1:]], *rows], caption))
    return blocks


def _origin(evidence: Evidence, experiment: str, own: pd.DataFrame) -> list[str]:
    """What an experiment was trained with."""
    facts, counts = own.iloc[0], own.groupby("split")["sequences"].max()
    known = evidence.descriptions.get(experiment, {})
    return [
        experiment, str(facts["cell"]), shown(facts["hidden_size"], "d"), shown(facts["num_layers"], "d"),
        shown(facts["window"], "d"), f"{facts['cost_per_input']:.4g}", str(known.get("init_from") or "–"),
        str(known.get("seed", "–")), f"{counts['val']:,} / {counts['test']:,}",
    ]  # fmt: skip
