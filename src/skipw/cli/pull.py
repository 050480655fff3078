"""``skipw pull``: a model out of the registry, into a folder to deploy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skipw.cli.app import app
from skipw.cli.printing import print_table

if TYPE_CHECKING:
    from skipw.runtime.bundle import EdgeBundle


@app.command()
def pull(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL_URI",
            help="models:/skipw-har@knee, models:/skipw-har/3, models:/MODEL_ID, runs:/RUN_ID/NAME, "
            "or a folder such as data/models/har/har-skipw.",
        ),
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New, empty, or an older bundle.")],
) -> None:
    """Write a model into an edge bundle: weights, operating points, ONNX graphs, checksums (docs/bundle.md).

    The bundle is tried out on its own example before this ends.
    """
    from rich.console import Console

    from skipw.runtime.bundle_page import sampling_text
    from skipw.tracking.bundling import pull as pull_model

    console = Console()
    with console.status(f"pulling {model} ..."):
        bundle = pull_model(model, folder)
        checks = {engine: bundle.check(engine) for engine in ("auto", *["onnx"] * bundle.has_graphs)}
    notice = bundle.facts["notice"]
    if notice:
        console.print(notice, style="red", markup=False)
    _show_points(console, bundle)
    if sampled := sampling_text(bundle.facts):
        console.print(sampled, style="yellow", markup=False)
    names = {"auto": "skipw.StreamModel", "onnx": "ONNX Runtime"}
    for engine, check in checks.items():
        verdict = "as the reference" if check.passed else "NOT as the reference"
        console.print(
            f"{names[engine]}: {verdict}; {check.differing} of {check.inputs} inputs decided otherwise, outputs "
            f"differ by at most {check.output:.1e}",
            style=None if check.passed else "red", markup=False, highlight=False,
        )  # fmt: skip
    console.print(
        f"Written: {folder} ({_size(folder)}). Next:", markup=False, highlight=False, soft_wrap=True
    )
    console.print(
        f"  skipw stream {folder} INPUT        and {folder / 'README.md'}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    if not all(check.passed for check in checks.values()):
        raise typer.Exit(1)


def _show_points(console: Any, bundle: EdgeBundle) -> None:
    from rich.table import Table

    from skipw.runtime.bundle_page import point_text, value_text

    if not bundle.points:
        console.print("No measured operating points came with this model.")
        return
    metric = bundle.points[0].metric
    own = [point for point in bundle.points if point.metric == metric]
    shown = [point for point in own if point.pareto] or own
    facts = bundle.facts
    title = f"{facts['model']} {facts['version']}".strip()
    table = Table(title=f"{title}: operating points ({facts['data_source']}, test)", title_justify="left")
    table.add_column("Operating point")
    table.add_column("Inputs processed", justify="right")
    table.add_column(metric, justify="right")
    table.add_column("Alias")
    chosen = bundle.default_point
    for point in shown:
        here = chosen is not None and point.operating_point == chosen
        aliases = [*point.aliases, *(["default"] if here else [])]
        table.add_row(
            point_text(point.budget, point.threshold, point.val_inputs_processed),
            f"{point.test_inputs_processed:.1%}",
            value_text(metric, point.test),
            ", ".join(aliases),
        )
    print_table(console, table)


def _size(folder: Path) -> str:
    """``348 kB``."""
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{total / 1e6:.1f} MB" if total >= 1e6 else f"{total / 1e3:.0f} kB"
