"""The report on the paper's experiments: docs/results.md, its figures and tables, and the same as one page."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from skipw.data.atomic import replaced_folder
from skipw.errors import DataFormatError
from skipw.evaluation.document import Block, Figure, Heading, Notice, Paragraph, Table, as_html, as_markdown
from skipw.evaluation.source_notes import announcement
from skipw.reproduction import flops
from skipw.reproduction.analyses import ANALYSES
from skipw.reproduction.cells import MOST_ROWS, table_cells
from skipw.reproduction.claims_behaviour import BEHAVIOUR_CLAIMS
from skipw.reproduction.claims_front import FRONT_CLAIMS
from skipw.reproduction.evidence import FAILS, HOLDS, TITLES, UNTESTED, Claim, Evidence
from skipw.reproduction.goals import GOALS
from skipw.reproduction.work import REMEDY

__all__ = ["FIGURES_FOLDER", "REPORT_FILE", "TABLES_FOLDER", "judge", "write_results"]

REPORT_FILE = "results.md"
TABLES_FOLDER = Path("results")
FIGURES_FOLDER = Path("images") / "results"
GOAL_WORDS = {HOLDS: "reached", FAILS: "not reached", UNTESTED: "not run"}
#: Long or only for drawing: linked, not shown.
LINKED = ("-points", "-first-inputs", "-thr0", "-models", "switching", "windows", "variants", "per-sequence")


def judge(evidence: Evidence, claims: Sequence[Claim]) -> pd.DataFrame:
    """Every claim with its answer.

    Returns:
        columns place, claim, rule, answer, figures.
    """
    rows = [(c.place, c.statement, c.rule, *vars(c.test(evidence)).values()) for c in claims]
    return pd.DataFrame(rows, columns=["place", "claim", "rule", "answer", "figures"])


def write_results(results: Path, out: Path, *, title: str, scale: str) -> dict[str, Any]:
    """Put the report together.

    Args:
        results: the analyses' folder.
        out: where results.md goes; tables go to ``results/``, figures to ``images/results/`` below it, which are
            replaced, all at once.
        title: of the report.
        scale: laptop, paper or tiny.
    Returns:
        ``html``, the report as one page, and ``metrics``, how many claims hold and goals are reached.
    Raises:
        DataFormatError: if no analysis has a table, as where no model was evaluated; ``out`` is left as it was.
    """
    evidence = Evidence(results)
    found = {name: evidence.findings(name) for name in ANALYSES}
    if not any(one["tables"] for one in found.values() if one):
        raise DataFormatError(f"{results}: expected analyses with at least one table, found none; {REMEDY}")
    claims, goals = judge(evidence, [*FRONT_CLAIMS, *BEHAVIOUR_CLAIMS]), judge(evidence, GOALS)
    goals["answer"] = goals["answer"].map(GOAL_WORDS)
    blocks = [*_introduction(evidence, scale, claims, goals), *_answers(claims, goals)]
    with replaced_folder(out / TABLES_FOLDER) as tables, replaced_folder(out / FIGURES_FOLDER) as figures:
        claims.to_csv(tables / "claims.csv", index=False, lineterminator="\n")
        goals.to_csv(tables / "goals.csv", index=False, lineterminator="\n")
        for name, heading in ANALYSES.items():
            blocks += _section(heading, name, found[name], results, tables, figures)
    blocks += _shortcomings(evidence, claims, goals, found)
    blocks += _rules(claims, goals)
    (out / REPORT_FILE).write_text(as_markdown(title, blocks), encoding="utf-8")
    return {"html": as_html(title, blocks, out), "metrics": _metrics(claims, goals)}


def _metrics(claims: pd.DataFrame, goals: pd.DataFrame) -> dict[str, float]:
    counts = {f"claims_{name}": float((claims["answer"] == verdict).sum())
              for name, verdict in (("hold", HOLDS), ("fail", FAILS), ("untested", UNTESTED))}  # fmt: skip
    return counts | {"goals_reached": float((goals["answer"] == GOAL_WORDS[HOLDS]).sum())}


def _introduction(evidence: Evidence, scale: str, claims: pd.DataFrame, goals: pd.DataFrame) -> list[Block]:
    numbers = claims["answer"].value_counts()
    sources = {name: str(evidence.points(name)["data_source"].iloc[0]) for name in evidence.datasets}
    blocks: list[Block] = []
    if scale != "paper":
        blocks.append(
            Notice(f"These models are of the {scale} scale: the figures are not the paper's experiments.")
        )
    names = ", ".join(TITLES[name] for name in sources) or "none"
    text = (
        f"The experiments of SkipW (Mayet et al., ICLR 2021) on our own models. Data sets: {names}; scale: {scale}. "
        "Every model was evaluated at all its operating points on val and on test. Whatever is chosen (which model a "
        "curve shows, the best point within a cost) is chosen on val; what is reported is test. K is the budget, the "
        "most inputs processed in any window of L; thr is the threshold; inputs processed is the mean share of a "
        "sequence's inputs. On the Adding Task the metric is half the squared error, as in the paper. This text, its "
        "figures and its tables are written by `make results` from the models; no number is typed by hand, but for "
        "the paper's own."
    )
    blocks.append(Paragraph(text))
    for source in dict.fromkeys(sources.values()):
        if note := announcement(source):
            blocks.append(Notice(note))
    for dataset in evidence.datasets:
        points = evidence.points(dataset)
        skipw = points[points["model"] == "skipw"]
        if len(skipw) and not (skipw["variant"] == "").any():
            kinds = "; ".join(sorted(skipw["variant"].unique()))
            blocks.append(Paragraph(f"{TITLES[dataset]} has no SkipW trained as in the paper; the claims are tested "
                                    f"on what there is: {kinds}."))  # fmt: skip
    reached = int((goals["answer"] == GOAL_WORDS[HOLDS]).sum())
    text = (
        f"Of the paper's {len(claims)} claims that we put as rules {int(numbers.get(HOLDS, 0))} hold on these models, "
        f"{int(numbers.get(FAILS, 0))} do not, {int(numbers.get(UNTESTED, 0))} can't be tested here. Of {len(goals)} "
        f"goals beyond the paper {reached} are reached."
    )
    blocks.append(Paragraph(text))
    return blocks


def _answers(claims: pd.DataFrame, goals: pd.DataFrame) -> list[Block]:
    def cells(table: pd.DataFrame, heading: tuple[str, ...]) -> list[list[str]]:
        texts = table[["claim", "place", "answer", "figures"]].astype(str).to_numpy().tolist()
        return [list(heading), *([str(number), *row] for number, row in enumerate(texts, start=1))]

    return [
        Heading("The paper's claims"),
        Table(
            cells(claims, ("", "claim", "paper", "answer", "what decides it")), "The rules stand at the end."
        ),
        Heading("Goals beyond the paper"),
        Table(cells(goals, ("", "goal", "data", "answer", "what decides it"))),
    ]


def _rules(claims: pd.DataFrame, goals: pd.DataFrame) -> list[Block]:
    def cells(table: pd.DataFrame, what: str) -> list[list[str]]:
        return [
            ["", what, "rule"],
            *([str(n), r["claim"], r["rule"]] for n, (_, r) in enumerate(table.iterrows(), 1)),
        ]

    intro = "The rules are code (`src/skipw/reproduction/claims_*.py`, `goals.py`); in words:"
    return [
        Heading("The rules"),
        Paragraph(intro),
        Table(cells(claims, "claim")),
        Table(cells(goals, "goal")),
    ]


def _section(
    heading: str, name: str, found: Mapping[str, Any] | None, results: Path, tables: Path, figures: Path
) -> list[Block]:
    """One analysis: figures, tables that are short enough, links to the others, what was not run.

    Copies go into the folders ``tables`` and ``figures``; links say where these will lie.
    """
    blocks: list[Block] = [Heading(heading)]
    if found is None:
        return [*blocks, Paragraph("Not run.")]
    if name == "costs":
        blocks.append(Paragraph(" ".join(str(flops.__doc__).split())))
    blocks += [Paragraph(note) for note in found["notes"]]
    for figure in found["figures"]:
        path = FIGURES_FOLDER / f"{name}-{figure['file']}"
        shutil.copyfile(results / name / figure["file"], figures / path.name)
        blocks.append(Figure(path.as_posix(), figure["caption"]))
    links = []
    for entry in found["tables"]:
        table = pd.read_csv(results / name / f"{entry['name']}.csv")
        path = TABLES_FOLDER / f"{name}-{entry['name']}.csv"
        table.to_csv(tables / path.name, index=False, lineterminator="\n", float_format="%.6g")
        link = f"[{path.name}]({path.as_posix()})"
        if name != "trained" and entry["name"].endswith(LINKED):
            links.append(f"{link}: {entry['caption']}")
            continue
        cells, shortened = table_cells(table, most_rows=1000 if name == "trained" else MOST_ROWS)
        more = f"Not all rows; all of them: {link}" if shortened else link
        blocks.append(Table(cells, f"{entry['caption']} {more}"))
    if links:
        blocks.append(Paragraph("More tables: " + " ".join(links)))
    if found["missing"]:
        blocks.append(Paragraph(f"Not run: {'; '.join(found['missing'])}."))
    return blocks


def _shortcomings(
    evidence: Evidence,
    claims: pd.DataFrame,
    goals: pd.DataFrame,
    found: Mapping[str, Mapping[str, Any] | None],
) -> list[Block]:
    blocks: list[Block] = [Heading("What falls short")]
    for text, table, verdict in (
        ("Claims that do not hold here", claims, FAILS),
        ("Goals not reached", goals, GOAL_WORDS[FAILS]),
        ("Claims that can't be tested here", claims, UNTESTED),
        ("Goals not run", goals, GOAL_WORDS[UNTESTED]),
    ):
        own = table[table["answer"] == verdict]
        lines = [f"{row['claim'].rstrip('.')} ({row['figures']})." for _, row in own.iterrows()]
        blocks.append(Paragraph(f"{text}: {' '.join(lines) if lines else 'none.'}"))
    for dataset in evidence.datasets:
        source = str(evidence.points(dataset)["data_source"].iloc[0])
        if announcement(source):
            blocks.append(Paragraph(f"{TITLES[dataset]} is {source}, not the paper's data; compare models with one "
                                    "another there, not with the paper's numbers."))  # fmt: skip
    absent = [f"{ANALYSES[name]} ({what})" for name, one in found.items() if one for what in one["missing"]]
    if absent:
        blocks.append(Paragraph(f"Not run, by section: {'; '.join(absent)}."))
    return blocks
