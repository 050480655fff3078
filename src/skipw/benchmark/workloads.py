"""What is measured: the shapes of the paper's four data sets, and the numbers that are fed in."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from skipw.errors import ParamsError

__all__ = ["SHARES", "WORKLOADS", "Workload", "by_name", "has_real_pixels", "make_inputs"]

SHARES = (1.0, 0.5, 0.15, 0.05)
VOCABULARY = 20_000
SIDE = 28  # of a digit's picture


@dataclass(frozen=True)
class Workload:
    """One shape and one kind of input. Float32 throughout.

    Attributes:
        name: for the command line and the results.
        title: for people.
        batch, steps, input_size: B, T, D.
        cell, hidden_size, num_layers: of the recurrent layers.
        window: L of SkipW.
        inputs: "normal" (independent, no value twice), "adding" (a uniform number and a marker), "digits" (pixels,
            about 80 % of them the same) or "tokens" (rows of a table, looked up by words as frequent as in text).
        models: which models besides SkipW, "thrrnn" and "skiprnn".
        main: whether targets are stated for it; the others show what repeated inputs, or another cell, change.
    """

    name: str
    title: str
    batch: int
    steps: int
    input_size: int
    cell: str
    hidden_size: int
    num_layers: int
    window: int
    inputs: str
    models: tuple[str, ...] = ()
    main: bool = True

    @property
    def dense(self) -> Workload:
        """The same of a cell that torch.nn has a layer of: GRU stands in for FastGRNN."""
        return dataclasses.replace(self, cell="gru") if self.cell == "fastgrnn" else self

    def without_models(self) -> Workload:
        """The same for SkipW alone."""
        return dataclasses.replace(self, models=())


WORKLOADS = (
    Workload("har", "HAR, 2 × GRU 60", 512, 32, 36, "gru", 60, 2, 8, "normal"),
    Workload("adding", "Adding, LSTM 110", 256, 50, 2, "lstm", 110, 1, 10, "adding"),
    Workload("smnist", "sMNIST, GRU 128", 256, 784, 1, "gru", 128, 1, 28, "digits", ("thrrnn", "skiprnn")),
    Workload("imdb", "IMDB, GRU 128", 128, 200, 300, "gru", 128, 1, 10, "tokens"),
    Workload("har-fastgrnn", "HAR, 2 × FastGRNN 60", 512, 32, 36, "fastgrnn", 60, 2, 8, "normal", main=False),
    Workload("smnist-normal", "sMNIST, normal inputs", 256, 784, 1, "gru", 128, 1, 28, "normal", main=False),
    Workload("imdb-normal", "IMDB, normal inputs", 128, 200, 300, "gru", 128, 1, 10, "normal", main=False),
)


def by_name(name: str) -> Workload:
    """The workload of this name.

    Raises:
        ParamsError: if there is none.
    """
    for workload in WORKLOADS:
        if workload.name == name:
            return workload
    names = ", ".join(workload.name for workload in WORKLOADS)
    raise ParamsError(f"there is no workload {name!r}; choose from {names}.")


def make_inputs(workload: Workload, *, seed: int, data: Path | None = None) -> tuple[Tensor, str]:
    """The inputs of a workload.

    Args:
        workload: what is measured.
        seed: of everything that is drawn.
        data: folder of the pipeline's outputs; its MNIST is used where it has all 784 pixels.
    Returns:
        Float32[B, T, D], and in a few words what they are.
    Raises:
        ParamsError: for an unknown kind of inputs.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = (workload.batch, workload.steps, workload.input_size)
    match workload.inputs:
        case "normal":
            return torch.randn(shape, generator=generator), "independent normal numbers"
        case "adding":
            return _adding(workload, generator), "uniform numbers and markers"
        case "digits":
            pixels = _real_pixels(workload, data)
            if pixels is not None:
                return pixels, f"MNIST's pixels, {_most_frequent(pixels):.0%} of them alike"
            pixels = drawn_digits(workload.batch, generator)[:, : workload.steps]
            return pixels, f"drawn strokes, {_most_frequent(pixels):.0%} of the pixels 0"
        case "tokens":
            tokens = zipf_tokens(workload.batch * workload.steps, VOCABULARY, generator)
            table = torch.randn(VOCABULARY, workload.input_size, generator=generator)
            note = f"rows of a table by Zipf's law, {len(tokens.unique())} distinct among {len(tokens)}"
            return table[tokens].view(shape), note
        case _:
            raise ParamsError(
                f"inputs must be normal, adding, digits or tokens, got {workload.inputs!r} for {workload.name}."
            )


def has_real_pixels(workload: Workload, data: Path | None) -> bool:
    """Whether ``make_inputs`` gives MNIST's own pixels."""
    return workload.inputs == "digits" and _real_pixels(workload, data) is not None


def zipf_tokens(count: int, vocabulary: int, generator: torch.Generator) -> Tensor:
    """Long[count], token r with a probability proportional to 1 / (r + 1): Zipf's law with exponent 1."""
    weight = 1.0 / torch.arange(1, vocabulary + 1, dtype=torch.float64)
    draws = torch.rand(count, generator=generator, dtype=torch.float64) * weight.sum()
    return torch.searchsorted(weight.cumsum(0), draws).clamp(max=vocabulary - 1)


def drawn_digits(count: int, generator: torch.Generator) -> Tensor:
    """Float32[count, 784, 1], pictures of thick strokes: about 80 % exact zeros in runs, as in MNIST.

    Each picture has three straight strokes through four random points; a pixel fades with its distance to them.
    """
    points = 4 + (SIDE - 8) * torch.rand(count, 4, 2, generator=generator)
    axis = torch.arange(SIDE, dtype=torch.float32)
    pixels = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).view(1, -1, 2)
    nearest = torch.full((count, SIDE * SIDE), torch.inf)
    for stroke in range(3):
        start, along = points[:, stroke, None], points[:, stroke + 1, None] - points[:, stroke, None]
        place = ((pixels - start) * along).sum(-1) / along.square().sum(-1).clamp(min=1e-6)
        distance = (pixels - start - place.clamp(0, 1).unsqueeze(-1) * along).norm(dim=-1)
        nearest = torch.minimum(nearest, distance)
    return (2.6 - nearest).clamp(0, 1).unsqueeze(-1)


def _adding(workload: Workload, generator: torch.Generator) -> Tensor:
    """Uniform numbers in [-0.5, 0.5] and two markers a sequence, as in the adding task."""
    numbers = torch.rand(workload.batch, workload.steps, generator=generator) - 0.5
    places = torch.rand(workload.batch, workload.steps, generator=generator).topk(2).indices
    markers = torch.zeros(workload.batch, workload.steps).scatter_(1, places, 1.0)
    return torch.stack([numbers, markers], -1)


def _real_pixels(workload: Workload, data: Path | None) -> Tensor | None:
    """Float32[B, T, 1] of the prepared MNIST, or None where it is absent or was scaled down."""
    file = None if data is None else data / "prepared" / "mnist" / "train_inputs.npy"
    if file is None or not file.is_file():
        return None
    images = np.load(file, mmap_mode="r", allow_pickle=False)
    if images.ndim != 3 or images.shape[1:] != (SIDE * SIDE, 1) or len(images) < workload.batch:
        return None
    return torch.from_numpy(np.array(images[: workload.batch, : workload.steps], dtype=np.float32))


def _most_frequent(pixels: Tensor) -> float:
    """The share of the most frequent value."""
    return float(pixels.flatten().unique(return_counts=True)[1].max() / pixels.numel())
