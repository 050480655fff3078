"""Stage ``pareto``: the front of one data set over all its experiments and a search's best trials, into
``data/pareto/<ds>``.

python pipelines/pareto.py adding [--params params.yaml] [--data data]

Chosen on val, reported on test: front.csv, front.html (interactive, works offline), front.png, summary.json.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from skipw.errors import SkipWError
from skipw.evaluation.front_files import write_front
from skipw.params import DATASETS, load

log = logging.getLogger("pareto")


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
        points = write_front(args.dataset, load(args.params).pareto.min_gain, args.data)
    except SkipWError as error:
        log.error("pareto %s: %s", args.dataset, error)
        raise SystemExit(1) from error
    log.info("%s: %d points of the front, in %s", args.dataset, points, args.data / "pareto" / args.dataset)


if __name__ == "__main__":
    main()
