"""Register the models that came with the code in MLflow: ``make pretrained``.

python pipelines/pretrained.py [DATASET ...] [--folder pretrained] [--take-aliases]

Needs no data, no network and no training. They become versions of skipw-<dataset> beside your own, tagged
``shipped``. Aliases that your own models hold stay with them, unless --take-aliases is given.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from skipw.errors import ChecksumError, DataUnavailableError, ParamsError, SkipWError
from skipw.evaluation.front_files import write_front
from skipw.evaluation.shipped import shipped_datasets, unpack
from skipw.params import DATASETS
from skipw.runtime.checksums import CHECKSUMS_FILE, verify_checksums

log = logging.getLogger("pretrained")
EXAMPLES = 2  # sequences in a version's input example
LANES = min(2, os.cpu_count() or 1)


def register(dataset: str, pretrained: Path, take_aliases: bool) -> list[str]:
    """One data set: unpacked into a folder that goes again, its front drawn, registered. Returns what to say."""
    from skipw.tracking.registry import register_front

    with tempfile.TemporaryDirectory(prefix="skipw-pretrained-") as scratch:
        root = Path(scratch)
        facts = unpack(pretrained, dataset, root)
        write_front(dataset, float(facts["min_gain"]), root)
        done = register_front(
            dataset,
            root,
            scale=str(facts["scale"]),
            rates=facts["rates"],
            examples=EXAMPLES,
            shipped=True,
            take_aliases=take_aliases,
        )
    lines = [f"{done.name}: {len(done.added)} added, {len(done.kept)} kept, {len(done.left)} left the front"]
    if done.others:
        held = ", ".join(f"{alias}: version {version}" for alias, version in done.others.items())
        lines.append(f"  the aliases stay with your own models ({held}); --take-aliases moves them")
    return lines + [f"  {line}" for line in done.alias_lines()]


def register_all(datasets: Sequence[str], pretrained: Path, *, take_aliases: bool) -> None:
    """Several data sets, two at a time; those with many models first."""
    order = sorted(datasets, key=lambda dataset: -len(list((pretrained / dataset).glob("*/grid.csv"))))
    with ProcessPoolExecutor(min(LANES, len(order)), get_context("spawn")) as pool:
        jobs = [pool.submit(register, dataset, pretrained, take_aliases) for dataset in order]
        for job in jobs:
            for line in job.result():
                log.info("%s", line)


def find_datasets(pretrained: Path, wanted: Sequence[str]) -> list[str]:
    """The data sets to register, every file of the folder verified.

    Raises:
        DataUnavailableError: there are no models, or none of a data set that was named.
        ChecksumError: a file was changed, cut short, added or lost.
    """
    if unknown := sorted(set(wanted) - set(DATASETS)):
        raise ParamsError(f"data sets are {', '.join(DATASETS)}, got {', '.join(unknown)}.")
    there = shipped_datasets(pretrained)
    if not there or set(wanted) - set(there):
        raise DataUnavailableError(
            f"{pretrained} holds models of {', '.join(there) or 'no data set'}, wanted "
            f"{', '.join(wanted) or 'any'}; `make repro` trains models, pipelines/ship.py puts them there."
        )
    try:
        verify_checksums(pretrained)
    except ChecksumError as error:
        raise ChecksumError(
            f"{error} For shipped models that means: `git restore {pretrained}`; `git status` shows what "
            f"{CHECKSUMS_FILE} does not know."
        ) from error
    return [dataset for dataset in there if not wanted or dataset in wanted]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("datasets", nargs="*", metavar="DATASET", help=f"of {', '.join(DATASETS)}; else all")
    parser.add_argument("--folder", type=Path, default=Path("pretrained"))
    parser.add_argument("--take-aliases", action="store_true", help="also from models that were trained here")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    start = time.perf_counter()
    try:
        datasets = find_datasets(args.folder, args.datasets)
        register_all(datasets, args.folder, take_aliases=args.take_aliases)
    except ImportError as error:
        log.error("pretrained: MLflow is needed (%s); install the extra `pipeline`", error)
        raise SystemExit(1) from error
    except SkipWError as error:
        log.error("pretrained: %s", error)
        raise SystemExit(1) from error
    log.info(
        "registered (%.0f s); `make ui` shows them, `skipw front DATASET` lists a front",
        time.perf_counter() - start,
    )


if __name__ == "__main__":
    main()
