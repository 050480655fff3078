"""Stage ``report``: results of all data sets that have a front, into ``data/report``.

python pipelines/report.py [--params params.yaml] [--data data]

Writes report.md, report.html (self-contained), metrics.json, figures/*.png, and plots/<ds>.csv for
``dvc plots``.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from skipw.data.atomic import replaced_folder
from skipw.errors import DataFormatError, SkipWError
from skipw.evaluation.report import write_report
from skipw.evaluation.results import read_evidence
from skipw.params import DATASETS, load

log = logging.getLogger("report")


def report(title: str, scale: str, data: Path) -> Path:
    """Write the report; its folder appears complete or not at all."""
    datasets = [name for name in DATASETS if (data / "pareto" / name / "front.csv").exists()]
    if not datasets:
        raise DataFormatError(
            f"found no front under {data / 'pareto'}; run the pareto stage of a data set first."
        )
    evidence = [read_evidence(dataset, data) for dataset in datasets]
    out = data / "report"
    with replaced_folder(out) as folder:
        write_report(folder, evidence, title, scale)
    log.info("report over %s in %s", ", ".join(datasets), out)
    return out


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        params = load(args.params)
        report(params.report.title, params.scale, args.data)
    except SkipWError as error:
        log.error("report: %s", error)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
