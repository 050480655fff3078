"""Put trained models into the box: ``pretrained/<dataset>/<experiment>``, what `make pretrained` registers.

python pipelines/ship.py [DATASET ...] [--params paper/params.yaml] [--data data/paper] [--also NAME ...] [--all]

Those on each Pareto front, those named, and those that they started from. Models of data without known terms
(har-mall) are refused, then nothing is written. The same models give the same bytes.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from skipw.errors import ParamsError, SkipWError
from skipw.evaluation.shipped import shipped_datasets, shipped_page
from skipw.evaluation.shipping import How, choose_models, ship
from skipw.params import DATASETS, Params, load
from skipw.runtime.checksums import write_checksums

log = logging.getLogger("ship")


def ship_all(
    datasets: Sequence[str], params: Params, data: Path, out: Path, also: Collection[str], *, everything: bool
) -> None:
    """Ship several data sets, or nothing if one of them can't be."""
    if unknown := [name for name in also if not name.startswith(tuple(f"{one}-" for one in datasets))]:
        raise ParamsError(f"--also {' '.join(unknown)}: of none of the data sets {', '.join(datasets)}.")
    chosen = {
        dataset: choose_models(
            dataset,
            data,
            params.pareto.min_gain,
            [name for name in also if name.startswith(f"{dataset}-")],
            everything=everything,
        )
        for dataset in datasets
    }
    how = How(params.scale, params.pareto.min_gain, params.evaluate)
    for dataset, models in chosen.items():
        ship(dataset, data, out, models, how)
        log.info("%s: %d experiments in %s", dataset, len(models), out / dataset)
    (out / "README.md").write_text(shipped_page(out), encoding="utf-8", newline="\n")
    write_checksums(out)
    for dataset in shipped_datasets(out):
        size = sum(path.stat().st_size for path in (out / dataset).rglob("*") if path.is_file())
        log.info("%s: %.2f MB", out / dataset, size / 1e6)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("datasets", nargs="*", metavar="DATASET", help=f"of {', '.join(DATASETS)}; else all")
    parser.add_argument("--params", type=Path, default=Path("paper/params.yaml"))
    parser.add_argument("--data", type=Path, default=Path("data/paper"))
    parser.add_argument("--out", type=Path, default=Path("pretrained"))
    parser.add_argument("--also", nargs="+", default=[], metavar="NAME", help="further experiments")
    parser.add_argument("--all", action="store_true", help="every evaluated experiment")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    start = time.perf_counter()
    try:
        if unknown := sorted(set(args.datasets) - set(DATASETS)):
            raise ParamsError(f"data sets are {', '.join(DATASETS)}, got {', '.join(unknown)}.")
        ship_all(
            args.datasets or DATASETS,
            load(args.params),
            args.data,
            args.out,
            args.also,
            everything=args.all,
        )
    except SkipWError as error:
        log.error("ship: %s", error)
        raise SystemExit(1) from error
    log.info("shipped (%.0f s)", time.perf_counter() - start)


if __name__ == "__main__":
    main()
