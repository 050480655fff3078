"""One process's share of a training: the module with its first weights, and Lightning's run to the end."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from skipw.data.prepared import load_embedding, load_meta
from skipw.errors import DataFormatError
from skipw.models.skip_window import SkipW
from skipw.models.task import Architecture
from skipw.training.averaging import Averaging
from skipw.training.callbacks import History, Patience, Progress, StopRule
from skipw.training.data_module import PreparedDataModule
from skipw.training.devices import trainer_options
from skipw.training.lightning_module import TrainingModule
from skipw.training.lineage import warm_start
from skipw.training.plan import write_plans
from skipw.training.plan_search import plans_of
from skipw.training.rollback import Rollback
from skipw.training.schedules import seed_for_step
from skipw.training.teacher import teacher_of

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

    from skipw.params import TrainSettings

__all__ = ["TERMINATED", "Job", "architecture_of", "new_module", "process_settings", "terminated", "train"]

log = logging.getLogger(__name__)
TERMINATED = 128 + 15  # what a shell reports of a process that SIGTERM ended


@dataclass(frozen=True)
class Job:
    """What is trained, from what, with what shown. Plain values, so that other processes can be told.

    Attributes:
        settings: of the experiment.
        prepared: data/prepared/<dataset>.
        unfinished: the folder of this training's checkpoints.
        init_from: the folder of a trained model whose weights are the start.
        progress: show a bar, or log lines where stderr is no terminal.
    """

    settings: TrainSettings
    prepared: Path
    unfinished: Path
    init_from: Path | None
    progress: bool


def architecture_of(settings: TrainSettings, meta: dict[str, Any]) -> Architecture:
    """What the settings ask for on this data set."""
    classification = meta["task"] == "classification"
    return Architecture(
        model=settings.model,
        input_size=meta["input_size"],
        num_outputs=len(meta["classes"]) if classification else 1,
        task=meta["task"],
        window=settings.window if settings.model == "skipw" else None,
        largest_budget=settings.largest_budget if settings.model == "skipw" else None,
        vocabulary_size=meta.get("vocabulary_size") or 0,
        embedding_size=meta.get("embedding_size") or 0,
        **{name: getattr(settings, name) for name in _SHARED_FIELDS},
    )


_SHARED_FIELDS = (
    "cell",
    "hidden_size",
    "num_layers",
    "time_feature",
    "time_scale",
    "select",
    "bound",
    "initial_state",
    "gate_state_gradient",
    "gate_bias",
    "gate_inputs",
    "gate_windows",
    "gate_budgets",
    "head_hidden",
    "dropout",
    "input_dropout",
)


def new_module(job: Job) -> tuple[TrainingModule, list[str]]:
    """A module with its first weights, drawn from the seed or taken from a donor, and its lineage.

    Plans that the settings ask for are looked for first, a minute each; they are kept in ``job.unfinished``.

    Raises:
        DataFormatError: if the prepared vectors don't fit the vocabulary.
        ParamsError: if settings, data and donor don't fit together.
    """
    settings, meta = job.settings, load_meta(job.prepared)
    torch.manual_seed(seed_for_step(settings.seed, -1))
    model = architecture_of(settings, meta).build()
    if model.embedding is not None:
        vectors = torch.from_numpy(load_embedding(job.prepared))
        if vectors.shape != model.embedding.weight.shape:
            wanted, found = list(model.embedding.weight.shape), list(vectors.shape)
            raise DataFormatError(
                f"{job.prepared}/embedding.npy is {found}, meta.json says {wanted}; prepare again."
            )
        model.embedding.weight.data.copy_(vectors)
    lineage = [] if job.init_from is None else warm_start(model, job.init_from)
    if settings.train_only is not None:
        for name, weight in model.named_parameters():
            gate = name.startswith("rnn.gate.")
            weight.requires_grad_(weight.requires_grad and gate == (settings.train_only == "gates"))
    plans = plans_of(settings, job.prepared, job.unfinished)
    if plans is not None:
        assert isinstance(model.rnn, SkipW)  # params.py has seen to it
        write_plans(model.rnn, plans)
    teacher = teacher_of(settings, job.init_from)
    return TrainingModule(model, settings, meta["metric"], plans, teacher), lineage


def train(
    job: Job,
    module: TrainingModule,
    *,
    logger: Logger | None = None,
    stop_rule: StopRule | None = None,
    callbacks: Sequence[pl.Callback] = (),
    plugins: Sequence[Any] = (),
) -> list[dict[str, float]]:
    """Run Lightning from the last checkpoint, if there is one, to the end.

    Args:
        job: what is trained.
        module: from ``new_module``.
        logger, stop_rule: as ``fit`` was given them.
        callbacks, plugins: further ones for Lightning's trainer.
    Returns:
        The rows of all validations; the weights of the best are in ``best.ckpt`` in ``job.unfinished``.
    Raises:
        DivergedError: if the loss or its gradient is not finite.
        SystemExit: with code 143 after SIGTERM; the checkpoint stays.
    """
    settings = job.settings
    patience = Patience(settings.patience, round(settings.checkpoint_from * settings.steps))
    history = History([patience] if stop_rule is None else [patience, stop_rule])
    shown = [Progress(settings.experiment, settings.steps, module.metric)] if job.progress else []
    guard = [Rollback(settings.rollbacks)] if settings.rollbacks else []
    means = [Averaging(settings.average)] if settings.average is not None else []
    trainer = _trainer(job, logger, [history, *shown, *guard, *means, *callbacks], plugins)
    last = job.unfinished / "last.ckpt"
    if last.exists():
        log.info("%s: going on from the checkpoint of a stopped run", settings.experiment)
    try:
        trainer.fit(
            module,
            datamodule=PreparedDataModule(job.prepared, settings),
            ckpt_path=str(last) if last.exists() else None,
            weights_only=True,
        )
    except SIGTERMException:  # a SystemExit that says 0: whoever waits would take it for success
        raise terminated(settings) from None
    return history.rows


def _trainer(
    job: Job, logger: Logger | None, callbacks: Sequence[pl.Callback], plugins: Sequence[Any]
) -> pl.Trainer:
    """Lightning's trainer; the best and the last checkpoint go into ``job.unfinished``."""
    # Not one with save_last: Lightning writes that only where the best was written too, and a training that was stopped
    # would go on from its best validation. The best comes first, so that the last one knows of it.
    checkpoints = [
        ModelCheckpoint(
            job.unfinished,
            filename=name,
            monitor=monitor,
            save_top_k=1,
            enable_version_counter=False,
            save_on_train_epoch_end=False,
        )
        for name, monitor in (("best", "checkpoint_score"), ("last", None))
    ]
    devices = trainer_options(job.settings)
    resumed = (job.unfinished / "last.ckpt").exists()
    looks_first = bool(job.settings.rollbacks) and job.init_from is not None and not resumed
    return pl.Trainer(
        **{**devices, "plugins": [*devices["plugins"], *plugins]},
        max_steps=job.settings.steps,
        max_epochs=-1,
        logger=logger if logger is not None else False,
        callbacks=[*callbacks, *checkpoints],
        # Before the first step, where gates that shut may have to be taken back to what the training started from.
        num_sanity_val_steps=-1 if looks_first else 0,
        reload_dataloaders_every_n_epochs=1,
        check_val_every_n_epoch=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=job.unfinished,
    )


def terminated(settings: TrainSettings) -> SystemExit:
    """What a training raises that SIGTERM ended, after saying so."""
    log.error("%s: terminated; the same command goes on from the last validation", settings.experiment)
    return SystemExit(TERMINATED)


@contextlib.contextmanager
def process_settings(num_threads: int) -> Iterator[None]:
    """This process as a training wants it: threads, no denormal numbers, a quiet Lightning; undone at the end."""
    with _torch_settings(num_threads), _quiet_lightning():
        yield


@contextlib.contextmanager
def _torch_settings(num_threads: int) -> Iterator[None]:
    """Threads as asked, denormal numbers as zero (they make products many times slower); threads restored."""
    threads = torch.get_num_threads()
    torch.set_flush_denormal(True)
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Lightning's hints on hardware, workers and tips tell a user of this package nothing; errors do."""
    names = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
