"""The command line's root; its commands are registered by the modules beside it."""

from __future__ import annotations

import difflib
import logging
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from skipw.errors import ParamsError, SkipWError

__all__ = ["DATASETS", "Data", "app", "require_dataset"]


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
Data = Annotated[Path, typer.Option(help="Folder of the pipeline's outputs.")]


def require_dataset(name: str) -> None:
    """Raises ParamsError unless it is a data set's name."""
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ParamsError(f"expected a data set of {', '.join(DATASETS)}, got {name!r}{hint}")


@app.callback()
def prepare(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what goes on inside.")] = False,
) -> None:
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s")
