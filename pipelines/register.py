"""Stage ``register``: the models on a data set's Pareto front into MLflow's registry.

python pipelines/register.py adding [--params params.yaml] [--data data]

Files are the truth: runs, grids and versions that MLflow lacks are made again, so an empty journal fills too.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from skipw.errors import SkipWError
from skipw.params import DATASETS, load

log = logging.getLogger("register")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", choices=DATASETS)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    start = time.perf_counter()
    try:
        from skipw.tracking.registry import register_front

        params = load(args.params)
        done = register_front(
            args.dataset,
            args.data,
            scale=params.scale,
            rates=params.evaluate.random.rates,
            examples=params.register.example_sequences,
        )
    except ImportError as error:
        log.error("register %s: MLflow is needed (%s); install the extra `pipeline`", args.dataset, error)
        raise SystemExit(1) from error
    except SkipWError as error:
        log.error("register %s: %s", args.dataset, error)
        raise SystemExit(1) from error
    counts = f"{len(done.added)} added, {len(done.kept)} kept, {len(done.left)} left the front"
    log.info("%s: %s (%.0f s)", done.name, counts, time.perf_counter() - start)
    for line in done.alias_lines():
        log.info("  %s", line)


if __name__ == "__main__":
    main()
