"""The frame of a self-contained HTML page: style inside, nothing loaded, a substitute announced in red."""

from __future__ import annotations

import html
from typing import Any

import pandas as pd

from skipw.evaluation.source_notes import announcement

__all__ = ["front_table_cells", "metric_text", "notice", "page", "share_text", "shown"]

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1d1d1f; }
body { max-width: 1180px; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.7rem; margin-bottom: 0.3rem; }
h2 { font-size: 1.25rem; margin-top: 2.2rem; }
h3 { font-size: 1.05rem; }
table { border-collapse: collapse; font-size: 0.88rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.7rem; text-align: right; border-bottom: 1px solid #e3e3e3; }
th { border-bottom: 2px solid #888; font-weight: 600; }
th:first-child, td:first-child { text-align: left; white-space: nowrap; }
.table { overflow-x: auto; margin: 0.6rem 0 1.2rem; }
img { max-width: 100%; height: auto; }
figure { margin: 1rem 0; }
figcaption, .quiet { color: #555; font-size: 0.9rem; }
.notice { color: #b00000; border-left: 4px solid #b00000; padding: 0.3rem 0.8rem; font-weight: 600; }
@media (prefers-color-scheme: dark) { html { color-scheme: light; background: #fff; } }
"""


def page(title: str, data_source: str | None, body: str) -> str:
    """A whole page.

    Args:
        title: for people; it is escaped here.
        data_source: as recorded; None where the page is about several.
        body: HTML.
    """
    source = "" if data_source is None else f'<p class="quiet">Data source: {html.escape(data_source)}</p>'
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{html.escape(title)}</title>\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{html.escape(title)}</h1>\n"
        f"{source}\n{notice(data_source)}\n{body}\n</body>\n</html>\n"
    )


def notice(data_source: str | None) -> str:
    """The red notice of a substitute, or nothing."""
    note = None if data_source is None else announcement(data_source)
    return "" if note is None else f'<p class="notice">{html.escape(note)}</p>'


def front_table_cells(front: pd.DataFrame, metric: str) -> list[list[str]]:
    """The front as text: a heading, then one row a point by ascending cost."""
    unit = "accuracy (%)" if metric == "accuracy" else "MSE"
    heading = ["experiment", "budget K", "threshold", f"val {unit}", "val inputs (%)", f"test {unit}",
               "test inputs (%)", "most in a window", "alias"]  # fmt: skip
    rows = [heading]
    halves = (front[front["split"] == split].iterrows() for split in ("val", "test"))
    for (_, val), (_, test) in zip(*halves, strict=True):
        rows.append([
            str(val["experiment"]), shown(val["budget"], "d"), shown(val["threshold"], "g"),
            metric_text(val["value"], metric), share_text(val["inputs_processed"]),
            metric_text(test["value"], metric), share_text(test["inputs_processed"]),
            shown(test["max_inputs_in_window"], "d"), str(val["alias"]).replace(";", ", "),
        ])  # fmt: skip
    return rows


def shown(value: Any, form: str) -> str:
    """A number, or a dash where there is none."""
    return "–" if pd.isna(value) else format(value, form)


def metric_text(value: float, metric: str) -> str:
    """An accuracy in %, an error with three digits."""
    return f"{100 * value:.2f}" if metric == "accuracy" else f"{value:.3g}"


def share_text(share: float) -> str:
    """A share in %."""
    return f"{100 * share:.1f}"
