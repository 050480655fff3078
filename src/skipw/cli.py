"""The ``skipw`` command: ``doctor``, ``front``, ``predict`` and ``bench``.

Everything heavy is imported inside the commands, so that ``skipw --help`` answers at once.
"""

from __future__ import annotations

import json
import logging
import platform
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import skipw
from skipw.errors import DataFormatError, SkipWError


class Commands(TyperGroup):
    """An error of this package is a message and exit status 1, not a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SkipWError as error:
            problem = str(error)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("skipw"):
                raise
            problem = f"{error}; install the missing part: pip install 'skipw[all]'."
        typer.secho(f"skipw: {problem}", fg="red", err=True)
        raise typer.Exit(1)


app = typer.Typer(
    cls=Commands,
    help="Recurrent networks that skip inputs under a strict budget.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
DATASETS = ("adding", "mnist", "imdb", "har")
PACKAGES = ("torch", "numpy", "pandas", "lightning", "dvc", "mlflow")
Data = Annotated[Path, typer.Option(help="Folder of the pipeline's outputs.")]


@app.callback()
def prepare(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what goes on inside.")] = False,
) -> None:
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s")


@app.command()
def doctor(data: Data = Path("data")) -> None:
    """What is installed, which backends and devices there are, which data sources answer."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    versions = Table("Package", "Version", title="Installed", title_justify="left")
    versions.add_row("Python", platform.python_version())
    versions.add_row("skipw", skipw.__version__)
    for name in PACKAGES:
        versions.add_row(name, _version(name))
    console.print(versions)

    backends = Table("Backend", "Here", title="Backends", title_justify="left")
    for name, answer in _backends().items():
        backends.add_row(name, _coloured(answer))
    console.print(backends)
    console.print(f"Devices: {', '.join(_devices())}")

    sources = Table("Data set", "Part", "Place", "Answers", title="Data sources", title_justify="left")
    with console.status("asking the data sources ..."), ThreadPoolExecutor() as pool:
        answers = dict(zip(DATASETS, pool.map(_places, DATASETS), strict=True))
    for dataset, places in answers.items():
        for part, place, answer in places:
            sources.add_row(dataset, part, place, _coloured(answer))
        sources.add_row(dataset, "", f"in {data / 'raw' / dataset}", _recorded(data / "raw" / dataset))
        sources.add_section()
    console.print(sources)


@app.command()
def front(
    dataset: Annotated[str, typer.Argument(help=f"One of {', '.join(DATASETS)}.")],
    data: Data = Path("data"),
    split: Annotated[
        str, typer.Option(help="test (reported) or val (what the front was chosen on).")
    ] = "test",
    server: Annotated[str, typer.Option(help="Where `make ui` listens.")] = "http://127.0.0.1:5000",
) -> None:
    """The Pareto front of a data set, and the link that compares its models in MLflow."""
    from rich.console import Console
    from rich.table import Table

    rows = _read_front(data / "pareto" / dataset / "front.csv", split)
    console = Console()
    metric = rows[0]["metric"]
    table = Table(title=f"{dataset}: Pareto front ({split}, {rows[0]['data_source']})", title_justify="left")
    for name in ("Experiment", "Budget", "Threshold", "Inputs processed", metric, "Alias"):
        table.add_column(
            name, justify="left" if name in ("Experiment", "Alias") else "right", overflow="fold"
        )
    for row in sorted(rows, key=lambda row: row["inputs_processed"]):
        share, value = f"{row['inputs_processed']:.1%}", _shown(row["value"], metric)
        point = (_plain(row["budget"]), _plain(row["threshold"]))
        table.add_row(row["experiment"], *point, share, value, row["alias"].replace(";", ", "))
    console.print(table)
    link = _compare_link(dataset, server)
    if link:
        console.print("Compare these models in MLflow (after `make ui`):")
        console.print(link, soft_wrap=True, highlight=False, markup=False)


@app.command()
def predict(
    model: Annotated[
        str, typer.Argument(help="A folder such as data/models/har/har-skipw, or models:/NAME@ALIAS.")
    ],
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="A .json, .csv or .txt file, or - (standard input).")
    ],
    budget: Annotated[int | None, typer.Option(help="Most inputs processed in a window.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Least importance of a processed input.")] = None,
) -> None:
    """Predict sequences at an operating point; one JSON object a line.

    JSON: a sequence (rows of numbers), or a list of sequences, or of texts. CSV: one sequence, a row an
    input. Text: a sequence a line, for models that read texts. Standard input may be any of the three.
    """
    sequences = _sequences(source)
    from skipw.tracking.predictor import load_predictor

    point = {"budget": budget, "threshold": threshold}
    answers = load_predictor(model).predict(sequences, {k: v for k, v in point.items() if v is not None})
    for answer in json.loads(answers.to_json(orient="records")):
        typer.echo(json.dumps(answer, ensure_ascii=False))


@app.command()
def bench(
    quick: Annotated[bool, typer.Option(help="Under a minute: fewer rounds, shares and parts.")] = False,
    workload: Annotated[
        list[str] | None, typer.Option(help="Only the speed of this one; repeatable.")
    ] = None,
    backend: Annotated[
        list[str] | None, typer.Option(help="Who competes; repeatable. Default: native, else compact.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the results to this JSON file too.")] = None,
    data: Data = Path("data"),
) -> None:
    """Speed and memory on this machine against torch.nn's dense layers (docs/speed.md).

    The backends' tests, which `make bench` runs first, are not part of the package: this measures without them.
    """
    from rich.console import Console

    from skipw.benchmark.report import write_results
    from skipw.benchmark.suite import Plan, run_suite
    from skipw.benchmark.table import terminal

    plan = Plan.make(quick=quick, backends=backend or (), workloads=workload or ())
    console = Console()
    console.print("Measuring without the backends' tests (`make bench` runs them first).", markup=False)
    with console.status("measuring ...") as status:
        results = run_suite(plan, data=data, say=status.update)
    for table in terminal(results):
        console.print(table)
    if out is not None:
        write_results(results, out)
        console.print(f"written: {out}", markup=False)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _backends() -> dict[str, str]:
    from skipw.ops.dispatch import available

    return available()


def _devices() -> list[str]:
    import torch

    found = [f"CPU ({torch.get_num_threads()} threads)"]
    found += [f"CUDA {i}: {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    return found


def _places(dataset: str) -> list[tuple[str, str, str]]:
    from skipw.data.places import probe

    return probe(dataset)


def _recorded(raw: Path) -> str:
    """Where the data that is there came from."""
    from skipw.data.sources import read_record

    return str(read_record(raw).get("data_source", "nothing yet"))


def _coloured(answer: str) -> str:
    from rich.markup import escape

    return f"[{'green' if answer.startswith('yes') else 'yellow'}]{escape(answer)}[/]"


def _compare_link(dataset: str, server: str) -> str | None:
    """None where MLflow is not installed."""
    try:
        from skipw.tracking.links import compare_link
    except ImportError:
        return None
    return compare_link(dataset, server)


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


def _sequences(source: str) -> list[Any]:
    """The sequences in a file or on standard input.

    Raises:
        DataFormatError: no such file, or it is none of JSON, CSV and text.
    """
    path = Path(source)
    try:
        content = sys.stdin.read() if source == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataFormatError(
            f"{source} cannot be read ({error}); give a .json, .csv or .txt file."
        ) from error
    if not content.strip():
        raise DataFormatError(f"{source} is empty; give at least one sequence.")
    readers: dict[str, Callable[[str, str], list[Any]]] = {".json": _from_json, ".csv": _from_csv}
    reader = readers.get(path.suffix.lower(), _from_text)
    if source == "-":
        reader = (
            _from_json if content.lstrip()[0] in '["{' else _from_csv if _is_table(content) else _from_text
        )
    return reader(content, source)


def _from_json(content: str, source: str) -> list[Any]:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise DataFormatError(f"{source} is not JSON ({error}).") from error
    if isinstance(found, dict):
        found = found.get("sequence", found.get("sequences"))
    if isinstance(found, str):
        return [found]
    if not isinstance(found, list) or not found:
        raise DataFormatError(
            f"{source}: expected a sequence or a list of sequences, got {type(found).__name__}."
        )
    depth, inner = 0, found
    while isinstance(inner, list) and inner:
        depth, inner = depth + 1, inner[0]
    alone = depth <= 2 and not isinstance(inner, str)  # rows of numbers, or plain numbers
    return [found] if alone else found


def _from_csv(content: str, source: str) -> list[Any]:
    rows = []
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            rows.append([float(cell) for cell in line.split(",")])
        except ValueError:
            if number > 1:
                raise DataFormatError(f"{source}, line {number}: expected numbers, got {line!r}.") from None
    return [rows]


def _from_text(content: str, source: str) -> list[Any]:
    return [line for line in content.splitlines() if line.strip()]


def _is_table(content: str) -> bool:
    first = content.strip().splitlines()[-1].split(",")
    try:
        return bool([float(cell) for cell in first])
    except ValueError:
        return False


if __name__ == "__main__":
    app()
