"""Stage ``reproduce``: one analysis of the paper on the models at hand, into ``data/paper/results/NAME``.

    python pipelines/reproduce.py tradeoff [--params paper/params.yaml] [--data data/paper]

``all`` runs every analysis. What is missing is said in findings.json, and stops nothing; only where no model at all
was evaluated is it an error.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from skipw.data.atomic import replaced_folder
from skipw.errors import DataFormatError, SkipWError
from skipw.params import load
from skipw.reproduction.analyses import ANALYSES, analyse
from skipw.reproduction.work import REMEDY, Work
from skipw.settings import Reproduce

log = logging.getLogger("reproduce")


def reproduce(names: Sequence[str], how: Reproduce, data: Path) -> None:
    """Run analyses; each folder appears complete or not at all.

    Raises:
        DataFormatError: if no data set has an evaluated model; no folder is touched.
    """
    import torch

    torch.set_num_threads(how.num_threads)
    torch.set_flush_denormal(True)
    work = Work(data, sequences=how.sequences, batch_size=how.batch_size)
    if not work.datasets:
        raise DataFormatError(f"{data}: expected prepared data and an evaluated model, found none; {REMEDY}")
    for name in names:
        start = time.perf_counter()
        with replaced_folder(data / "results" / name) as folder:
            found = analyse(name, work, folder)
        counts = f"{len(found['tables'])} tables, {len(found['figures'])} figures"
        log.info("%s: %s (%.0f s)", name, counts, time.perf_counter() - start)
        for what in found["missing"]:
            log.info("  not run: %s", what)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("analysis", choices=[*ANALYSES, "all"])
    parser.add_argument("--params", type=Path, default=Path("paper/params.yaml"))
    parser.add_argument("--data", type=Path, default=Path("data/paper"))
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    names = list(ANALYSES) if args.analysis == "all" else [args.analysis]
    try:
        reproduce(names, load(args.params).reproduce, args.data)
    except SkipWError as error:
        log.error("reproduce %s: %s", args.analysis, error)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
