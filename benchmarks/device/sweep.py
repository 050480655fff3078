"""sMNIST at the paper's scale: one SkipW for each λ, all side by side in one launch, in resumable slices.

Loss of model m: cross-entropy + λ_m · mean Σ_t u_t (eq. 11), Adam, the gradient of each model clipped to norm 1. A
slice ends in time, leaves ``checkpoint.safetensors`` and ``checkpoint.json``, and the next one goes on at the very
batch where it stopped: the order of an epoch depends on the seed and its number alone.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from benchmarks.device import pixels
from benchmarks.device.models import call_of
from benchmarks.device.place import describe, say, write_json
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import skipw
from skipw.errors import ParamsError
from skipw.ops import triton
from skipw.ops.triton.settings import using

__all__ = ["Sweep", "run"]

SETTINGS = (
    "costs", "hidden_size", "window", "batch_size", "learning_rate", "gate_state_gradient", "precision", "epochs",
)  # fmt: skip
MOST_UNSAVED_S = 120.0


def run(device: torch.device, chosen: argparse.Namespace) -> int:
    """Train until the slice or the epochs are over; writes checkpoint, history.json and, at the end, models."""
    began = time.monotonic()
    images, source = pixels.load(chosen.data, device)
    sweep = Sweep({name: getattr(chosen, name) for name in SETTINGS}, images, device)
    resume = chosen.resume or chosen.out
    if (resume / "checkpoint.json").exists():
        sweep.restore(resume)
        say(f"going on at epoch {sweep.epoch}, batch {sweep.batch}")
    saved, before = time.monotonic(), sweep.seconds
    deadline = began + 60 * chosen.slice_minutes - (0 if chosen.tiny else 30)  # time to save and to evaluate
    with using(chosen.precision):
        while sweep.epoch < chosen.epochs and time.monotonic() < deadline:
            ended = sweep.step()
            sweep.seconds = before + time.monotonic() - began
            if ended and (sweep.epoch % chosen.val_every == 0 or sweep.epoch == chosen.epochs):
                say(sweep.validate())
            if time.monotonic() - saved > MOST_UNSAVED_S:
                sweep.save(chosen.out)
                saved = time.monotonic()
        finished = sweep.epoch >= chosen.epochs
        if finished:
            sweep.best["test"] = sweep.evaluate("test", best=True)
    sweep.save(chosen.out)
    report = {**describe(device), "data_source": source, **sweep.settings, "finished": finished}
    report |= {"seconds": sweep.seconds, "epoch": sweep.epoch, "history": sweep.history, "best": sweep.best}
    write_json(chosen.out / "history.json", report)
    say(
        f"epoch {sweep.epoch} of {chosen.epochs}, {sweep.seconds / 60:.1f} min so far"
        + ", finished" * finished
    )
    return 0


class Sweep:
    """The models of all λ, their optimiser and their place in the data."""

    def __init__(
        self, settings: dict[str, Any], images: dict[str, pixels.Images], device: torch.device
    ) -> None:
        self.settings, self.images, self.device = settings, images, device
        classes = int(images["train"].targets.max()) + 1
        self.models = nn.ModuleList(_model(settings, classes) for _ in settings["costs"]).to(device)
        self.costs = torch.tensor(settings["costs"], device=device)
        self.optimizer = torch.optim.Adam(
            self.models.parameters(), lr=settings["learning_rate"], foreach=True
        )
        self.epoch = self.batch = 0
        self.seconds = 0.0
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {
            "score": [float("inf")] * len(self.models),
            "epoch": [0] * len(self.models),
        }
        self.kept = {name: value.clone() for name, value in self.models.state_dict().items()}
        self.order = self._order()

    @property
    def batches(self) -> int:
        """Batches an epoch; the last, smaller one is left out."""
        return max(1, len(self.images["train"]) // self.settings["batch_size"])

    def _order(self) -> Tensor:
        generator = torch.Generator().manual_seed(1000 + self.epoch)
        return torch.randperm(len(self.images["train"]), generator=generator).to(self.device)

    def _answers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits Float[M, B, C] and Σ_t u_t, Float[M, B]."""
        results = triton.run_many([call_of(model.rnn, x, outputs="last") for model in self.models])
        logits = [model.head(result.output) for model, result in zip(self.models, results, strict=True)]
        return torch.stack(logits), torch.stack([result.updates.sum(1) for result in results])

    def step(self) -> bool:
        """One batch of the training data; returns whether an epoch ended."""
        size = self.settings["batch_size"]
        x, targets = self.images["train"].batch(self.order[self.batch * size : (self.batch + 1) * size])
        logits, used = self._answers(x)
        losses = _cross_entropy(logits, targets) + self.costs * used.mean(1)
        self.optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()  # each model's loss reaches its own weights alone
        for model in self.models:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        self.optimizer.step()
        self.batch += 1
        if self.batch < self.batches:
            return False
        self.epoch, self.batch = self.epoch + 1, 0
        self.order = self._order()
        return True

    @torch.no_grad()
    def evaluate(self, split: str, best: bool = False) -> dict[str, list[float]]:
        """Accuracy, loss and inputs processed of each model on a split; ``best`` uses the weights that were kept."""
        now = {name: value.clone() for name, value in self.models.state_dict().items()}
        if best:
            self.models.load_state_dict(self.kept)
        images, correct, loss, used = self.images[split], 0.0, 0.0, 0.0
        for rows in torch.arange(len(images), device=self.device).split(4 * self.settings["batch_size"]):
            x, targets = images.batch(rows)
            logits, inputs = self._answers(x)
            correct = correct + (logits.argmax(-1) == targets).sum(1)
            loss = loss + _cross_entropy(logits, targets) * len(rows)
            used = used + inputs.sum(1)
        self.models.load_state_dict(now)
        count = len(images)
        totals = torch.stack([torch.as_tensor(value) for value in (correct, loss, used)]).double() / count
        accuracy, mean_loss, mean_used = totals.tolist()
        share = [value / images.inputs.shape[1] for value in mean_used]
        return {"accuracy": accuracy, "loss": mean_loss, "inputs_processed": share, "input_cost": mean_used}

    def validate(self) -> str:
        """Validate, keep each model's weights where loss + λ · inputs is least, and say how it stands."""
        found = self.evaluate("val")
        self.history.append({"epoch": self.epoch, "seconds": self.seconds, **found})
        costs = self.settings["costs"]
        for m, (loss, used) in enumerate(zip(found["loss"], found["input_cost"], strict=True)):
            score = loss + costs[m] * used
            if score < self.best["score"][m]:
                self.best["score"][m], self.best["epoch"][m] = score, self.epoch
                for name, value in self.models[m].state_dict().items():
                    self.kept[f"{m}.{name}"].copy_(value)
        pairs = zip(costs, found["accuracy"], found["inputs_processed"], strict=True)
        table = "  ".join(f"{cost:g}: {100 * good:.1f}%/{100 * share:.0f}%" for cost, good, share in pairs)
        return f"epoch {self.epoch:4}  λ: accuracy/inputs  {table}"

    def save(self, folder: Path) -> None:
        """Write the checkpoint: weights, kept weights, Adam's moments; the json last, so that it is whole or old."""
        tensors = {f"model.{name}": value for name, value in self.models.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.kept.items()}
        for number, slot in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{number}.{name}": value for name, value in slot.items()}
        name = f"checkpoint-{self.epoch}-{self.batch}.safetensors"
        save_file({key: value.contiguous().cpu() for key, value in tensors.items()}, folder / name)
        place = {"file": name, "epoch": self.epoch, "batch": self.batch, "seconds": self.seconds}
        content = {**place, "settings": self.settings, "history": self.history, "best": self.best}
        write_json(folder / "checkpoint.json", content)
        for old in folder.glob("checkpoint-*.safetensors"):
            if old.name != name:
                old.unlink()

    def restore(self, folder: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            ParamsError: if it was made with other settings.
        """
        content = json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))
        for name in SETTINGS:
            if name != "epochs" and content["settings"][name] != self.settings[name]:
                raise ParamsError(
                    f"{folder}: its {name} is {content['settings'][name]}, this run's {self.settings[name]}; "
                    "use the same, or another --out."
                )
        tensors = load_file(folder / content["file"])
        of = {kind: {} for kind in ("model", "best", "adam")}  # type: dict[str, dict[str, Tensor]]
        for key, value in tensors.items():
            kind, name = key.split(".", 1)
            of[kind][name] = value
        self.models.load_state_dict(of["model"])
        self.kept = {name: value.to(self.device) for name, value in of["best"].items()}
        slots: dict[int, dict[str, Tensor]] = {}
        for key, value in of["adam"].items():
            number, name = key.split(".", 1)
            slots.setdefault(int(number), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": slots, "param_groups": groups})
        self.epoch, self.batch, self.seconds = content["epoch"], content["batch"], content["seconds"]
        self.history, self.best = content["history"], content["best"]
        self.order = self._order()


def _model(settings: dict[str, Any], classes: int) -> nn.Module:
    """A SkipW with a linear head; every λ begins with the same weights."""
    torch.manual_seed(0)
    model = nn.Module()
    model.rnn = skipw.SkipW(
        "gru",
        1,
        settings["hidden_size"],
        window=settings["window"],
        gate_state_gradient=settings["gate_state_gradient"],
    )
    model.head = nn.Linear(settings["hidden_size"], classes)
    return model


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Of each model: Float[M, B, C], Long[B] -> Float[M]."""
    chosen = logits.log_softmax(-1).gather(-1, targets.view(1, -1, 1).expand(len(logits), -1, -1))
    return -chosen.squeeze(-1).mean(1)
