"""``skipw front``: the Pareto front of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from skipw.cli.app import DATASETS, Data, app, require_dataset
from skipw.cli.printing import print_table
from skipw.errors import DataFormatError

OUTPUTS = Path("data")
PRETRAINED = Path("pretrained")  # the models that came with the code, below the current folder


@app.command()
def front(
    dataset: Annotated[str, typer.Argument(help=f"One of {', '.join(DATASETS)}.")],
    data: Data = OUTPUTS,
    split: Annotated[
        str, typer.Option(help="test (reported) or val (what the front was chosen on).")
    ] = "test",
    server: Annotated[str, typer.Option(help="Where `make ui` listens.")] = "http://127.0.0.1:5000",
    shipped: Annotated[
        bool, typer.Option("--shipped", help="Of the models that came with the code, not of your own.")
    ] = False,
) -> None:
    """The Pareto front of a data set, and the link that compares its models in MLflow.

    Where no front was made here it is that of the shipped models.
    """
    from rich.console import Console
    from rich.table import Table

    require_dataset(dataset)
    path = data / "pareto" / dataset / "front.csv"
    in_box = PRETRAINED / dataset / "front.csv"
    if shipped or (data == OUTPUTS and not path.is_file() and in_box.is_file()):
        path = in_box
    rows = _read_front(path, split)
    console = Console()
    if path == in_box:
        console.print(
            f"Shipped models ({in_box.parent}); `make pretrained` registers them.",
            style="yellow",
            soft_wrap=True,
        )
    metric = rows[0]["metric"]
    table = Table(title=f"{dataset}: Pareto front ({split}, {rows[0]['data_source']})", title_justify="left")
    for name in ("Experiment", "Budget", "Threshold", "Inputs\nprocessed", metric, "Alias"):
        table.add_column(name, justify="left" if name in ("Experiment", "Alias") else "right")
    for row in sorted(rows, key=lambda row: row["inputs_processed"]):
        share, value = f"{row['inputs_processed']:.1%}", _shown(row["value"], metric)
        point = (_plain(row["budget"]), _plain(row["threshold"]))
        table.add_row(row["experiment"], *point, share, value, row["alias"].replace(";", ", "))
    print_table(console, table)
    link = _compare_link(dataset, server, path, path == in_box)
    if link:
        console.print("Compare these models in MLflow (after `make ui`):")
        console.print(link, soft_wrap=True, highlight=False, markup=False)


def _compare_link(dataset: str, server: str, front: Path, shipped: bool) -> str | None:
    """None where MLflow is not installed."""
    try:
        from skipw.tracking.links import compare_link
    except ImportError:
        return None
    return compare_link(dataset, server, front, shipped=shipped)


def _read_front(path: Path, split: str) -> list[dict[str, Any]]:
    """The rows of one split of front.csv."""
    from skipw.evaluation.table import read_grid

    if not path.is_file():
        known = sorted(folder.name for folder in path.parents[1].glob("*") if (folder / path.name).is_file())
        there = f"there are fronts of {', '.join(known)}" if known else "no data set has one yet"
        raise DataFormatError(f"{path} does not exist; {there}. `make repro` makes them.")
    table = read_grid(path).fillna({"alias": ""})
    if table.empty:
        raise DataFormatError(
            f"{path} is empty: no operating point beats the constant predictor; train longer."
        )
    rows = table[table["split"] == split].to_dict("records")
    if not rows:
        raise DataFormatError(f"{path} has no rows of split {split!r}; use test or val.")
    return [{str(key): value for key, value in row.items()} for row in rows]


def _plain(value: Any) -> str:
    """A number without needless digits, nothing for a missing one."""
    import pandas as pd

    return "" if pd.isna(value) else f"{value:g}"


def _shown(value: float, metric: str) -> str:
    return f"{value:.1%}" if metric == "accuracy" else f"{value:.3g}"
