"""A small finished pipeline: untrained models with lively gates on three data sets, evaluated by the real stage."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from pipelines import evaluate
from skipw.data.prepared import Split, save_prepared
from skipw.models.architecture import Architecture
from skipw.models.saved import save_model
from skipw.reproduction.work import Work
from skipw.settings import TrainSettings

SHAPES = {"adding": (50, 2, 10), "mnist": (16, 1, 4), "har": (32, 4, 8)}  # T, D, L
#: What is trained, by the end of its name. What LACKING leaves out has to be reported as missing.
EXPERIMENTS: dict[str, dict[str, Any]] = {
    "one": {"model": "skipw", "cost_per_input": 1e-4},
    "two": {"model": "skipw", "cost_per_input": 1e-3},
    "one-again": {"model": "skipw", "cost_per_input": 1e-4, "seed": 1},
    "blind": {"model": "skipw", "cost_per_input": 1e-4, "time_feature": "none"},
    "many": {"model": "skipw", "cost_per_input": 1e-4, "random_budget": 0.5},
    "thr": {"model": "thrrnn", "cost_per_input": 1e-4},
    "skip": {"model": "skiprnn", "cost_per_input": 1e-4},
    "dense": {"model": "dense"},
    "random": {"model": "random"},
}
LACKING = {"har": ("blind", "skip"), "mnist": ("blind", "two", "one-again", "thr")}
PARAMS = """
scale: tiny
train:
  recipes:
    {dataset}: {{window: {window}, steps: 1, hidden_size: 6}}
  experiments:
{experiments}
evaluate:
  thresholds: {{skipw: [0.4, 0.5, 0.6], thrrnn: [0.5, 0.6]}}
  random: {{rates: [0.2, 0.5, 1.0], evaluations: {{adding: 3, default: 2}}, sequences: 30}}
"""


def prepare(folder: Path, dataset: str) -> None:
    """75 sequences a split; markers of the Adding Task where it has them."""
    num_steps, width, _ = SHAPES[dataset]
    rng = np.random.default_rng(0)
    regression = dataset == "adding"
    splits = {}
    for name in ("train", "val", "test"):
        n = 75
        inputs = rng.uniform(-0.5, 0.5, size=(n, num_steps, width)).astype(np.float32)
        targets: Any = rng.integers(0, 3, n)
        if regression:
            inputs[:, :, 1] = 0
            inputs[np.arange(n), rng.integers(0, 5, n), 1] = 1
            inputs[np.arange(n), rng.integers(25, 50, n), 1] = 1
            targets = (inputs[:, :, 0] * inputs[:, :, 1]).sum(1).astype(np.float32)
        splits[name] = Split(inputs, targets, np.full(n, num_steps))
    meta = {
        "dataset": dataset, "title": f"Toy {dataset}", "task": "regression" if regression else "classification",
        "data_source": {"adding": "generated", "mnist": "official", "har": "har-simulator"}[dataset],
        "metric": "mse" if regression else "accuracy", "classes": [] if regression else ["a", "b", "c"],
        "input_size": width, "num_steps": num_steps, "normaliser": {}, "preprocessing": {},
    }  # fmt: skip
    save_prepared(folder, splits, meta, {})


def train(data: Path, dataset: str, name: str, changes: dict[str, Any], place: int) -> None:
    """Save a model with random weights, described as the train stage does."""
    _, width, window = SHAPES[dataset]
    settings = TrainSettings(
        experiment=name, dataset=dataset, window=window, hidden_size=6, **({"cost_per_input": 0.0} | changes)
    )
    gated = settings.model == "skipw"
    architecture = Architecture(
        model=settings.model, input_size=width, num_outputs=1 if dataset == "adding" else 3, hidden_size=6,
        task="regression" if dataset == "adding" else "classification", window=window if gated else None,
        time_feature=settings.time_feature, time_scale=10.0, gate_bias=0.0,
    )  # fmt: skip
    torch.manual_seed(place)
    model = architecture.build()
    if hasattr(model.rnn, "gate"):
        with torch.no_grad():
            model.rnn.gate.weight.normal_(0, 1.0)
    folder = data / "models" / dataset / name
    save_model(folder, model, {
        "experiment": name, "dataset": dataset, "data_source": {"adding": "generated", "mnist": "official",
        "har": "har-simulator"}[dataset], "cost_per_input": settings.cost_per_input, "seed": settings.seed,
        "settings": asdict(settings), "metric": "mse" if dataset == "adding" else "accuracy",
    })  # fmt: skip
    history = pd.DataFrame({"step": [10, 20, 30], "val_loss": [1.0, 0.55, 0.5], "seconds": [1.0, 2.0, 3.0]})
    history.to_csv(folder / "history.csv", index=False)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder."""
    data = tmp_path_factory.mktemp("reproduction") / "data"
    for dataset, (_, _, window) in SHAPES.items():
        prepare(data / "prepared" / dataset, dataset)
        names = {end: f"{dataset}-{end}" for end in EXPERIMENTS}
        names = {end: name for end, name in names.items() if end not in LACKING.get(dataset, ())}
        lines = []
        for place, (end, name) in enumerate(names.items()):
            train(data, dataset, name, EXPERIMENTS[end], place)
            values = {"dataset": dataset, "start": f"data/prepared/{dataset}"} | EXPERIMENTS[end]
            lines.append(f"    {name}: {{{', '.join(f'{key}: {value}' for key, value in values.items())}}}")
        params = data / f"{dataset}.yaml"
        params.write_text(PARAMS.format(dataset=dataset, window=window, experiments="\n".join(lines)))
        for name in [*names.values(), f"{dataset}-periodic"]:
            evaluate.main([name, "--params", str(params), "--data", str(data)])
    return data


@pytest.fixture
def data(finished: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "data"))


@pytest.fixture(scope="session")
def work(finished: Path) -> Work:
    return Work(finished, sequences=40)
