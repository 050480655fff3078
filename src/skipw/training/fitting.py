"""``fit``: settings and prepared data in, a model's folder out. Resumes after a kill."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import platform
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from skipw.data.atomic import replaced_folder
from skipw.data.prepared import load_embedding, load_meta, load_vocabulary
from skipw.errors import DataFormatError
from skipw.models.saved import load_description, save_model
from skipw.models.task import Architecture, SequenceModel
from skipw.training.callbacks import History, Patience, Progress, StopRule
from skipw.training.data_module import PreparedDataModule
from skipw.training.lightning_module import TrainingModule
from skipw.training.lineage import warm_start
from skipw.training.schedules import seed_for_step

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

    from skipw.params import TrainSettings

__all__ = ["architecture_of", "fit", "scratch_folder"]

log = logging.getLogger(__name__)
SCRATCH_VERSION = 1
TERMINATED = 128 + 15  # what a shell reports of a process that SIGTERM ended


def fit(
    settings: TrainSettings,
    prepared: Path,
    out: Path,
    *,
    scratch: Path,
    logger: Logger | None = None,
    stop_rule: StopRule | None = None,
    init_from: Path | None = None,
    progress: bool = True,
) -> dict[str, float]:
    """Train a model and write its folder: model.safetensors, model.json, history.csv.

    Every validation leaves a checkpoint under ``scratch``, in a folder named by a hash of the settings, the
    data and the donor. The same call after a kill goes on from there, with the same result to the bit as
    without the kill; on success that folder is deleted.

    Args:
        settings: of the experiment.
        prepared: data/prepared/<dataset>.
        out: the model's folder, data/models/<dataset>/<experiment>; it appears complete or not at all.
        scratch: where unfinished trainings lie.
        logger: a Lightning logger, given one row of metrics a validation.
        stop_rule: given each validation's row; True ends the training (beside the settings' patience).
        init_from: the folder of a trained model whose weights are the start.
        progress: show a bar, or log lines where stderr is no terminal.
    Returns:
        The row of the best validation: step, val_loss, val_<metric>, val_inputs_processed, val_objective, ...
    Raises:
        DivergedError: if the loss or its gradient is not finite.
        ParamsError: if settings, data and donor don't fit together.
        SystemExit: with code 143 after SIGTERM; the checkpoint stays.
    """
    meta = load_meta(prepared)
    unfinished = scratch_folder(settings, prepared, scratch=scratch, init_from=init_from)
    unfinished.mkdir(parents=True, exist_ok=True)
    with _torch_settings(settings.num_threads), _quiet_lightning():
        data = PreparedDataModule(prepared, settings)
        module, lineage = _new_module(settings, meta, prepared, init_from)
        rules: list[StopRule] = [
            Patience(settings.patience, round(settings.checkpoint_from * settings.steps))
        ]
        history = History(rules if stop_rule is None else [*rules, stop_rule])
        _train(module, data, history, unfinished, logger, progress)
        best = min(_eligible(history.rows, settings), key=lambda row: row["val_objective"])
        _load_best(module.model, unfinished / "best.ckpt")
    with replaced_folder(out) as folder:
        save_model(folder, module.model, _description(settings, meta, prepared, lineage, best))
        history.write(folder / "history.csv")
    if logger is not None:
        logger.finalize("success")
    shutil.rmtree(unfinished)
    return best


def scratch_folder(
    settings: TrainSettings, prepared: Path, *, scratch: Path, init_from: Path | None = None
) -> Path:
    """Where the unfinished training of these settings on these data from this donor lies."""
    digest = hashlib.sha256()
    donor = None if init_from is None else load_description(init_from)["checkpoint_sha256"]
    values = {
        "version": SCRATCH_VERSION,
        "torch": torch.__version__,
        "settings": dataclasses.asdict(settings),
        "donor": donor,
    }
    digest.update(json.dumps(values, sort_keys=True).encode())
    for path in sorted(prepared.iterdir()):
        digest.update(f"{path.name}:{path.stat().st_size}".encode())
        if not path.name.startswith("test_") and path.suffix in (".json", ".npy"):
            with path.open("rb") as file:  # the head of an array tells two preparations apart
                digest.update(file.read(1 << 20))
    return scratch / f"{settings.experiment}-{digest.hexdigest()[:16]}"


def architecture_of(settings: TrainSettings, meta: dict[str, Any]) -> Architecture:
    """What the settings ask for on this data set."""
    classification = meta["task"] == "classification"
    return Architecture(
        model=settings.model,
        input_size=meta["input_size"],
        num_outputs=len(meta["classes"]) if classification else 1,
        task=meta["task"],
        window=settings.window if settings.model == "skipw" else None,
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
    "initial_state",
    "gate_state_gradient",
    "gate_bias",
    "head_hidden",
    "dropout",
    "input_dropout",
)


def _new_module(
    settings: TrainSettings, meta: dict[str, Any], prepared: Path, init_from: Path | None
) -> tuple[TrainingModule, list[str]]:
    """A module with its first weights, drawn from the seed or taken from a donor, and its lineage."""
    torch.manual_seed(seed_for_step(settings.seed, -1))
    model = architecture_of(settings, meta).build()
    if model.embedding is not None:
        vectors = torch.from_numpy(load_embedding(prepared))
        if vectors.shape != model.embedding.weight.shape:
            wanted, found = list(model.embedding.weight.shape), list(vectors.shape)
            raise DataFormatError(
                f"{prepared}/embedding.npy is {found}, meta.json says {wanted}; prepare again."
            )
        model.embedding.weight.data.copy_(vectors)
    lineage = [] if init_from is None else warm_start(model, init_from)
    return TrainingModule(model, settings, meta["metric"]), lineage


def _train(
    module: TrainingModule,
    data: PreparedDataModule,
    history: History,
    unfinished: Path,
    logger: Logger | None,
    progress: bool,
) -> None:
    """Run Lightning from the last checkpoint, if there is one, to the end."""
    settings = module.settings
    checkpoints = ModelCheckpoint(
        unfinished,
        filename="best",
        monitor="checkpoint_score",
        save_top_k=1,
        save_last=True,
        enable_version_counter=False,
        save_on_train_epoch_end=False,
    )
    callbacks: list[pl.Callback] = [history, checkpoints]
    if progress:
        callbacks.append(Progress(settings.experiment, settings.steps, module.metric))
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=settings.steps,
        max_epochs=-1,
        logger=logger if logger is not None else False,
        callbacks=callbacks,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        check_val_every_n_epoch=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=unfinished,
    )
    last = unfinished / "last.ckpt"
    if last.exists():
        log.info("%s: going on from the checkpoint of a stopped run", settings.experiment)
    try:
        trainer.fit(
            module, datamodule=data, ckpt_path=str(last) if last.exists() else None, weights_only=True
        )
    except SIGTERMException:  # a SystemExit that says 0: whoever waits would take it for success
        log.error("%s: terminated; the same command goes on from the last validation", settings.experiment)
        raise SystemExit(TERMINATED) from None


def _eligible(rows: list[dict[str, float]], settings: TrainSettings) -> list[dict[str, float]]:
    """The rows whose checkpoint may be the best."""
    late = [row for row in rows if row["step"] >= settings.checkpoint_from * settings.steps]
    return late or rows[-1:]


def _load_best(model: SequenceModel, path: Path) -> None:
    weights = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    model.load_state_dict({name.removeprefix("model."): value for name, value in weights.items()})
    model.eval()


def _description(
    settings: TrainSettings,
    meta: dict[str, Any],
    prepared: Path,
    lineage: list[str],
    best: dict[str, float],
) -> dict[str, Any]:
    """All of model.json but what the weights say."""
    copied = ("dataset", "title", "data_source", "task", "metric", "classes", "normaliser", "preprocessing")
    metrics = {name: value for name, value in best.items() if name != "seconds"}
    return {
        **{name: meta[name] for name in copied},
        "experiment": settings.experiment,
        "vocabulary": load_vocabulary(prepared) if meta.get("vocabulary_size") else None,
        "cost_per_input": settings.cost_per_input,
        "init_from": settings.init_from,
        "lineage": lineage,
        "seed": settings.seed,
        "settings": dataclasses.asdict(settings),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "lightning": pl.__version__,
        },
        "metrics": metrics,
    }


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
