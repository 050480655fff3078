"""``skipw bench``: speed and memory on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skipw.cli.app import Data, app


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
