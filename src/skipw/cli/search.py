"""``skipw search`` and ``skipw study``: launch, resume and look at Optuna studies."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skipw.cli.app import DATASETS, Data, app
from skipw.errors import ParamsError

if TYPE_CHECKING:
    from skipw.params import SearchSettings

Dataset = Annotated[str, typer.Argument(help=f"One of {', '.join(DATASETS)}.")]
Storage = Annotated[
    str | None,
    typer.Option(
        help="A journal file, sqlite:///FILE, postgresql+psycopg://USER@HOST/NAME or grpc://HOST:PORT. "
        "Default: mlruns/study-<dataset>.journal."
    ),
]
Study = Annotated[str | None, typer.Option("--study", help="A study's name; default: of this very search.")]


@app.command()
def search(
    dataset: Dataset,
    trials: Annotated[
        int | None, typer.Option(help="Finished trials wanted in all; a re-run resumes.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Trials side by side, one thread each.")] = None,
    storage: Storage = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training data, a trial.")] = None,
    space: Annotated[str | None, typer.Option(help="wide, or paper (its Appendix A).")] = None,
    models: Annotated[str | None, typer.Option(help="Of skipw,thrrnn,skiprnn; commas between.")] = None,
    sampler: Annotated[str | None, typer.Option(help="auto, tpe, nsga2 or random.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the sampler and of every training.")] = None,
    study: Study = None,
    params: Annotated[Path, typer.Option(help="Recipes and the defaults of this command.")] = Path(
        "params.yaml"
    ),
    data: Data = Path("data"),
    tracking: Annotated[bool, typer.Option(help="Write every trial into MLflow.")] = True,
) -> None:
    """Search for Pareto-optimal models with Optuna; stop it any time, the same command goes on.

    Options that are left out come from params.yaml, section search. Ctrl-C ends the workers in order. `dvc repro -s
    pareto@<dataset> register@<dataset>` then takes the models on the front into the pipeline, `skipw study` shows them.
    """
    from rich.console import Console

    from skipw.params import load
    from skipw.studies.report import print_study
    from skipw.studies.search import run_search

    if logging.getLogger().level > logging.INFO:
        logging.getLogger("skipw.studies").setLevel(logging.INFO)
    given: dict[str, Any] = {"trials": trials, "workers": workers, "epochs": epochs, "space": space}
    given |= {"models": _listed(models), "sampler": sampler, "seed": seed}
    settings = load(params)
    try:
        outcome = run_search(
            dataset,
            settings,
            params,
            _search_settings(settings.search, dataset, given),
            data,
            storage=storage,
            study_name=study,
            tracking=tracking,
        )
    except KeyboardInterrupt:
        typer.secho("Stopped. The same command goes on from here.", fg="yellow", err=True)
        raise typer.Exit(130) from None
    print_study(dataset, storage, outcome.name, None, Console())


@app.command()
def study(
    dataset: Dataset,
    storage: Storage = None,
    name: Study = None,
    page: Annotated[Path | None, typer.Option(help="Write the study's page to this HTML file.")] = None,
) -> None:
    """A study's front and how far it is; the newest of the data set unless one is named."""
    from rich.console import Console

    from skipw.studies.report import print_study

    _known(dataset)
    print_study(dataset, storage, name, page, Console())


def _known(dataset: str) -> None:
    if dataset not in DATASETS:
        raise ParamsError(f"expected a data set of {', '.join(DATASETS)}, got {dataset!r}.")


def _listed(models: str | None) -> list[str] | None:
    return None if models is None else [name.strip() for name in models.split(",") if name.strip()]


def _search_settings(section: Any, dataset: str, given: dict[str, Any]) -> SearchSettings:
    """The settings of params.yaml with what was given on the command line, checked like the file."""
    from skipw.checked import build
    from skipw.params import SearchSettings

    _known(dataset)
    own = dataclasses.asdict(getattr(section, dataset))
    own |= {key: value for key, value in given.items() if value is not None}
    return build(SearchSettings, own, f"search.{dataset}")
