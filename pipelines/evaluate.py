"""Stage ``evaluate``: all operating points of one experiment, ``data/models/<ds>/<exp>`` ->
``data/evaluation/<ds>/<exp>``.

python pipelines/evaluate.py adding-skipw [--params params.yaml] [--data data]

Writes grid.csv (DESIGN, section 6) and, as the kind of model has it, repeats.csv (random), patterns.csv,
shares.csv and parts.csv (which inputs are processed) and switching.csv (operating point changed on the way).
No timings: the same model gives the same files. MLflow gets the grids in the stage ``register``, so that this
stage need not load it.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from skipw.data.atomic import replaced_folder
from skipw.errors import SkipWError
from skipw.params import Evaluate, TrainSettings, experiment_settings, load

log = logging.getLogger("evaluate")

DEFAULT_WINDOW = 10  # that inputs are counted in, where neither the experiment nor its recipe has a window


def evaluate(settings: TrainSettings, how: Evaluate, data: Path) -> Path:
    """Evaluate one experiment; its folder appears complete or not at all."""
    import torch

    from skipw.evaluation.experiment import evaluate_experiment
    from skipw.models.saved import load_model

    torch.set_num_threads(how.num_threads)
    torch.set_flush_denormal(True)
    trained = f"{settings.dataset}-random" if settings.model == "periodic" else settings.experiment
    model, description = load_model(data / "models" / settings.dataset / trained)
    out = data / "evaluation" / settings.dataset / settings.experiment
    with replaced_folder(out) as folder:
        tables = evaluate_experiment(
            model,
            description,
            data / "prepared" / settings.dataset,
            how,
            experiment=settings.experiment,
            kind=settings.model,
            count_window=settings.window or DEFAULT_WINDOW,
        )
        for name, table in tables.items():
            table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    return out


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiment", help="a name under train.experiments, or <dataset>-periodic")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    start = time.perf_counter()
    try:
        params = load(args.params)
        settings = experiment_settings(params, args.experiment)
        evaluate(settings, params.evaluate, args.data)
    except SkipWError as error:
        log.error("evaluate %s: %s", args.experiment, error)
        raise SystemExit(1) from error
    log.info("%s: evaluated (%.0f s)", args.experiment, time.perf_counter() - start)


if __name__ == "__main__":
    main()
