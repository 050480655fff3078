"""What it costs to hold a budget over any L consecutive inputs instead of over aligned windows (docs/any-window.md).

    python benchmarks/any_window.py pretrained/mnist/mnist-skipw-anytime pretrained/adding/adding-skipw \\
        --prepared data/paper/prepared --sequences 1000 --budgets 1 2 4 6 8 [--out benchmarks/results/any-window.json]

Each trained model runs the same test sequences, at threshold 0.5 and each budget K, with its budget held over aligned
windows and over any L inputs. An aligned bound of K/2 (rounded down) holds K over any L inputs as well, without
anything new: it is the third column.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skipw.data.prepared import load_split
from skipw.errors import BudgetError, SkipWError
from skipw.evaluation.sequence_results import run_sequences
from skipw.models.saved import load_model
from skipw.operating_point import OperatingPoint

HEAD = """
| K | aligned | inputs | most in any L | L inputs above K | any | inputs | aligned K/2 | inputs |
|---|---|---|---|---|---|---|---|---|
"""


def per_any_window(updates: NDArray[np.bool_], window: int) -> NDArray[np.int64]:
    """Inputs processed in each run of L consecutive ones. ``updates`` Bool[n, T]; Int64[n, T - L + 1], or [n, 1]."""
    counts = np.pad(updates.astype(np.int64).cumsum(1), ((0, 0), (1, 0)))
    size = min(window, updates.shape[1])
    return counts[:, size:] - counts[:, :-size]


def measured(model: Any, split: Any, budget: int, bound: str) -> dict[str, float]:
    """One run over the split."""
    model.set_bound(bound)
    window = model.rnn.window
    results = run_sequences(model, split, window=window, at=OperatingPoint(budget, 0.5))
    assert results.updates is not None
    counts = per_any_window(results.updates, window)
    metric = "accuracy" if "accuracy" in results.measures else "mse"
    return {
        metric: float(results.measures[metric].mean()),
        "inputs_processed": float(results.inputs_processed.mean()),
        "most_in_aligned": int(results.max_in_window.max()),
        "most_in_any": int(counts.max()),
        "sequences_above": float((counts > budget).any(1).mean()),  # more than K in some L inputs
        "runs_above": float((counts > budget).mean()),  # of all runs of L inputs
    }


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "models", nargs="+", type=Path, help="folders <dataset>/<experiment> of trained models"
    )
    parser.add_argument("--prepared", type=Path, default=Path("data/prepared"))
    parser.add_argument("--sequences", type=int, default=1000, help="of the test split")
    parser.add_argument("--budgets", type=int, nargs="+", required=True)
    parser.add_argument("--out", type=Path, help="results are added to this file")
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        measure(given)
    except SkipWError as error:
        raise SystemExit(f"any_window: {error}") from error


def measure(given: argparse.Namespace) -> None:
    """A table a model; what can't be measured is found before the first of them.

    Raises:
        BudgetError: if a model has no windows, or none of the budgets fits into them.
        DataFormatError: if a model or its data is missing or damaged.
    """
    results = json.loads(given.out.read_text()) if given.out and given.out.exists() else {}
    for folder, model, split, budgets in [prepared(folder, given) for folder in given.models]:
        name, window = f"{folder.parent.name}/{folder.name}", model.rnn.window
        sys.stdout.write(f"\n{name}: L = {window}, {len(split)} test sequences\n{HEAD}")
        rows, aligned = [], {}
        for budget in budgets:
            for one in (budget // 2, budget):
                if one not in aligned:
                    aligned[one] = measured(model, split, one, "aligned")
            row = {"aligned": aligned[budget], "half": aligned[budget // 2]}
            row["any"] = measured(model, split, budget, "any")
            rows.append({"budget": budget, **row})
            sys.stdout.write(line(budget, row))
            sys.stdout.flush()
        results[name] = {"window": window, "sequences": len(split), "threshold": 0.5, "budgets": rows}
        if given.out:
            given.out.write_text(json.dumps(results, indent=1) + "\n")


def prepared(folder: Path, given: argparse.Namespace) -> tuple[Path, Any, Any, list[int]]:
    """A model's folder, the model, its test sequences and the budgets within its windows."""
    model, _ = load_model(folder)
    window = getattr(model.rnn, "window", None)
    if window is None:
        raise BudgetError(f"{folder} has no windows; name models of the kind skipw.")
    budgets = [budget for budget in given.budgets if 0 <= budget <= window]
    if not budgets:
        asked = " ".join(map(str, given.budgets))
        raise BudgetError(f"{folder} takes budgets from 0 to {window}, got --budgets {asked}.")
    split = load_split(given.prepared / folder.parent.name, "test", given.sequences)
    return folder, model, split, budgets


def line(budget: int, row: dict[str, dict[str, float]]) -> str:
    """A line of the table."""
    value = {key: text(one) for key, one in row.items()}
    inputs = {key: f"{100 * one['inputs_processed']:.1f} %" for key, one in row.items()}
    aligned = row["aligned"]
    return (
        f"| {budget} | {value['aligned']} | {inputs['aligned']} | {aligned['most_in_any']} "
        f"| {100 * aligned['runs_above']:.1f} % | {value['any']} | {inputs['any']} "
        f"| {value['half']} | {inputs['half']} |\n"
    )


def text(one: dict[str, float]) -> str:
    """The metric."""
    return f"{100 * one['accuracy']:.2f} %" if "accuracy" in one else f"{one['mse']:.2e}"


if __name__ == "__main__":
    main()
