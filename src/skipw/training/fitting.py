"""``fit``: settings and prepared data in, a model's folder out. Resumes after a kill."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from skipw.data.atomic import replaced_folder
from skipw.data.prepared import load_meta, load_vocabulary
from skipw.errors import DataFormatError
from skipw.models.saved import load_description, save_model
from skipw.training.callbacks import StopRule, write_history
from skipw.training.devices import check_devices
from skipw.training.lightning_module import TrainingModule
from skipw.training.ranks import train_on_ranks
from skipw.training.running import Job, new_module, process_settings, train

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

    from skipw.params import TrainSettings

__all__ = ["fit", "scratch_folder"]

SCRATCH_VERSION = 1


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

    With ``settings.devices`` above 1 as many processes train, and this one keeps the logger and the stop rule. They
    are started by spawning: a script that calls this needs ``if __name__ == "__main__":``.

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
        DataFormatError: if there are no prepared data, or a checkpoint of a stopped run is damaged.
        DivergedError: if the loss or its gradient is not finite.
        ParamsError: if settings, data, donor and devices don't fit together.
        RankError: if one of several processes ended otherwise than it should.
        SystemExit: with code 143 after SIGTERM; the checkpoint stays.
    """
    meta = load_meta(prepared)
    check_devices(settings, prepared)
    unfinished = scratch_folder(settings, prepared, scratch=scratch, init_from=init_from)
    unfinished.mkdir(parents=True, exist_ok=True)
    job = Job(settings, prepared, unfinished, init_from, progress)
    with process_settings(settings.num_threads):
        module, lineage = new_module(job)
        if (last := unfinished / "last.ckpt").exists():
            _weights(module, last)  # checked here: what Lightning says of a damaged one names no remedy
        if settings.devices == 1:
            rows = train(job, module, logger=logger, stop_rule=stop_rule)
        else:
            rows = train_on_ranks(job, logger=logger, stop_rule=stop_rule)
        best = min(_eligible(rows, settings), key=lambda row: row["val_objective"])
        module.load_state_dict(_weights(module, unfinished / "best.ckpt"))
        module.model.eval()
    with replaced_folder(out) as folder:
        save_model(folder, module.model, _description(settings, meta, prepared, lineage, best))
        write_history(rows, folder / "history.csv")
    if logger is not None:
        logger.finalize("success")
    shutil.rmtree(unfinished)
    return best


def scratch_folder(
    settings: TrainSettings, prepared: Path, *, scratch: Path, init_from: Path | None = None
) -> Path:
    """Where the unfinished training of these settings on these data from this donor lies.

    Raises:
        DataFormatError: if there are no prepared data.
    """
    load_meta(prepared)  # which says what to run where there are none
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


def _eligible(rows: list[dict[str, float]], settings: TrainSettings) -> list[dict[str, float]]:
    """The rows whose checkpoint may be the best."""
    late = [row for row in rows if row["step"] >= settings.checkpoint_from * settings.steps]
    return late or rows[-1:]


def _weights(module: TrainingModule, path: Path) -> dict[str, Tensor]:
    """The weights in a checkpoint of this very training.

    Raises:
        DataFormatError: if the file can't be read, or its weights are not of this model's names and shapes.
    """
    try:  # weights_only: tensors and plain values, no code
        found = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        shapes = {name: list(weight.shape) for name, weight in found.items()}
    except Exception as error:  # torch.load's own errors, and whatever its unpickling of a damaged file meets
        raise _damaged(path, str(error).partition("\n")[0] or type(error).__name__) from error
    for name, weight in module.state_dict().items():
        if shapes.get(name) != list(weight.shape):
            raise _damaged(path, f"{name} is {list(weight.shape)} here, {shapes.get(name, 'absent')} there")
    if spare := shapes.keys() - module.state_dict().keys():
        raise _damaged(path, f"this model has no {min(spare)}")
    return found


def _damaged(path: Path, what: str) -> DataFormatError:
    return DataFormatError(
        f"{path}: not a checkpoint of this training ({what}); remove {path.parent} and train again from the start"
    )


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
