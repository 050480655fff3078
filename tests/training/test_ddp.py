"""Two processes on the CPU train as one does; what ends one of them ends all, and the same call goes on.

A start of two processes takes about as long as importing Lightning twice, so the tests share their trainings.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from lightning.pytorch.loggers import Logger

from skipw.errors import ParamsError
from skipw.models.baselines import random_updates
from skipw.models.saved import load_description
from skipw.params import TrainSettings
from skipw.training import fit, scratch_folder
from skipw.training.data_module import PreparedDataModule, TrainBatches
from skipw.training.devices import accelerator_of
from skipw.training.lightning_module import DivergedError
from skipw.training.ranks import RankError
from skipw.training.schedules import seed_for_step

Settings = Callable[..., TrainSettings]
GATED = {"steps": 80, "random_budget": 0.5, "cost_per_input": 1e-2, "num_layers": 2, "average": 0.5}


class Journal(Logger):
    """Remembers the steps it was told of, and how it all ended."""

    name = version = "journal"

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int | None] = []
        self.status: list[str] = []

    def log_hyperparams(self, *_: object, **__: object) -> None:
        raise AssertionError("hyperparameters are the journal's own business")

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.steps.append(step)

    def finalize(self, status: str) -> None:
        self.status.append(status)


def stop_at_50(row: dict[str, float]) -> bool:
    return row["step"] == 50


def history(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "history.csv").drop(columns="seconds")


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the model of two processes lies that were never disturbed."""
    return tmp_path_factory.mktemp("together")


@pytest.mark.slow
def test_two_processes_train_a_gated_model_as_one_does(
    settings: Settings, slopes: Path, tmp_path: Path, together: Path
) -> None:
    journal = Journal()
    keywords = {"scratch": tmp_path / "scratch", "stop_rule": stop_at_50, "progress": False}
    alone = fit(settings("har", **GATED), slopes, tmp_path / "alone", **keywords)
    both = fit(settings("har", **GATED, devices=2), slopes, together, logger=journal, **keywords)
    assert journal.steps == [10, 20, 30, 40, 50]
    assert journal.status == ["success"]
    one, two = history(tmp_path / "alone"), history(together)
    # Sums in another order, float32, Adam's first steps divide by gradients near 0.
    pd.testing.assert_frame_equal(one, two, rtol=1e-4, atol=1e-6)
    assert 0.2 < one["train_inputs_processed"].min() < 0.9
    assert both["step"] == alone["step"]
    assert load_description(together)["settings"]["devices"] == 2
    assert not any((tmp_path / "scratch").iterdir())


@pytest.mark.slow
def test_two_processes_train_a_dense_model_as_one_does(
    settings: Settings, adding: Path, tmp_path: Path
) -> None:
    keywords = {"scratch": tmp_path / "scratch", "progress": False}
    for devices in (1, 2):
        chosen = settings("adding", "dense", cell="lstm", devices=devices, patience=1, learning_rate=0.5)
        fit(chosen, adding, tmp_path / str(devices), **keywords)
    pd.testing.assert_frame_equal(history(tmp_path / "1"), history(tmp_path / "2"), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_the_end_of_one_process_ends_all_and_the_same_call_goes_on(
    settings: Settings, slopes: Path, tmp_path: Path, together: Path
) -> None:
    """A killed process, then SIGTERM, then to the end: the same bits as two processes without all that."""
    chosen, scratch, out = settings("har", **GATED, devices=2), tmp_path / "scratch", tmp_path / "out"
    if not (together / "model.json").exists():
        fit(chosen, slopes, together, scratch=scratch, stop_rule=stop_at_50, progress=False)

    def kill(row: dict[str, float]) -> bool:
        if row["step"] == 20:
            second = max(multiprocessing.active_children(), key=lambda process: process.pid or 0)
            os.kill(second.pid or 0, signal.SIGKILL)
        return False

    def terminate(row: dict[str, float]) -> bool:
        if row["step"] == 40:
            os.kill(os.getpid(), signal.SIGTERM)
        return False

    journal = Journal()
    with pytest.raises(RankError, match=r"har-skipw: process 1 of 2 .* the same command goes on .* code -9"):
        fit(chosen, slopes, out, scratch=scratch, stop_rule=kill, logger=journal, progress=False)
    assert journal.status == ["failed"]
    assert not multiprocessing.active_children()
    unfinished = scratch_folder(chosen, slopes, scratch=scratch)
    assert (unfinished / "last.ckpt").exists()

    with pytest.raises(SystemExit) as stopped:
        fit(chosen, slopes, out, scratch=scratch, stop_rule=terminate, progress=False)
    assert stopped.value.code == 143
    assert not multiprocessing.active_children()
    assert not out.exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

    fit(chosen, slopes, out, scratch=scratch, stop_rule=stop_at_50, progress=False)
    assert not unfinished.exists()
    pd.testing.assert_frame_equal(history(together), history(out), check_exact=True)
    hashes = [load_description(folder)["checkpoint_sha256"] for folder in (together, out)]
    assert hashes[0] == hashes[1]


def test_what_cannot_be_split_or_is_not_there_is_refused_at_once(
    settings: Settings, slopes: Path, tmp_path: Path
) -> None:
    wrong = [
        (settings("har", devices=3), "3 devices take equal parts .* 16 sequences .* a multiple of 3"),
        (settings("har", devices=2, train_limit=7), r"7 sequences \(all sequences of train\)"),
        (settings("har", devices=2, val_limit=1), "fewer sequences than there are devices, 2"),
    ]
    if not torch.cuda.is_available():
        wrong.append(
            (settings("har", accelerator="gpu"), "finds no NVIDIA GPU; use accelerator cpu, or auto")
        )
    for chosen, message in wrong:
        with pytest.raises(ParamsError, match=message):
            fit(chosen, slopes, tmp_path / "out", scratch=tmp_path / "scratch", progress=False)
    assert not (tmp_path / "scratch").exists()


def test_the_accelerator_is_a_gpu_only_where_one_is_wanted_and_there(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for found, expected in ((False, ["cpu", "cpu"]), (True, ["cpu", "cuda"])):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=found: found)
        assert [accelerator_of(settings("har", accelerator=name)) for name in ("cpu", "auto")] == expected
    assert accelerator_of(settings("har", accelerator="gpu")) == "cuda"
    assert accelerator_of(settings("har")) == "cpu"


def test_the_parts_of_a_batch_make_up_the_batch() -> None:
    def batches(rank: int = 0, ranks: int = 1) -> list[list[int]]:
        keywords = {"seed": 1, "steps": 7, "count": 7, "next_step": lambda: 0}
        return [rows.tolist() for rows in TrainBatches(20, 6, rank=rank, ranks=ranks, **keywords)]

    parts = zip(*(batches(rank, 3) for rank in range(3)), strict=True)
    assert [[row for rows in part for row in rows] for part in parts] == batches()


def test_the_parts_of_a_validation_make_up_the_split(
    settings: Settings, slopes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = PreparedDataModule(slopes, settings("har"))
    rows = []
    for rank in range(4):
        monkeypatch.setattr(module, "_place", lambda rank=rank: (rank, 4))
        rows.append(torch.cat([batch.rows for batch in module.val_dataloader()]))
    assert [len(part) for part in rows] == [9, 8, 8, 8]
    assert torch.equal(torch.cat(rows), torch.arange(33))


def test_each_process_draws_its_own() -> None:
    assert len({seed_for_step(3, step, rank) for step in range(500) for rank in range(8)}) == 4000
    assert seed_for_step(3, 5, 0) == seed_for_step(3, 5)
    lengths = torch.tensor([50, 50])
    drawn = [
        random_updates(lengths, 50, 0.5, torch.Generator().manual_seed(seed_for_step(0, 0, rank)))
        for rank in (0, 1)
    ]
    assert not torch.equal(*drawn)


def test_an_error_of_training_can_be_told_to_another_process() -> None:
    told = pickle.loads(pickle.dumps(DivergedError("the loss is nan")))  # noqa: S301
    assert isinstance(told, DivergedError)
    assert str(told) == "the loss is nan"
