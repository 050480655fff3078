from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from lightning.pytorch.loggers import Logger

from skipw.data.prepared import load_split
from skipw.errors import ParamsError
from skipw.models.saved import load_model
from skipw.params import TrainSettings
from skipw.training import fit
from skipw.training.lightning_module import DivergedError

Settings = Callable[..., TrainSettings]


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


@pytest.mark.parametrize(("model", "cell"), [("skipw", "lstm"), ("thrrnn", "gru"), ("dense", "gru")])
def test_overfits_a_tiny_adding_set(
    settings: Settings, adding: Path, tmp_path: Path, scratch: Path, model: str, cell: str
) -> None:
    chosen = settings("adding", model, cell=cell, hidden_size=24, steps=260, val_every=130, batch_size=32)
    best = fit(chosen, adding, tmp_path / "out", scratch=scratch, progress=False)
    assert best["val_mse"] < 0.02  # a constant scores about 1/6
    assert best["val_loss"] == pytest.approx(best["val_mse"] / 2)
    assert not any(scratch.iterdir())


@pytest.mark.parametrize("model", ["skipw", "skiprnn", "random"])
def test_learns_classes_from_sequences_of_many_lengths(
    settings: Settings, slopes: Path, tmp_path: Path, scratch: Path, model: str
) -> None:
    chosen = settings("har", model, head_hidden=8, dropout=0.1, num_layers=2, steps=80, val_every=40)
    best = fit(chosen, slopes, tmp_path / "out", scratch=scratch, progress=False)
    assert best["val_accuracy"] > 0.6  # a constant scores about 1/3
    assert 0 < best["val_inputs_processed"] <= 1


def test_learns_from_tokens_and_keeps_vocabulary_and_vectors(
    settings: Settings, words: Path, tmp_path: Path, scratch: Path
) -> None:
    chosen = settings("imdb", hidden_size=16, steps=120, val_every=60)
    best = fit(chosen, words, tmp_path / "out", scratch=scratch, progress=False)
    assert best["val_accuracy"] > 0.8
    model, description = load_model(tmp_path / "out")
    assert description["vocabulary"][3] == "word3"
    assert description["classes"] == ["bad", "good"]
    assert model.embedding is not None
    assert bool((model.embedding.weight[0] == 0).all())


def test_the_folder_says_all_about_the_best_validation(
    settings: Settings, slopes: Path, tmp_path: Path, scratch: Path
) -> None:
    chosen = settings("har", steps=45, val_every=10, cost_per_input=1e-3, experiment="har-skipw")
    best = fit(chosen, slopes, tmp_path / "out", scratch=scratch, progress=False)
    history = pd.read_csv(tmp_path / "out" / "history.csv")
    assert list(history["step"]) == [10, 20, 30, 40, 45]
    assert list(history["epoch"]) == [0, 1, 2, 3, 4]
    assert {"train_loss", "val_loss", "val_accuracy", "val_inputs_processed", "seconds"} <= set(history)
    assert best["step"] == history.loc[history["val_objective"].idxmin(), "step"]
    model, description = load_model(tmp_path / "out")
    assert description["metrics"]["val_accuracy"] == best["val_accuracy"]
    assert description["experiment"] == "har-skipw"
    assert description["lineage"] == []
    assert description["settings"]["steps"] == 45
    val = load_split(slopes, "val")
    with torch.no_grad():
        inputs, lengths = torch.from_numpy(val.inputs.copy()), torch.from_numpy(val.lengths.copy())
        result = model(inputs, lengths=lengths)
    hits = result.scores.argmax(1) == torch.from_numpy(val.targets)
    assert float(hits.float().mean()) == pytest.approx(best["val_accuracy"])
    assert float(result.rnn.inputs_processed.mean()) == pytest.approx(best["val_inputs_processed"])


def test_the_same_seed_gives_the_same_weights(
    settings: Settings, slopes: Path, tmp_path: Path, scratch: Path
) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        fit(settings("har", seed=seed, dropout=0.3), slopes, tmp_path / name, scratch=scratch, progress=False)
    a, b, c = (load_model(tmp_path / name)[1]["checkpoint_sha256"] for name in "abc")
    assert a == b != c


def test_a_cost_lowers_the_inputs_processed(
    settings: Settings, slopes: Path, tmp_path: Path, scratch: Path
) -> None:
    free, costly = (
        fit(
            settings("har", steps=60, val_every=20, cost_per_input=cost, checkpoint_from=1.0),
            slopes,
            tmp_path / str(cost),
            scratch=scratch,
            progress=False,
        )
        for cost in (0.0, 0.2)
    )
    assert costly["val_inputs_processed"] < free["val_inputs_processed"] - 0.2


def test_random_budgets_and_schedules_of_the_cost_train(
    settings: Settings, adding: Path, tmp_path: Path, scratch: Path
) -> None:
    chosen = settings(
        "adding",
        steps=30,
        cost_per_input=1e-2,
        cost_schedule=((0.0, 0.1), (0.5, 1.0), (1.0, 0.1)),
        random_budget=0.5,
        random_budget_from=0.3,
        checkpoint_from=0.9,
    )
    best = fit(chosen, adding, tmp_path / "out", scratch=scratch, progress=False)
    history = pd.read_csv(tmp_path / "out" / "history.csv")
    assert best["step"] == 30
    assert list(history["cost_per_input"]) == pytest.approx([0.7e-2, 0.7e-2, 0.1e-2])


def test_patience_and_stop_rules_end_a_training(
    settings: Settings, slopes: Path, tmp_path: Path, scratch: Path
) -> None:
    chosen = settings("har", steps=500, val_every=5, learning_rate=1e-9, patience=2)
    fit(chosen, slopes, tmp_path / "a", scratch=scratch, progress=False)
    assert len(pd.read_csv(tmp_path / "a" / "history.csv")) < 20
    seen: list[float] = []

    def stop(row: dict[str, float]) -> bool:
        seen.append(row["step"])
        return len(seen) == 3

    chosen = settings("har", steps=500, val_every=5)
    fit(chosen, slopes, tmp_path / "b", scratch=scratch, stop_rule=stop, progress=False)
    assert seen == [5, 10, 15]


def test_a_loss_that_is_not_finite_names_remedies(
    settings: Settings, adding: Path, tmp_path: Path, scratch: Path
) -> None:
    chosen = settings("adding", "dense", learning_rate=1.0, steps=400, clip=None)
    broken = TrainSettings(**{**vars(chosen), "learning_rate": 1e30})
    with pytest.raises(DivergedError, match=r"adding-dense: the .* at step \d+\. Try a lower learning_rate"):
        fit(broken, adding, tmp_path / "out", scratch=scratch, progress=False)
    assert not (tmp_path / "out").exists()


def test_limits_take_the_first_sequences(
    settings: Settings, slopes: Path, tmp_path: Path, scratch: Path
) -> None:
    chosen = settings("har", train_limit=10, val_limit=7, steps=4, val_every=4)
    best = fit(chosen, slopes, tmp_path / "out", scratch=scratch, progress=False)
    assert (best["val_accuracy"] * 7) == pytest.approx(round(best["val_accuracy"] * 7))


def test_settings_that_fit_no_model_are_refused(
    settings: Settings, slopes: Path, tmp_path: Path, scratch: Path
) -> None:
    with pytest.raises(ParamsError, match="window"):
        fit(settings("har", window=None), slopes, tmp_path / "out", scratch=scratch, progress=False)


class Journal(Logger):
    """Remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int | None, dict[str, float]]] = []
        self.status = ""

    name = version = "journal"

    def log_hyperparams(self, *_: object, **__: object) -> None:
        raise AssertionError("hyperparameters are the journal's own business")

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append((step, metrics))

    def finalize(self, status: str) -> None:
        self.status = status


def test_a_journal_hears_of_every_validation(
    settings: Settings, slopes: Path, tmp_path: Path, scratch: Path
) -> None:
    journal = Journal()
    fit(settings("har"), slopes, tmp_path / "out", scratch=scratch, logger=journal, progress=False)
    assert [step for step, _ in journal.rows] == [10, 20]
    assert "val_accuracy" in journal.rows[0][1]
    assert journal.status == "success"


def test_progress_is_a_quiet_line_per_validation_without_a_terminal(
    settings: Settings, slopes: Path, tmp_path: Path, scratch: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        fit(settings("har"), slopes, tmp_path / "out", scratch=scratch)
    lines = [record.getMessage() for record in caplog.records if "val_accuracy" in record.getMessage()]
    assert len(lines) == 2
    assert lines[0].startswith("har-skipw: step 10 of 20, val_accuracy")
    assert lines[0].endswith("s left")
    assert not [record for record in caplog.records if record.name.startswith("lightning")]
