"""Stage ``train``: train one experiment of params.yaml, into ``data/models/<dataset>/<experiment>``.

python pipelines/train.py adding-skipw [--params params.yaml] [--data data] [--no-tracking]

A stopped training goes on where it was when the same command is given again. With --pretrained, or SKIPW_PRETRAINED
in the environment, a model that came with the code is taken instead of training the same again (docs/pretrained.md).
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from skipw.data.prepared import load_meta
from skipw.errors import DataFormatError, DataUnavailableError, ParamsError, SkipWError
from skipw.models.saved import load_description
from skipw.params import Params, TrainSettings, experiment_settings, load

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

log = logging.getLogger("train")


def train(
    settings: TrainSettings,
    scale: str,
    data: Path,
    scratch: Path,
    *,
    tracking: bool,
    pretrained: Path | None = None,
) -> dict[str, float]:
    """Train one experiment, whose folder appears complete or not at all; returns its best validation.

    Args:
        settings: of the experiment.
        scale: laptop, paper or tiny.
        data: the root of all outputs.
        scratch: where unfinished trainings lie.
        tracking: whether to keep a journal in MLflow.
        pretrained: a folder of shipped models, one of which is taken where it is what this training would give.
    Raises:
        DataFormatError: if the model to start from was not trained.
        DataUnavailableError: if there is no such folder of shipped models.
    """
    from skipw.training import fit, scratch_folder

    if pretrained is not None and not pretrained.is_dir():
        raise DataUnavailableError(
            f"there is no folder {pretrained}, which --pretrained or SKIPW_PRETRAINED names for shipped models; they "
            "lie in pretrained. Without either every experiment is trained."
        )
    prepared = data / "prepared" / settings.dataset
    models = data / "models" / settings.dataset
    init_from = None if settings.init_from is None else models / settings.init_from
    if init_from is not None and not (init_from / "model.json").exists():
        raise DataFormatError(
            f"{init_from} has no model; train it first: python pipelines/train.py {settings.init_from}"
        )
    if pretrained is not None and (metrics := _taken(settings, prepared, pretrained, init_from, models)):
        return metrics
    logger = None
    if tracking:
        unfinished = scratch_folder(settings, prepared, scratch=scratch, init_from=init_from)
        logger = _logger(settings, scale, prepared, init_from, unfinished)
    out = models / settings.experiment
    return fit(settings, prepared, out, scratch=scratch, logger=logger, init_from=init_from)


def _taken(
    settings: TrainSettings, prepared: Path, pretrained: Path, init_from: Path | None, models: Path
) -> dict[str, float] | None:
    """The validation of the shipped model that was taken; None, with the reason logged, if there is none to take."""
    from skipw.training.shipped import differences, take_shipped

    if found := differences(settings, prepared, pretrained, init_from):
        log.info("%s: trained here, not taken from %s: %s", settings.experiment, pretrained, "; ".join(found))
        return None
    written = take_shipped(settings, prepared, pretrained, models / settings.experiment)
    which = "the trained weights" if written["shipped"]["exact"] else "its word vectors are rounded"
    log.info("%s: taken from %s, not trained (%s)", settings.experiment, pretrained, which)
    metrics: dict[str, float] = written["metrics"]
    return metrics


def _logger(
    settings: TrainSettings, scale: str, prepared: Path, init_from: Path | None, unfinished: Path
) -> Logger | None:
    """A journal in MLflow, or None where MLflow is absent."""
    try:
        from skipw.tracking.runs import training_run
    except ImportError as error:
        log.info("no journal of this training is kept in MLflow: %s", error)
        return None
    meta = load_meta(prepared)
    lineage: list[str] = []
    if init_from is not None and settings.init_from is not None:
        lineage = [*map(str, load_description(init_from).get("lineage") or []), settings.init_from]
    tags = {
        "data_source": str(meta["data_source"]),
        "title": str(meta["title"]),
        "init_from": settings.init_from or "",
        "lineage": " ".join(lineage),
        "scale": scale,
    }
    unfinished.mkdir(parents=True, exist_ok=True)
    return training_run(settings.experiment, settings.dataset, asdict(settings), tags, unfinished)


def settings_of(params: Params, name: str) -> TrainSettings:
    """The settings of an experiment that is trained.

    Raises:
        ParamsError: if there is no such experiment, or it is a periodic one, which trains nothing.
    """
    settings = experiment_settings(params, name)
    if not settings.trained:
        raise ParamsError(
            f"{name} trains nothing: it evaluates the model of {name.replace('periodic', 'random')}."
        )
    return settings


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiment", help="a name under train.experiments")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--scratch", type=Path, default=Path(".scratch/train"), help="unfinished trainings")
    parser.add_argument("--no-tracking", action="store_true", help="keep no journal in MLflow")
    parser.add_argument(
        "--pretrained",
        type=Path,
        default=os.environ.get("SKIPW_PRETRAINED") or None,
        help="folder of shipped models to take instead of training the same",
    )
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    start = time.perf_counter()
    try:
        params = load(args.params)
        settings = settings_of(params, args.experiment)
        best = train(
            settings,
            params.scale,
            args.data,
            args.scratch,
            tracking=not args.no_tracking,
            pretrained=args.pretrained,
        )
    except SkipWError as error:
        log.error("train %s: %s", args.experiment, error)
        raise SystemExit(1) from error
    figures = ", ".join(f"{name} {best[name]:.4g}" for name in best if name.startswith("val_"))
    log.info("%s: step %d, %s (%.0f s)", args.experiment, best["step"], figures, time.perf_counter() - start)


if __name__ == "__main__":
    main()
