"""``skipw search`` and ``skipw study``: launch, resume and look at Optuna studies."""

from __future__ import annotations

import dataclasses
import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skipw.cli.app import DATASETS, Data, app, require_dataset
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
STORAGES = ("sqlite", "postgresql", "grpc")
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
    cluster: Annotated[
        str | None, typer.Option(help="A Dask scheduler, tcp://HOST:8786; workers run on its nodes.")
    ] = None,
    tracking: Annotated[bool, typer.Option(help="Write every trial into MLflow.")] = True,
) -> None:
    """Search for Pareto-optimal models with Optuna; stop it any time, the same command goes on.

    Options that are left out come from params.yaml, section search. Ctrl-C ends the workers in order. `dvc repro -s
    pareto@<dataset> register@<dataset>` then takes the models on the front into the pipeline, `skipw study` shows them.
    """
    from rich.console import Console

    from skipw.params import load
    from skipw.studies.cluster import DaskCrew
    from skipw.studies.crew import LocalCrew
    from skipw.studies.report import print_study
    from skipw.studies.search import run_search

    if logging.getLogger().level > logging.INFO:
        logging.getLogger("skipw.studies").setLevel(logging.INFO)
    given: dict[str, Any] = {"trials": trials, "workers": workers, "epochs": epochs, "space": space}
    given |= {"models": _listed(models), "sampler": sampler, "seed": seed}
    _require_storage(storage)
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
            crew=LocalCrew if cluster is None else functools.partial(DaskCrew, cluster),
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

    require_dataset(dataset)
    _require_storage(storage)
    print_study(dataset, storage, name, page, Console())


def _require_storage(storage: str | None) -> None:
    """Raises ParamsError for an address of a kind that studies aren't kept in."""
    scheme, address, _ = (storage or "").partition("://")
    if address and scheme.partition("+")[0] not in STORAGES:
        from skipw.studies.storage import hidden

        raise ParamsError(
            f"studies are kept in a journal file, sqlite:///FILE, postgresql+psycopg://USER@HOST/NAME or "
            f"grpc://HOST:PORT, got {hidden(storage or '')!r}."
        )


def _listed(models: str | None) -> list[str] | None:
    return None if models is None else [name.strip() for name in models.split(",") if name.strip()]


def _search_settings(section: Any, dataset: str, given: dict[str, Any]) -> SearchSettings:
    """The settings of params.yaml with what was given on the command line, checked like the file."""
    from skipw.checked import build
    from skipw.params import SearchSettings

    require_dataset(dataset)
    own = dataclasses.asdict(getattr(section, dataset))
    own |= {key: value for key, value in given.items() if value is not None}
    return build(SearchSettings, own, f"search.{dataset}")
