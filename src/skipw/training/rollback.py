"""Back to the last good validation when the gates have shut or a gradient is not finite.

A gate is driven by the state, and the state moves only where an input is processed: once the price of inputs closes
the slots that the later windows' decisions hang on, all windows close within a few steps, and a model that was at 97 %
knows nothing (docs/experiments/mnist.md). The weights of the validation before are still good, and the price was too
high. A training that goes on from another model's gates validates before its first step, so that it can come back to
its start.
"""

from __future__ import annotations

import copy
import logging
from typing import Any

import lightning.pytorch as pl

from skipw.training.averaging import restart_averages
from skipw.training.lightning_module import TrainingModule

__all__ = ["Rollback"]

log = logging.getLogger(__name__)


class Rollback(pl.Callback):
    """Restores weights and optimiser where a validation shows a collapse or a gradient is not finite, and halves the
    price of inputs.

    A collapse is a validation whose loss is more than ``worse`` times that of the last good one while less than
    ``fewer`` of its inputs are processed. A validation before the first step counts where gates skip already: from a
    model that processes nearly everything, doing with fewer inputs is what training is for.

    Args:
        limit: how often at most; later collapses are left to themselves.
        worse, fewer: what counts as a collapse.
        open_share: gates that process more than this are not taken for a start.
    """

    def __init__(
        self, limit: int, *, worse: float = 2.0, fewer: float = 0.6, open_share: float = 0.9
    ) -> None:
        self.limit, self.worse, self.fewer, self.open_share = limit, worse, fewer, open_share
        self.count = 0
        self._good: dict[str, Any] | None = None

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        loss, share = pl_module.latest["val_loss"], pl_module.latest["val_inputs_processed"]
        if trainer.sanity_checking and share > self.open_share:
            return
        good = self._good
        if good is None or loss <= self.worse * good["loss"] or share >= self.fewer * good["share"]:
            self._good = {
                "loss": loss,
                "share": share,
                "weights": copy.deepcopy(pl_module.state_dict()),
                "optimizer": copy.deepcopy(trainer.optimizers[0].state_dict()),
            }
            return
        self._go_back(
            trainer,
            pl_module,
            f"the gates have shut (loss {loss:.3g} at {100 * share:.1f} % of the inputs, before "
            f"{good['loss']:.3g} at {100 * good['share']:.1f} %)",
        )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        pl_module.rescue = lambda why: self._go_back(trainer, pl_module, why)

    def _go_back(self, trainer: pl.Trainer, pl_module: TrainingModule, why: str) -> bool:
        """Weights and optimiser of the last good validation; False if there was none, or no rollback is left."""
        good = self._good
        if good is None or self.count == self.limit:
            return False
        self.count += 1
        pl_module.load_state_dict(good["weights"])
        trainer.optimizers[0].load_state_dict(copy.deepcopy(good["optimizer"]))
        restart_averages(trainer.callbacks)
        pl_module.lower_price(0.5)
        log.warning(
            "%s: %s; going on from the validation before, at half the price of inputs",
            pl_module.settings.experiment,
            why,
        )
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "good": self._good}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.count, self._good = state_dict["count"], state_dict["good"]
