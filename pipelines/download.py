"""Stage ``download``: get a data set from the first source that has it, into ``data/raw/<ds>``.

    python pipelines/download.py mnist [--params params.yaml] [--data data]

``SKIPW_MIRROR`` may name a folder or an address to try before the official places.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from skipw.data.places import parts_of
from skipw.data.sources import obtain
from skipw.errors import SkipWError
from skipw.params import DATASETS, Download, load

console = Console(stderr=True, soft_wrap=True)


def announce(message: str) -> None:
    """Say in red that a substitute was taken."""
    console.print(f"[bold red]SUBSTITUTE:[/] [red]{escape(message)}[/]")


def fetch(dataset: str, settings: Download, raw: Path) -> dict[str, Any]:
    """Make ``raw`` hold the data set; returns the record that also lies there as source.json."""
    own = getattr(settings, dataset)
    choices = {key: value for key, value in vars(own).items() if key in ("glove_dimension", "folder")}
    return obtain(dataset, parts_of(dataset, **choices), raw, own.source, announce)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", choices=DATASETS)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        record = fetch(args.dataset, load(args.params).download, args.data / "raw" / args.dataset)
    except SkipWError as error:
        console.print(f"[bold red]download {args.dataset}:[/] {escape(str(error))}")
        raise SystemExit(1) from error
    console.print(f"{escape(record['title'])} from source [bold]{escape(record['data_source'])}[/]")


if __name__ == "__main__":
    main()
