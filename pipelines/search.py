"""Stage ``search``: the Optuna study of one data set, ``data/prepared/<ds>`` -> ``data/studies/<ds>``.

python pipelines/search.py adding [--params params.yaml] [--data data] [--storage mlruns/study-adding.journal]

The same code as ``skipw search``, with the settings of params.yaml. A study that was stopped goes on when the same
command is given again; one that has as many trials as wanted is only published again.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from skipw.errors import SkipWError
from skipw.params import DATASETS, load

log = logging.getLogger("search")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", choices=DATASETS)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--storage", help="see `skipw search --help`")
    parser.add_argument("--no-tracking", action="store_true", help="keep no journal in MLflow")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    start = time.perf_counter()
    try:
        from skipw.studies.search import run_search

        params = load(args.params)
        outcome = run_search(
            args.dataset,
            params,
            args.params,
            getattr(params.search, args.dataset),
            args.data,
            storage=args.storage,
            tracking=not args.no_tracking,
        )
    except ImportError as error:
        log.error("search %s: Optuna is needed (%s); install the extra `pipeline`", args.dataset, error)
        raise SystemExit(1) from error
    except SkipWError as error:
        log.error("search %s: %s", args.dataset, error)
        raise SystemExit(1) from error
    except KeyboardInterrupt:
        log.error("search %s: stopped; the same command goes on from here", args.dataset)
        raise SystemExit(130) from None
    log.info(
        "%s: %d trials, %d stopped early, front of %d points, hypervolume %.4f (%.0f s)",
        outcome.name,
        outcome.counts.finished,
        outcome.counts.stopped,
        len(outcome.front),
        outcome.hypervolume,
        time.perf_counter() - start,
    )


if __name__ == "__main__":
    main()
