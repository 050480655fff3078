"""One data module for every prepared folder: arrays in memory, whole batches sliced by index.

The batch of step ``s`` depends on the seed and on ``s`` alone, so a resumed training sees what it would have
seen. Where several processes train, each takes its part of that batch, and its part of the validation split. An
epoch, to Lightning, is the stretch between two validations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from skipw.data.prepared import Split, load_split

if TYPE_CHECKING:
    from skipw.params import TrainSettings

__all__ = ["Batch", "PreparedDataModule", "SplitDataset", "TrainBatches"]


class Batch(NamedTuple):
    """``inputs`` Float32[B, T, D] or Int32[B, T], ``targets`` [B], ``lengths`` Long[B], ``rows`` Long[B]."""

    inputs: Tensor
    targets: Tensor
    lengths: Tensor
    rows: Tensor


class SplitDataset(Dataset[Batch]):
    """A split in memory; an item is a whole batch, asked for by an array of row numbers.

    Args:
        split: arrays as prepared.
        trim: cut each batch to its longest sequence.
    """

    def __init__(self, split: Split, *, trim: bool) -> None:
        self.inputs = torch.from_numpy(np.array(split.inputs))
        self.targets = torch.from_numpy(np.array(split.targets))
        self.lengths = torch.from_numpy(np.array(split.lengths))
        self.trim = trim and int(self.lengths.min()) < self.inputs.shape[1]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, rows: Tensor) -> Batch:
        lengths = self.lengths[rows]
        inputs = self.inputs[rows]
        if self.trim:
            inputs = inputs[:, : int(lengths.max())]
        return Batch(inputs, self.targets[rows], lengths, rows)


class TrainBatches(Sampler[Tensor]):
    """Row numbers of the steps from ``next_step()`` on: at most ``count``, until ``steps``.

    Each pass over the data has its own order, drawn from (seed, pass); its last, incomplete batch is left out.
    Process ``rank`` of ``ranks`` gets its equal part of each batch, in order; ``ranks`` divides the batch size.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        seed: int,
        steps: int,
        count: int,
        next_step: Callable[[], int],
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.size = size
        self.batch_size = min(batch_size, size)
        self.seed = seed
        self.steps = steps
        self.count = count
        self.next_step = next_step
        self.rank = rank
        self.ranks = ranks

    def __len__(self) -> int:
        return max(0, min(self.count, self.steps - self.next_step()))

    def __iter__(self) -> Iterator[Tensor]:
        batches_a_pass = self.size // self.batch_size
        order, drawn_pass = torch.empty(0), -1
        share = self.batch_size // self.ranks
        first = self.next_step()
        for step in range(first, first + len(self)):
            this_pass, batch = divmod(step, batches_a_pass)
            if this_pass != drawn_pass:
                generator = np.random.default_rng([self.seed, this_pass])
                order, drawn_pass = torch.from_numpy(generator.permutation(self.size)), this_pass
            start = batch * self.batch_size + self.rank * share
            yield order[start : start + share]


class PreparedDataModule(pl.LightningDataModule):
    """Training and validation batches of a prepared folder.

    Args:
        folder: data/prepared/<dataset>.
        settings: batch sizes, limits, seed, steps.
    """

    def __init__(self, folder: Path, settings: TrainSettings) -> None:
        super().__init__()
        self.folder = folder
        self.settings = settings
        self.train = SplitDataset(load_split(folder, "train", settings.train_limit), trim=True)
        self.val = SplitDataset(load_split(folder, "val", settings.val_limit), trim=True)

    def train_dataloader(self) -> DataLoader[Batch]:
        """The batches up to the next validation; this process's part of each."""
        rank, ranks = self._place()
        batches = TrainBatches(
            len(self.train),
            self.settings.batch_size,
            seed=self.settings.seed,
            steps=self.settings.steps,
            count=self.settings.val_every,
            next_step=self._next_step,
            rank=rank,
            ranks=ranks,
        )
        return DataLoader(self.train, sampler=batches, batch_size=None)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation split, or this process's part of it, in order; a last, smaller batch is kept."""
        rank, ranks = self._place()
        rows = torch.arange(len(self.val)).tensor_split(ranks)[rank]
        batches = list(rows.split(self.settings.eval_batch_size))
        return DataLoader(self.val, sampler=batches, batch_size=None)

    def _place(self) -> tuple[int, int]:
        """This process's rank, and how many there are."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _next_step(self) -> int:
        return 0 if self.trainer is None else self.trainer.global_step
