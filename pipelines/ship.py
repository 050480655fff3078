"""Put trained models into the box: ``pretrained/<dataset>/<experiment>``, what `make pretrained` registers.

python pipelines/ship.py [DATASET ...] [--params paper/params.yaml] [--data data/paper] [--also NAME ...] [--all]
    [--replace]

Those on each Pareto front, those named, and those that they started from. They take the place of all that the box
holds of the data set: where models would leave it, nothing is written unless --replace is given. Models of data
without known terms (har-mall) are refused, then nothing is written either. The same models give the same bytes.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from skipw.data.atomic import replaced_folder
from skipw.errors import ParamsError, SkipWError
from skipw.evaluation.evaluated import Evaluated
from skipw.evaluation.shipped import shipped_datasets, shipped_page
from skipw.evaluation.shipping import How, choose_models, ship, shipped_experiments
from skipw.evaluation.terms import ShippingError
from skipw.params import DATASETS, Params, load
from skipw.runtime.checksums import write_checksums

log = logging.getLogger("ship")


def ship_all(
    datasets: Sequence[str],
    params: Params,
    data: Path,
    out: Path,
    also: Collection[str],
    *,
    everything: bool,
    replace: bool = False,
) -> None:
    """Ship several data sets, or nothing if one of them can't be.

    Args:
        datasets: to ship; what the box holds of others stays.
        params: scale, front and evaluation.
        data: the root of all outputs.
        out: the box.
        also: further experiments.
        everything: every evaluated experiment.
        replace: whether models may leave the box.
    Raises:
        ShippingError: if models would leave the box, or one may not be shipped or was not written as it is.
    """
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
    if not replace:
        _require_all_stay(out, chosen)
    how = How(params.scale, params.pareto.min_gain, params.evaluate)
    with ExitStack() as written:  # no data set takes its place before all are there
        for dataset, models in chosen.items():
            fresh = written.enter_context(replaced_folder(out / dataset))
            ship(dataset, data, fresh, out / dataset, models, how)
            log.info("%s: %d experiments for %s", dataset, len(models), out / dataset)
    (out / "README.md").write_text(shipped_page(out), encoding="utf-8", newline="\n")
    write_checksums(out)
    for dataset in shipped_datasets(out):
        size = sum(path.stat().st_size for path in (out / dataset).rglob("*") if path.is_file())
        log.info("%s: %.2f MB", out / dataset, size / 1e6)


def _require_all_stay(out: Path, chosen: Mapping[str, Sequence[Evaluated]]) -> None:
    """Raises ShippingError, naming them, if experiments of the box are not among those that would replace them."""
    gone = [
        name
        for dataset, models in chosen.items()
        for name in shipped_experiments(out / dataset)
        if name not in {one.experiment for one in models}
    ]
    if gone:
        raise ShippingError(
            f"{len(gone)} of {out}'s models would leave it: {', '.join(gone)}. Nothing was written; keep them with "
            "--also NAME ..., ship into another folder with --out, or let them go with --replace."
        )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("datasets", nargs="*", metavar="DATASET", help=f"of {', '.join(DATASETS)}; else all")
    parser.add_argument("--params", type=Path, default=Path("paper/params.yaml"))
    parser.add_argument("--data", type=Path, default=Path("data/paper"))
    parser.add_argument("--out", type=Path, default=Path("pretrained"), help="the box; default: pretrained")
    parser.add_argument("--also", nargs="+", default=[], metavar="NAME", help="further experiments")
    parser.add_argument("--all", action="store_true", help="every evaluated experiment")
    parser.add_argument(
        "--replace", action="store_true", help="models that are not shipped anew leave the box"
    )
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
            replace=args.replace,
        )
    except SkipWError as error:
        log.error("ship: %s", error)
        raise SystemExit(1) from error
    log.info("shipped (%.0f s)", time.perf_counter() - start)


if __name__ == "__main__":
    main()
