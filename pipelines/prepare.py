"""Stage ``prepare``: plain arrays of a downloaded data set, ``data/raw/<ds>`` -> ``data/prepared/<ds>``.

python pipelines/prepare.py mnist [--params params.yaml] [--data data]
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from skipw.data.adding import prepare_adding
from skipw.data.har import prepare_har
from skipw.data.imdb import prepare_imdb
from skipw.data.mnist import prepare_mnist
from skipw.data.prepared import load_meta
from skipw.errors import SkipWError
from skipw.params import DATASETS, Prepare, load

console = Console(stderr=True, soft_wrap=True)


def prepare(dataset: str, settings: Prepare, raw: Path, out: Path) -> None:
    """Prepare one data set; ``out`` appears complete or not at all."""
    match dataset:
        case "adding":
            prepare_adding(out, seed=settings.seed, **asdict(settings.adding))
        case "mnist":
            prepare_mnist(raw, out, seed=settings.seed, **asdict(settings.mnist))
        case "imdb":
            prepare_imdb(raw, out, seed=settings.seed, **asdict(settings.imdb))
        case "har":
            prepare_har(raw, out, seed=settings.seed, **asdict(settings.har))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", choices=DATASETS)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    out = args.data / "prepared" / args.dataset
    start = time.perf_counter()
    try:
        prepare(args.dataset, load(args.params).prepare, args.data / "raw" / args.dataset, out)
    except SkipWError as error:
        console.print(f"[bold red]prepare {args.dataset}:[/] {escape(str(error))}")
        raise SystemExit(1) from error
    meta = load_meta(out)
    sizes = ", ".join(f"{name} {size:,}" for name, size in meta["sizes"].items())
    console.print(
        f"{escape(meta['title'])}: {sizes} sequences of {meta['num_steps']} "
        f"({time.perf_counter() - start:.1f} s)"
    )


if __name__ == "__main__":
    main()
