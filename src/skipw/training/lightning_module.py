"""The Lightning module: one training step, one validation step, what they count."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import lightning.pytorch as pl
import torch
from torch import Tensor

from skipw.errors import SkipWError
from skipw.models.baselines import random_updates
from skipw.models.metrics import measure
from skipw.models.skip_window import SkipW
from skipw.models.task import SequenceModel, TaskOutput
from skipw.operating_point import OperatingPoint
from skipw.training.budgets import Pass, largest_point, passes_for_step
from skipw.training.cost_control import controller_for
from skipw.training.data_module import Batch
from skipw.training.distortion import distorted
from skipw.training.gate_margin import gate_margin_at, indecision
from skipw.training.plan import Plan, Plans, disagreement
from skipw.training.schedules import cost_multiplier, learning_rate_factor, seed_for_step
from skipw.training.teacher import Teacher, distance

if TYPE_CHECKING:
    from skipw.params import TrainSettings

__all__ = ["DivergedError", "TrainingModule"]


class DivergedError(SkipWError, ArithmeticError):
    """The loss or its gradient is no longer a finite number."""


class _Run(NamedTuple):
    """One pass over a batch: scores Float[B, outputs], what its inputs cost, the share of them that was processed."""

    scores: Tensor
    price: Tensor
    share: Tensor


class TrainingModule(pl.LightningModule):
    """Loss = task loss + λ · mean over the batch of input_cost (eq. 11).

    The task loss is the cross entropy, or half the MSE. Each validation reports ``val_objective`` = task loss
    + λ · inputs processed, at the largest budget and with the λ of the settings, not of its schedule; the best
    checkpoint is the one where that is lowest. With ``target_inputs`` λ is steered, and ``val_objective`` is the task
    loss, plus a penalty where more inputs are processed than wanted.

    In a training on several devices each process runs this on its part of a batch: gradients are averaged over equal
    parts, the budget and the rate of random updates are those of the whole batch, noise and dropout are each
    process's own. Validations are put together before anything is computed from them, so every process has the
    same figures.

    Args:
        model: what is trained.
        settings: optimiser, schedules, λ.
        metric: "accuracy" or "mse", of the data set.
        plans: what gates learn to follow until ``plan_until``: a plan's inputs are processed, and in place of their
            price the loss has the gate's disagreement with it.
        teacher: whose scores it learns from beside the labels.
    """

    def __init__(
        self,
        model: SequenceModel,
        settings: TrainSettings,
        metric: str,
        plans: Plans | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        if isinstance(model.rnn, SkipW):
            model.rnn.selection_gradient = settings.selection_gradient
            model.rnn.selection_softness = settings.selection_softness
        self.settings = settings
        self.metric = metric
        self.plans = plans
        self.teacher = teacher  # no module: its weights are neither trained nor kept
        self.regression = model.architecture.task == "regression"
        self.latest: dict[str, float] = {}
        self._generator = torch.Generator()
        self._price = 1.0
        self.rescue: Callable[[str], bool] | None = None  # takes the weights back, if it can; told why
        self._controller = controller_for(settings)
        self._sums = {"loss": 0.0, "inputs": 0.0, "norm": 0.0, "steps": 0}
        self._started = time.perf_counter()
        self._scores: list[Tensor] = []
        self._targets: list[Tensor] = []
        self._costs: list[Tensor] = []
        self._fractions: list[Tensor] = []

    # Training

    def on_train_epoch_start(self) -> None:
        self._sums = dict.fromkeys(self._sums, 0.0)
        self._started = time.perf_counter()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch; all that is drawn depends on the seed, the step and the rank alone."""
        step = self.global_step
        self._generator.manual_seed(seed_for_step(self.settings.seed, step))
        rate = self._drawn_rate() if self.settings.model == "random" else None
        beside = self._drawn_rate() if self.settings.random_updates else None
        seed = seed_for_step(self.settings.seed, step, self.global_rank)
        torch.manual_seed(seed)
        if self.global_rank:
            self._generator.manual_seed(seed)
        if self.settings.distorts:
            batch = batch._replace(inputs=distorted(batch.inputs, self.settings, self._generator))
        loss, whole = self._loss_of_passes(batch, passes_for_step(step, self.settings), rate)
        if beside is not None:
            share = self.settings.random_updates
            scores = self._run(batch, None, beside).scores
            loss = (1 - share) * loss + share * self.task_loss(
                scores, batch.targets, self.settings.label_smoothing
            )
        if self._controller is not None and whole is not None:
            self._controller.observe(self._mean_over_ranks(whole))
        if self._ranks > 1 and self.settings.model == "random":
            # Its updates may leave out every input of this part; DDP waits for a gradient of every weight.
            loss = loss + 0.0 * sum(weight.sum() for weight in self._trained)
        return loss

    def _loss_of_passes(
        self, batch: Batch, passes: list[Pass], rate: float | None
    ) -> tuple[Tensor, float | None]:
        """The loss, and the share of the inputs processed at the largest budget where a pass ran there."""
        losses: list[Tensor] = []
        whole, largest = None, None
        taught = None if self.teacher is None else self.teacher.scores(batch, self.settings.backend)
        plans = self.plans if self.global_step < self.settings.plan_until * self.settings.steps else None
        for each in passes:
            plan = None if plans is None else plans.at(each.at)
            run = self._free(batch, each.at, rate) if plan is None else self._along(plan, batch, each.at)
            task_loss = self.task_loss(run.scores, batch.targets, self.settings.label_smoothing)
            loss = task_loss
            if self.teacher is not None and taught is not None:
                loss = self.teacher.blended(task_loss, run.scores, taught)
            if each.distilled and largest is not None:
                loss = (1 - each.distilled) * loss + each.distilled * distance(
                    run.scores, largest, regression=self.regression
                )
            loss = loss + run.price
            if each.largest:
                largest = run.scores.detach()
                whole = float(run.share) if plan is None else None  # a plan's share needs no steering
            losses.append(each.weight * loss)
            if each is passes[0]:
                self._count(loss, task_loss, run.share)
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum(), whole

    def _free(self, batch: Batch, at: OperatingPoint | None, rate: float | None) -> _Run:
        """The gates decide, and their inputs have a price."""
        output = self._run(batch, at, rate)
        price = self.cost_at(self.global_step) * output.rnn.input_cost.mean()
        margin = gate_margin_at(self.global_step, self.settings) if self.settings.model == "skipw" else 0.0
        if margin:
            doubt = indecision(output.rnn.importance, self.settings.gate_margin_width)
            price = price + margin * doubt.mean()
        return _Run(output.scores, price, output.rnn.inputs_processed.detach().mean())

    def _along(self, plan: Plan, batch: Batch, at: OperatingPoint | None) -> _Run:
        """The plan decides, and the gates are to agree with it."""
        budget = None if at is None else at.budget
        chosen = plan.inputs_at(budget).to(batch.inputs.device)
        scores, logits = self.model.follow(
            batch.inputs,
            chosen,
            budget=budget,
            state_gradient=self.settings.plan_state_gradient,
            backend=self.settings.backend,
        )
        price = self.settings.plan_weight * disagreement(logits, plan)
        return _Run(scores, price, price.new_tensor(len(chosen) / plan.num_steps))

    def cost_at(self, step: int) -> float:
        """λ at a step."""
        if self._controller is not None:
            return self._controller.cost
        fraction = step / self.settings.steps
        multiplier = cost_multiplier(fraction, self.settings.cost_schedule)
        return self._price * self.settings.cost_per_input * multiplier

    def lower_price(self, factor: float) -> None:
        """Multiply λ by ``factor`` for the rest of the training."""
        self._price *= factor
        if self._controller is not None:
            self._controller.lower(factor)

    def task_loss(self, scores: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Cross entropy, or half the MSE; scores [B, outputs], targets [B]."""
        if self.regression:
            return 0.5 * torch.nn.functional.mse_loss(scores[:, 0], targets)
        return torch.nn.functional.cross_entropy(scores, targets, label_smoothing=label_smoothing)

    def _run(self, batch: Batch, at: OperatingPoint | None, rate: float | Tensor | None) -> TaskOutput:
        """The model on a batch: gated, dense, or (``rate`` a number or Float[B]) with random updates."""
        updates = None
        if rate is not None:
            num_steps = batch.inputs.shape[1]
            updates = random_updates(batch.lengths, num_steps, rate, self._generator)
        return self.model(
            batch.inputs,
            at=at,
            lengths=batch.lengths,
            updates=updates,
            backend=self.settings.backend,
            generator=self._generator,
        )

    def _drawn_rate(self) -> float:
        """One rate of random updates a batch, uniform in (0, 1]."""
        return 1.0 - float(torch.rand((), generator=self._generator))

    def _count(self, loss: Tensor, task_loss: Tensor, share: Tensor) -> None:
        figures = [loss.detach(), task_loss.detach(), share]
        value, task, inputs = torch.stack(figures).tolist()  # one wait for a GPU, not three
        if not math.isfinite(value):
            raise self._diverged(f"the loss is {value}")
        self._sums["loss"] += task
        self._sums["inputs"] += inputs
        self._sums["steps"] += 1

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        """Clip by the global norm, which is kept for the log; one that is not finite ends the training, or goes back to
        the validation before where ``rollbacks`` are left.
        """
        limit = self.settings.clip if self.settings.clip is not None else float("inf")
        norm = float(torch.nn.utils.clip_grad_norm_(self._trained, limit, foreach=False))
        if not math.isfinite(norm):
            if self.rescue is None or not self.rescue(f"the gradient's norm is {norm}"):
                raise self._diverged(f"the gradient's norm is {norm}")
            for weight in self._trained:  # this step's gradient is nobody's
                weight.grad = torch.zeros_like(weight)
            return
        self._sums["norm"] += norm

    def _diverged(self, what: str) -> DivergedError:
        return DivergedError(
            f"{self.settings.experiment}: {what} at step {self.global_step}. Try a lower learning_rate, "
            "a smaller clip or gate_state_gradient (0 to 0.1), or a warmup; check that the inputs are finite."
        )

    def configure_optimizers(self) -> Any:
        """Adam (AdamW with weight_decay) over what is not frozen; the learning rate's schedule by step."""
        settings = self.settings
        self._trained = [weight for weight in self.model.parameters() if weight.requires_grad]
        options: dict[str, Any] = {"lr": settings.learning_rate, "foreach": False, "fused": True}
        if settings.weight_decay:
            optimizer: torch.optim.Optimizer = torch.optim.AdamW(
                self._trained, weight_decay=settings.weight_decay, **options
            )
        else:
            optimizer = torch.optim.Adam(self._trained, **options)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(step, settings)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # Validation

    def on_validation_epoch_start(self) -> None:
        for kept in (self._scores, self._targets, self._costs, self._fractions):
            kept.clear()
        own = seed_for_step(self.settings.seed, 0, self.global_rank)
        self._generator.manual_seed(own if self.global_rank else self.settings.seed)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep scores, targets and inputs processed; random updates get evenly spread rates in (0, 1]."""
        rate: Tensor | None = None
        if self.settings.model == "random":
            rate = (batch.rows % 16 + 1).float() / 16
        output = self._run(batch, largest_point(self.settings), rate)
        self._scores.append(output.scores)
        self._targets.append(batch.targets)
        self._costs.append(output.rnn.input_cost)
        self._fractions.append(output.rnn.inputs_processed)

    def on_validation_epoch_end(self) -> None:
        """Put the figures of this validation, and of the steps since the last, into ``latest``."""
        scores, targets = self._of_all_ranks(self._scores), self._of_all_ranks(self._targets)
        task_loss = float(self.task_loss(scores, targets))
        cost = float(self._of_all_ranks(self._costs).mean())
        objective = self._objective(task_loss, cost, float(self._of_all_ranks(self._fractions).mean()))
        fraction = self.global_step / self.settings.steps
        figures = {
            **self._training_means(),
            "learning_rate": self.settings.learning_rate
            * learning_rate_factor(self.global_step, self.settings),
            "cost_per_input": self.cost_at(self.global_step),
            "val_loss": task_loss,
            f"val_{self.metric}": measure(self.metric, scores, targets),
            "val_inputs_processed": float(self._of_all_ranks(self._fractions).mean()),
            "val_objective": objective,
            "seconds": time.perf_counter() - self._started,
        }
        self.latest = self.trainer.strategy.broadcast(figures)
        objective = self.latest["val_objective"]
        eligible = fraction >= self.settings.checkpoint_from and objective == objective
        self.log("checkpoint_score", objective if eligible else float("inf"), logger=False)

    def _objective(self, task_loss: float, cost: float, share: float) -> float:
        """What the best checkpoint has least of; with a target, more than 2 % above it counts as a loss."""
        if self.settings.target_inputs is None:
            return task_loss + self.settings.cost_per_input * cost
        return task_loss + 10.0 * max(0.0, share / self.settings.target_inputs - 1.02)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["price"] = self._price
        if self._controller is not None:
            checkpoint["cost_controller"] = self._controller.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._price = checkpoint["price"]
        if self._controller is not None:
            self._controller.restore(checkpoint["cost_controller"])

    def _mean_over_ranks(self, share: float) -> float:
        """The mean of a figure over the processes."""
        if self._ranks == 1:
            return share
        mean: Tensor = self.trainer.strategy.reduce(torch.tensor(share, device=self.device), reduce_op="mean")
        return float(mean)

    def _training_means(self) -> dict[str, float]:
        """Means over the steps since the last validation, and over the processes."""
        steps = max(1.0, self._sums["steps"])
        means = [self._sums[name] / steps for name in ("loss", "inputs", "norm")]
        if self._ranks > 1:
            on_device = torch.tensor(means, dtype=torch.float64, device=self.device)
            means = self.trainer.strategy.reduce(on_device, reduce_op="mean").tolist()
        return dict(zip(("train_loss", "train_inputs_processed", "gradient_norm"), means, strict=True))

    def _of_all_ranks(self, kept: list[Tensor]) -> Tensor:
        """What every process kept of its batches, in the order of the split; a tensor on the CPU if there are several.

        The parts may differ in length by one row, which ``all_gather`` of tensors does not allow.
        """
        part = torch.cat(kept)
        if self._ranks == 1:
            return part
        parts: list[Any] = [None] * self._ranks
        torch.distributed.all_gather_object(parts, part.cpu())
        return torch.cat(parts)

    @property
    def _ranks(self) -> int:
        return self.trainer.world_size
