"""``skipw serve``: a model as a REST service."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skipw.cli.app import app

if TYPE_CHECKING:
    from skipw.tracking.serving.settings import ServeSettings
    from skipw.tracking.serving.source import Source


@app.command()
def serve(
    model_uri: Annotated[
        str,
        typer.Argument(help="models:/NAME@ALIAS, models:/NAME/VERSION, runs:/ID/NAME, or a model's folder."),
    ],
    budget: Annotated[int | None, typer.Option(help="Of requests that name none.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Of requests that name none.")] = None,
    host: Annotated[str, typer.Option(help="There is no authentication: think before you open it.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 5001,
    workers: Annotated[int, typer.Option(help="Processes, one request at a time each.")] = 1,
    max_body: Annotated[int, typer.Option(help="Bytes of a request's body.")] = 16 * 2**20,
    max_sequences: Annotated[int, typer.Option(help="Sequences in a request.")] = 4096,
    max_inputs: Annotated[int, typer.Option(help="Inputs in a request, all sequences together.")] = 2**18,
    queue: Annotated[int, typer.Option(help="Requests that may wait for the model, a worker.")] = 64,
    body_timeout: Annotated[float, typer.Option(help="Seconds for a request to arrive.")] = 20.0,
    access_log: Annotated[
        bool, typer.Option("--access-log", help="A JSON object a request, on stdout.")
    ] = False,
) -> None:
    """Serve a model over HTTP; budget and threshold may differ from request to request.

    MLflow's own scoring app, with limits, strict checks, readiness and metrics around it. Ctrl-C or SIGTERM ends it
    after the requests that are running.
    """
    from skipw.tracking.serving.settings import ServeSettings

    settings = ServeSettings(
        model_uri, budget, threshold, host, port, workers, max_body, max_sequences, max_inputs, queue, body_timeout,
        access_log,
    )  # fmt: skip
    from skipw.tracking.serving.server import bind, serve
    from skipw.tracking.serving.source import check_point, find_source

    with bind(settings) as taken:
        settings = dataclasses.replace(settings, port=taken.getsockname()[1])
        source = find_source(model_uri)
        check_point(source, budget, threshold)
        settings = dataclasses.replace(settings, uri=source.uri)
        _announce(source, settings)
        try:
            serve(settings, source, taken)
        except KeyboardInterrupt:
            typer.echo("Stopped.", err=True)


def _announce(source: Source, settings: ServeSettings) -> None:
    """Which model, where, at which points."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from skipw.tracking.serving.card import point_rows

    console = Console(stderr=True)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"http://{host}:{settings.port}"
    aliases = f" ({', '.join(source.aliases)})" if source.aliases else ""
    console.print(
        f"[bold]{escape(source.name)}[/]{escape(aliases)} at [bold]{escape(address)}[/]", highlight=False
    )
    if not source.is_version:
        console.print(
            f"{source.folder}: a folder, served without any registry", soft_wrap=True, style="yellow"
        )
    if not settings.is_loopback:
        console.print(
            f"{settings.host} is open to other machines and there is no authentication; put a proxy before it.",
            style="bold red",
        )
    if rows := point_rows({"operating_points": source.points}):
        table = Table(*rows[0])
        for row in rows[1:]:
            table.add_row(*row)
        console.print(table)
    _print_hint(console, address)


def _print_hint(console: Any, address: str) -> None:
    console.print(
        f"curl {address}/  shows an example request; /ready answers 200 once the model does", highlight=False
    )
