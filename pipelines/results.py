"""Stage ``results``: the report on the paper's experiments from ``data/paper/results``, into ``docs/``.

    python pipelines/results.py [--params paper/params.yaml] [--data data/paper] [--out docs]

Writes results.md, results/*.csv and images/results/*, and logs the same as a run of MLflow's experiment skipw-paper
(not with --no-mlflow).
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from skipw.errors import SkipWError
from skipw.params import load
from skipw.reproduction.report import FIGURES_FOLDER, REPORT_FILE, TABLES_FOLDER, write_results

log = logging.getLogger("results")

MOST_BYTES = 3_000_000  # of all figures together, which are committed


def results(data: Path, out: Path, title: str, scale: str, *, mlflow: bool) -> None:
    """Write the report and log it."""
    done = write_results(data / "results", out, title=title, scale=scale)
    size = sum(path.stat().st_size for path in (out / FIGURES_FOLDER).iterdir())
    log.info("%s; figures: %.2f MB", out / REPORT_FILE, size / 1e6)
    if size > MOST_BYTES:
        log.warning("the figures are larger than %.0f MB together; thin them out", MOST_BYTES / 1e6)
    for name, value in done["metrics"].items():
        log.info("  %s: %d", name.replace("_", " "), value)
    if mlflow:
        from skipw.tracking.results_run import log_results

        folders = {"figures": out / FIGURES_FOLDER, "tables": out / TABLES_FOLDER}
        pages = {REPORT_FILE: (out / REPORT_FILE).read_text(encoding="utf-8"), "results.html": done["html"]}
        run_id, added = log_results(title, scale, done["metrics"], pages, folders)
        log.info("MLflow run %s of skipw-paper%s", run_id, "" if added else " holds it already")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--params", type=Path, default=Path("paper/params.yaml"))
    parser.add_argument("--data", type=Path, default=Path("data/paper"))
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--no-mlflow", action="store_true", help="write the files only")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        params = load(args.params)
        results(args.data, args.out, params.results.title, params.scale, mlflow=not args.no_mlflow)
    except SkipWError as error:
        log.error("results: %s", error)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
