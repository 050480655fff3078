"""Tables of findings as text for a document: units in the heading, few digits, long tables thinned by their budgets."""

from __future__ import annotations

from typing import Any

import pandas as pd

__all__ = ["MOST_ROWS", "table_cells"]

MOST_ROWS = 40
SHARES = {
    "inputs", "level", "limit", "mean", "max", "std", "p1", "p2", "p3", "p4", "missed_first", "missed_second",
    "largest", "inputs_saved", "flops_saved", "inputs_mean", "inputs_std",
}  # fmt: skip
PERCENT = {"accuracy", "our_accuracy", "our_inputs", "val_accuracy", "difference", "first_half", "second_half",
           "paper_first_half", "paper_second_half"}  # fmt: skip
WORDS = {
    "dataset": "data set", "window": "L", "budget": "K", "cost_per_input": "λ", "threshold": "thr",
    "num_steps": "T", "max_in_window": "most in a window", "data_source": "source", "level": "at most",
    "skipw": "SkipW", "skipw_any": "SkipW of any training", "thrrnn": "ThrRNN", "skiprnn": "SkipRNN",
    "init_from": "started from", "value": "metric",
}  # fmt: skip


def table_cells(table: pd.DataFrame, most_rows: int = MOST_ROWS) -> tuple[list[list[str]], bool]:
    """A heading and rows of text.

    Accuracies and shares in %, the Adding Task's half squared error as it is; a column that only says on which data
    set a one-set table is goes.

    Args:
        table: of an analysis.
        most_rows: how many to show.
    Returns:
        the cells, and whether rows were left out.
    """
    shown = _thinned(table, most_rows)
    errors = shown["dataset"] == "adding" if "dataset" in shown else pd.Series(False, index=shown.index)
    names = [str(name) for name in shown.columns if name != "dataset" or shown["dataset"].nunique() > 1]
    names = [
        name for name in names if shown[name].notna().any() and not (shown[name].astype(str) == "").all()
    ]
    only_errors = bool(errors.all()) and len(errors) > 0
    heading = [_heading(name, errors=only_errors, mixed=bool(errors.any())) for name in names]
    rows = [
        [_cell(name, row[name], error=bool(error)) for name in names]
        for (_, row), error in zip(shown.iterrows(), errors, strict=True)
    ]
    return [heading, *rows], len(shown) < len(table)


def _thinned(table: pd.DataFrame, most_rows: int) -> pd.DataFrame:
    """Of too many rows: those at K = 1, L / 4, L / 2 and L, then the first ones."""
    if len(table) > most_rows and {"budget", "window"} <= set(table.columns):
        window, budget = (table[name].astype(float) for name in ("window", "budget"))
        places = [budget == 1, budget == window]
        places += [budget == (window * share).round() for share in (0.25, 0.5)]
        kept = budget.isna()
        for place in places:
            kept |= place
        table = table[kept]
    return table.head(most_rows)


def _is_value(name: str) -> bool:
    return name in ("value", "constant_predictor") or name.endswith("_value") or name.startswith("value_")


def _is_share(name: str) -> bool:
    return name in SHARES or (name.endswith("_inputs") and name not in PERCENT)


def _heading(name: str, *, errors: bool, mixed: bool) -> str:
    base = name
    for ending, word in (("_value", ""), ("_inputs", " inputs")):
        if name.endswith(ending) and name not in PERCENT:
            stem = name.removesuffix(ending)
            base = WORDS.get(stem, stem.replace("_", " ")) + word
    text = base if base != name else WORDS.get(name, name.replace("_", " "))
    if _is_value(name):
        return f"{text}, {'½MSE' if errors else '½MSE or %' if mixed else '%'}"
    return f"{text}, %" if _is_share(name) or name in PERCENT else text


def _cell(name: str, value: Any, *, error: bool) -> str:
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return "–"
    if isinstance(value, str):
        return value
    if _is_value(name) or name == "value_std":
        return f"{value:.2e}" if error else f"{100 * value:.1f}"
    if _is_share(name):
        return f"{100 * value:.1f}"
    if name in PERCENT:
        return f"{value:+.1f}" if name == "difference" else f"{value:.1f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    number = float(value)
    return f"{number:,.0f}" if number.is_integer() and abs(number) >= 1000 else f"{number:.4g}"
