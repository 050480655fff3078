"""On what a training runs: the accelerator, how many devices, and whether the data can be split among them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy

from skipw.data.prepared import load_split
from skipw.errors import ParamsError

if TYPE_CHECKING:
    from skipw.params import TrainSettings

__all__ = ["accelerator_of", "check_devices", "trainer_options"]


def accelerator_of(settings: TrainSettings) -> str:
    """``cpu`` or ``cuda``.

    Raises:
        ParamsError: if a GPU is asked for and torch finds none.
    """
    found = torch.cuda.is_available()
    if settings.accelerator == "gpu" and not found:
        raise ParamsError(
            f"{settings.experiment}: accelerator gpu: this torch ({torch.__version__}) finds no NVIDIA GPU; "
            "use accelerator cpu, or auto for a GPU where there is one."
        )
    return "cuda" if found and settings.accelerator != "cpu" else "cpu"


def check_devices(settings: TrainSettings, prepared: Path) -> None:
    """Refuse what can't be run here, before any process is started.

    Raises:
        ParamsError: if a GPU is asked for and absent, if there are fewer GPUs than devices, if a batch can't be split
            evenly, or if there are fewer validation sequences than devices.
    """
    name, devices = settings.experiment, settings.devices
    accelerator = accelerator_of(settings)
    if accelerator == "cuda" and devices > torch.cuda.device_count():
        raise ParamsError(
            f"{name}: devices is {devices}, this machine has {torch.cuda.device_count()} GPUs; lower devices."
        )
    if devices == 1:
        return
    sequences = len(load_split(prepared, "train", settings.train_limit).targets)
    batch = min(settings.batch_size, sequences)
    if batch % devices:
        cause = "" if batch == settings.batch_size else " (all sequences of train)"
        raise ParamsError(
            f"{name}: {devices} devices take equal parts of a batch, {batch} sequences{cause} can't be split so; "
            f"use a batch_size that is a multiple of {devices}."
        )
    if len(load_split(prepared, "val", settings.val_limit).targets) < devices:
        raise ParamsError(
            f"{name}: val has fewer sequences than there are devices, {devices}; lower devices."
        )


def trainer_options(settings: TrainSettings) -> dict[str, Any]:
    """What Lightning's trainer is told of devices; ``plugins`` may be added to.

    With several devices the processes exist already (rank.py), as under torchrun: Lightning starts none.
    """
    options: dict[str, Any] = {
        "accelerator": accelerator_of(settings),
        "devices": settings.devices,
        "plugins": [],
    }
    if settings.devices > 1:
        options["strategy"] = DDPStrategy(broadcast_buffers=False)
        options["plugins"] = [LightningEnvironment()]
    return options
